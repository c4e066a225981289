"""The environment service over a pool that the test holds: the cache, single flight, staleness, freshness, what-ifs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

import pytest

from position_server.compute.pool import Kind
from position_server.environment.cache import Entry
from position_server.environment.service import Answer, EnvironmentService
from position_server.errors import BadRequest, Busy, NotFresh, Starting, WorkerDied
from position_server.metrics import Metrics
from position_server.outcomes import SectionCall, SectionOutcome
from position_server.params import BaseParams, ReadOptions, RequestParams
from position_server.settings import Settings
from tests.environment.examples import base_params
from tests.fakes import FakePool, InlineExecutor, VirtualClock, failure, outcome

T = TypeVar("T")
LIVE_TTL, LIVE_GRACE, ERROR_TTL = 15.0, 60.0, 5.0
FRESH = ReadOptions(require="fresh")


@dataclass
class Desk:
    """A service, and everything around it that a test moves."""

    service: EnvironmentService
    pool: FakePool
    clock: VirtualClock
    metrics: Metrics
    failing: set[str] = field(default_factory=set)  # sections that fail from now on

    def read(self, base: BaseParams | None = None, options: ReadOptions | None = None) -> Answer:
        """One GET."""
        return asyncio.run(self.service.read(base or base_params(), options or ReadOptions()))

    def what_if(self, **section_params: dict[str, Any]) -> Answer:
        """One POST."""
        return asyncio.run(self.service.what_if(RequestParams(base_params(), section_params)))

    def age(self, answer: Answer, *names: str) -> float:
        """How old the sections named (all where none are) of an answer are."""
        return answer.entry.age(self.clock.monotonic(), names or None)

    @property
    def computations(self) -> int:
        """How often an environment was computed."""
        return len(self.pool.calls) // len(self.pool.infos)

    def answers(self, how: str) -> float:
        """Answers given so far, by how."""
        name = "position_server_environment_answers_total"
        return self.metrics.registry.get_sample_value(name, {"how": how}) or 0.0


@pytest.fixture
def desk(settings: Settings, clock: VirtualClock) -> Desk:
    """A started service of two sections, whose data are the number of their computation."""
    desk = unstarted(settings, clock, FakePool(["bonds", "futures"]))

    def compute(call: SectionCall) -> SectionOutcome:
        if call.section in desk.failing:
            return failure(call.section, f"failure {desk.computations}", at=clock.now())
        return outcome(call.section, b'{"n":%d}' % desk.computations, at=clock.now())

    desk.pool.compute = compute
    desk.service.start()
    return desk


def unstarted(settings: Settings, clock: VirtualClock, pool: FakePool) -> Desk:
    metrics = Metrics.create()
    service = EnvironmentService(
        pool=pool,  # type: ignore[arg-type]
        threads=InlineExecutor(),
        clock=clock,
        settings=settings,
        business_date=lambda: date(2025, 10, 30),
        metrics=metrics,
    )
    return Desk(service, pool, clock, metrics)


def sections(answer: Answer) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(answer.entry.encoded.whole.parts[0])
    return read


def statuses(answer: Answer) -> dict[str, str]:
    return {name: section["metadata"]["status"] for name, section in sections(answer).items()}


def numbers(answer: Answer) -> dict[str, int | None]:
    """Which computation each section's data are of."""
    return {name: section["data"] and section["data"]["n"] for name, section in sections(answer).items()}


async def all_of(count: int, ask: Callable[[], Coroutine[Any, Any, T]], then: Callable[[], None]) -> list[T]:
    """Asks `count` times at once, and does `then` when all of them wait."""
    asking = [asyncio.create_task(ask()) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    then()
    return list(await asyncio.gather(*asking))


# --- hits, misses and grace ------------------------------------------------------------------------------------------


def test_a_miss_computes_and_the_next_read_is_a_hit_of_the_same_bytes(desk: Desk) -> None:
    miss, hit = desk.read(), desk.read()
    assert (miss.hit, hit.hit) == (False, True)
    assert hit.entry.encoded is miss.entry.encoded
    assert desk.computations == 1


def test_books_in_another_order_are_the_same_environment(desk: Desk) -> None:
    desk.read(base_params(("CUPS", "YCSO")))
    assert desk.read(base_params(("YCSO", "CUPS", "YCSO"))).hit


def test_what_is_computed_is_the_canonical_environment_whoever_asks(desk: Desk) -> None:
    desk.read(base_params(("YCSO", "CUPS", "YCSO")))
    assert {call.base.books for _, call in desk.pool.calls} == {("CUPS", "YCSO")}


def test_an_answer_says_how_old_its_data_are(desk: Desk) -> None:
    assert desk.age(desk.read()) == 0.0
    desk.clock.advance(7.5)
    assert desk.age(desk.read()) == 7.5


def test_within_grace_the_old_entry_is_served_at_once_and_one_refresh_runs_behind(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL)
    desk.pool.held = True
    answers = [desk.read() for _ in range(3)]
    assert [(answer.hit, numbers(answer)["bonds"]) for answer in answers] == [(True, 1)] * 3
    assert desk.computations == 2
    assert {kind for kind, _ in desk.pool.calls[2:]} == {Kind.REFRESH}
    desk.pool.release()
    assert numbers(desk.read()) == {"bonds": 2, "futures": 2}
    assert desk.computations == 2


def test_after_grace_the_environment_is_computed_before_it_is_answered(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL + LIVE_GRACE)
    answer = desk.read()
    assert (answer.hit, numbers(answer)["bonds"]) == (False, 2)


def test_a_full_queue_does_not_disturb_reads_within_grace(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL)
    desk.pool.full = True
    assert desk.read().hit
    refused = desk.metrics.registry.get_sample_value("position_server_refused_total", {"kind": "refresh"})
    assert refused == 1.0
    desk.pool.full = False
    desk.read()
    assert numbers(desk.read())["bonds"] == 2


def test_hits_and_misses_are_counted(desk: Desk) -> None:
    desk.read()
    desk.read()
    desk.read(base_params(("EXO",)))
    cache = desk.service.stats()["cache"]
    assert (cache["hits"], cache["misses"], cache["size"]) == (1, 2, 2)
    assert (desk.answers("hit"), desk.answers("miss")) == (1.0, 2.0)


# --- one computation per key -----------------------------------------------------------------------------------------


def test_fifty_concurrent_misses_of_one_key_are_one_computation(desk: Desk) -> None:
    desk.pool.held = True

    def ask() -> Coroutine[Any, Any, Answer]:
        return desk.service.read(base_params(), ReadOptions())

    answers = asyncio.run(all_of(50, ask, desk.pool.release))
    assert desk.computations == 1
    assert len({answer.entry.encoded.environment_id for answer in answers}) == 1
    assert desk.service.stats()["sections"]["bonds"]["runs"] == 1


def test_misses_of_different_keys_compute_each_their_own(desk: Desk) -> None:
    desk.read(base_params(("CUPS",)))
    desk.read(base_params(("EXO",)))
    assert desk.computations == 2


def test_a_computation_that_lands_between_a_readers_look_and_its_miss_is_its_answer(desk: Desk) -> None:
    """The flight is over and the entry is there, but this reader had looked before."""
    desk.pool.held = True
    look = desk.service.cache.get

    def look_and_then_it_lands(key: Any) -> Entry | None:
        entry = look(key)
        desk.pool.release()
        return entry

    async def two_readers() -> list[Answer]:
        first = asyncio.create_task(desk.service.read(base_params(), ReadOptions()))
        await asyncio.sleep(0)
        desk.service.cache.get = look_and_then_it_lands  # type: ignore[method-assign]
        return [await desk.service.read(base_params(), ReadOptions()), await first]

    late, first = asyncio.run(two_readers())
    assert late.entry.encoded is first.entry.encoded
    assert desk.computations == 1


def test_whoever_asks_while_a_computation_is_under_way_joins_it(desk: Desk) -> None:
    desk.pool.held = True
    flights = {id(desk.service._fly(base_params(), kind)) for kind in (Kind.MISS, Kind.WARMUP, Kind.REFRESH)}
    desk.pool.release()
    assert (len(flights), desk.computations) == (1, 1)


def test_threads_that_ask_for_one_key_at_the_same_moment_start_one_computation(desk: Desk) -> None:
    desk.pool.held = True
    start, flights = threading.Barrier(8), set()

    def ask() -> None:
        start.wait()
        flights.add(desk.service._fly(base_params(), Kind.WARMUP))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    desk.pool.release()
    assert (len(flights), desk.computations) == (1, 1)


def test_a_warm_up_computes_anew_although_the_entry_is_fresh(desk: Desk) -> None:
    desk.read()
    entry = desk.service.refresh(base_params())
    assert entry.version == 2
    assert numbers(desk.read()) == {"bonds": 2, "futures": 2}
    assert {kind for kind, _ in desk.pool.calls[2:]} == {Kind.WARMUP}


def test_a_refused_computation_leaves_nothing_behind(desk: Desk) -> None:
    desk.pool.full = True
    with pytest.raises(Busy):
        desk.read()
    desk.pool.full = False
    assert numbers(desk.read())["bonds"] == 1


@pytest.mark.usefixtures("expected_errors")
def test_an_answer_that_cannot_be_encoded_fails_its_readers_and_no_later_one(desk: Desk) -> None:
    compute, desk.pool.compute = desk.pool.compute, lambda call: outcome(call.section, "no bytes")  # type: ignore[arg-type]
    desk.pool.held = True

    def ask() -> Coroutine[Any, Any, Answer]:
        return desk.service.read(base_params(), ReadOptions())

    with pytest.raises(TypeError):
        asyncio.run(all_of(2, ask, desk.pool.release))
    desk.pool.compute, desk.pool.held = compute, False
    assert statuses(desk.read()) == {"bonds": "ok", "futures": "ok"}


# --- stale on error --------------------------------------------------------------------------------------------------


def test_second_failure_answers_with_the_last_good_data_and_the_new_traceback(desk: Desk) -> None:
    good = sections(desk.read())["bonds"]
    desk.failing = {"bonds"}
    for number in (2, 3):
        desk.clock.advance(LIVE_TTL + LIVE_GRACE)
        stale = sections(desk.read())["bonds"]
        assert stale["data"] == good["data"]
        assert stale["metadata"]["status"] == "stale"
        assert stale["metadata"]["last_updated"] == good["metadata"]["last_updated"]
        assert f"failure {number}" in stale["error_stack"]


def test_one_failed_section_leaves_the_others_new(desk: Desk) -> None:
    desk.read()
    desk.failing = {"bonds"}
    desk.clock.advance(LIVE_TTL + LIVE_GRACE)
    answer = desk.read()
    assert statuses(answer) == {"bonds": "stale", "futures": "ok"}
    assert numbers(answer) == {"bonds": 1, "futures": 2}


def test_a_section_that_recovers_is_ok_again(desk: Desk) -> None:
    desk.read()
    desk.failing = {"bonds"}
    desk.clock.advance(LIVE_TTL + LIVE_GRACE)
    desk.read()
    desk.failing = set()
    desk.clock.advance(ERROR_TTL)
    desk.read()  # served at once; the refresh behind it is done when this returns
    answer = desk.read()
    assert statuses(answer) == {"bonds": "ok", "futures": "ok"}
    assert sections(answer)["bonds"]["error_stack"] == ""


def test_the_last_good_data_outlive_ttl_and_grace(desk: Desk) -> None:
    desk.read()
    desk.failing = {"bonds", "futures"}
    desk.clock.advance(10 * 86_400)
    answer = desk.read()
    assert statuses(answer) == {"bonds": "stale", "futures": "stale"}
    assert numbers(answer) == {"bonds": 1, "futures": 1}
    assert desk.age(answer) == 10 * 86_400


def test_an_error_without_data_is_tried_again_after_error_ttl_and_not_before(desk: Desk) -> None:
    desk.failing = {"bonds", "futures"}
    assert statuses(desk.read()) == {"bonds": "error", "futures": "error"}
    desk.clock.advance(ERROR_TTL - 0.1)
    assert desk.read().hit
    assert desk.computations == 1
    desk.failing = set()
    desk.clock.advance(0.1)
    answer = desk.read()
    assert (answer.hit, numbers(answer)) == (False, {"bonds": 2, "futures": 2})


def test_tracebacks_stay_inside_where_the_settings_say_so(load: Callable[..., Settings], clock: VirtualClock) -> None:
    desk = unstarted(load("EXPOSE_TRACEBACKS = False"), clock, FakePool(["bonds"], lambda call: failure(call.section)))
    desk.service.start()
    section = sections(desk.read())["bonds"]
    assert (section["metadata"]["status"], section["error_stack"]) == ("error", "")


# --- overload --------------------------------------------------------------------------------------------------------


def test_a_full_queue_without_a_good_old_entry_is_busy(desk: Desk) -> None:
    desk.pool.full = True
    with pytest.raises(Busy):
        desk.read()


def test_a_full_queue_with_a_good_old_entry_answers_it_as_stale(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL + LIVE_GRACE)
    desk.pool.full = True
    answer = desk.read()
    assert statuses(answer) == {"bonds": "stale", "futures": "stale"}
    assert numbers(answer) == {"bonds": 1, "futures": 1}
    assert "64 computations wait already" in sections(answer)["bonds"]["error_stack"]
    assert (answer.hit, desk.age(answer)) == (False, LIVE_TTL + LIVE_GRACE)
    assert desk.answers("stale") == 1.0


def test_overload_is_not_kept_the_next_read_tries_again(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL + LIVE_GRACE)
    desk.pool.full = True
    desk.read()
    desk.pool.full = False
    assert statuses(desk.read()) == {"bonds": "ok", "futures": "ok"}


def test_an_old_entry_that_never_had_data_does_not_stand_in_for_overload(desk: Desk) -> None:
    desk.failing = {"bonds", "futures"}
    desk.read()
    desk.clock.advance(ERROR_TTL)
    desk.pool.full = True
    with pytest.raises(Busy):
        desk.read()


@pytest.fixture
def impatient(load: Callable[..., Settings], clock: VirtualClock) -> Iterator[Desk]:
    """A service that waits for ten milliseconds at most."""
    desk = unstarted(load("SERVER = {'max_wait_seconds': 0.01}"), clock, FakePool(["bonds"]))
    desk.service.start()
    yield desk
    desk.pool.release()


def test_a_computation_that_takes_longer_than_max_wait_is_busy_and_still_fills_the_cache(impatient: Desk) -> None:
    impatient.pool.held = True
    with pytest.raises(Busy, match=r"not computed within 0\.01 s"):
        impatient.read()
    impatient.pool.release()
    assert impatient.read().hit


def test_past_max_wait_a_good_old_entry_answers_as_stale(impatient: Desk) -> None:
    impatient.read()
    impatient.clock.advance(LIVE_TTL + LIVE_GRACE)
    impatient.pool.held = True
    assert statuses(impatient.read()) == {"bonds": "stale"}


def test_one_reader_that_gives_up_cancels_nobody_elses_computation(impatient: Desk) -> None:
    impatient.pool.held = True

    async def one_leaves() -> Answer:
        patient = asyncio.wrap_future(impatient.service._fly(base_params(), Kind.MISS))
        with pytest.raises(Busy):
            await impatient.service.read(base_params(), ReadOptions())
        impatient.pool.release()
        await patient
        return await impatient.service.read(base_params(), ReadOptions())

    assert asyncio.run(one_leaves()).hit
    assert impatient.computations == 1


# --- max_age and require=fresh ---------------------------------------------------------------------------------------


def test_data_younger_than_max_age_are_a_hit(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(10.0)
    assert desk.read(options=ReadOptions(max_age=10)).hit


def test_data_older_than_max_age_are_computed_anew(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(10.0)
    answer = desk.read(options=ReadOptions(max_age=9))
    assert (answer.hit, desk.age(answer), numbers(answer)["bonds"]) == (False, 0.0, 2)


def test_max_age_is_about_data_and_not_about_attempts(desk: Desk) -> None:
    """A stale section is as old as its data, however new the entry is."""
    desk.read()
    desk.failing = {"bonds"}
    desk.clock.advance(100.0)
    desk.read()
    desk.failing = set()
    desk.clock.advance(1.0)
    answer = desk.read(options=ReadOptions(max_age=50))
    assert (answer.hit, numbers(answer)["bonds"]) == (False, 3)


def test_data_too_old_that_cannot_be_had_anew_are_refused_with_the_reason(desk: Desk) -> None:
    desk.read()
    desk.failing = {"bonds"}
    desk.clock.advance(10.0)
    with pytest.raises(NotFresh, match="bonds: ValueError: failure 2") as caught:
        desk.read(options=ReadOptions(max_age=9))
    assert "futures" not in caught.value.message


def test_data_young_enough_are_answered_even_if_they_could_not_be_computed_anew(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL + LIVE_GRACE)
    desk.failing = {"bonds"}
    answer = desk.read(options=ReadOptions(max_age=LIVE_TTL + LIVE_GRACE))
    assert statuses(answer)["bonds"] == "stale"


def test_a_section_that_never_had_data_says_so_itself_under_max_age(desk: Desk) -> None:
    desk.failing = {"bonds"}
    assert statuses(desk.read(options=ReadOptions(max_age=0))) == {"bonds": "error", "futures": "ok"}


@pytest.mark.parametrize("options", [FRESH, ReadOptions(max_age=9)])
def test_who_asks_for_new_data_is_refused_when_the_queue_is_full(desk: Desk, options: ReadOptions) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL)
    desk.pool.full = True
    with pytest.raises(Busy):
        desk.read(options=options)


def test_overload_answers_data_young_enough_for_max_age(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL + LIVE_GRACE)
    desk.pool.full = True
    assert statuses(desk.read(options=ReadOptions(max_age=100))) == {"bonds": "stale", "futures": "stale"}


def test_require_fresh_takes_a_fresh_entry(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL - 0.1)
    assert desk.read(options=FRESH).hit


def test_require_fresh_computes_what_is_in_grace(desk: Desk) -> None:
    desk.read()
    desk.clock.advance(LIVE_TTL)
    answer = desk.read(options=FRESH)
    assert (answer.hit, numbers(answer)["bonds"]) == (False, 2)


def test_require_fresh_refuses_what_stays_stale_or_never_had_data(desk: Desk) -> None:
    desk.failing = {"bonds"}
    with pytest.raises(NotFresh, match="bonds: ValueError: failure 1"):
        desk.read(options=FRESH)


def test_a_refusal_still_keeps_what_was_computed(desk: Desk) -> None:
    desk.failing = {"bonds"}
    with pytest.raises(NotFresh):
        desk.read(options=FRESH)
    assert desk.read().hit


# --- narrowing -------------------------------------------------------------------------------------------------------


def test_a_narrowed_read_computes_and_keeps_the_whole_environment(desk: Desk) -> None:
    desk.read(options=ReadOptions(sections=("bonds",)))
    answer = desk.read()
    assert answer.hit
    assert set(sections(answer)) == {"bonds", "futures"}


@pytest.mark.parametrize("options", [{"require": "fresh"}, {"max_age": 50}])
def test_a_narrowed_read_is_judged_by_its_own_sections(desk: Desk, options: dict[str, Any]) -> None:
    desk.read()
    desk.failing = {"bonds"}
    desk.clock.advance(100.0)
    desk.read()
    assert desk.read(options=ReadOptions(sections=("futures",), **options)).hit
    with pytest.raises(NotFresh):
        desk.read(options=ReadOptions(sections=("bonds",), **options))


def test_the_age_of_a_narrowed_answer_is_that_of_its_sections(desk: Desk) -> None:
    desk.read()
    desk.failing = {"bonds"}
    desk.clock.advance(100.0)
    desk.read()
    assert desk.age(desk.read(), "futures") == 0.0
    assert desk.age(desk.read(), "bonds") == 100.0


def test_an_unknown_section_is_a_bad_request_and_computes_nothing(desk: Desk) -> None:
    with pytest.raises(BadRequest, match="weather"):
        desk.read(options=ReadOptions(sections=("bonds", "weather")))
    assert desk.computations == 0


# --- what-ifs --------------------------------------------------------------------------------------------------------


def test_a_what_if_is_computed_every_time_and_never_touches_the_cache(desk: Desk) -> None:
    desk.read()
    before = desk.service.stats()["cache"]
    answers = [desk.what_if(bonds={"shift": 5}) for _ in range(2)]
    assert [numbers(answer)["bonds"] for answer in answers] == [2, 3]
    assert [answer.hit for answer in answers] == [False, False]
    assert desk.service.stats()["cache"] == before
    assert numbers(desk.read())["bonds"] == 1


def test_a_what_if_hands_each_section_its_own_overrides(desk: Desk) -> None:
    desk.what_if(bonds={"shift": 5})
    assert [(kind, call.section, call.section_params) for kind, call in desk.pool.calls] == [
        (Kind.WHAT_IF, "bonds", {"shift": 5}),
        (Kind.WHAT_IF, "futures", None),
    ]


def test_concurrent_what_ifs_are_never_shared(desk: Desk) -> None:
    def ask() -> Coroutine[Any, Any, Answer]:
        return desk.service.what_if(RequestParams(base_params(), {"bonds": {"shift": 5}}))

    asyncio.run(all_of(3, ask, lambda: None))
    assert desk.computations == 3


def test_a_what_if_that_fails_is_an_error_and_never_stale(desk: Desk) -> None:
    desk.read()
    desk.failing = {"bonds"}
    answer = desk.what_if()
    assert statuses(answer) == {"bonds": "error", "futures": "ok"}
    assert numbers(answer)["bonds"] is None


def test_a_what_if_of_an_unknown_parameter_computes_nothing(desk: Desk) -> None:
    with pytest.raises(BadRequest, match=r"section_params\.bonds\.colour"):
        desk.what_if(bonds={"colour": 1})
    assert desk.computations == 0


def test_a_what_if_is_busy_when_the_queue_is_full(desk: Desk) -> None:
    desk.pool.full = True
    with pytest.raises(Busy):
        desk.what_if()


# --- the first second ------------------------------------------------------------------------------------------------


def test_a_what_if_before_the_sections_are_known_is_told_to_come_back(settings: Settings, clock: VirtualClock) -> None:
    desk = unstarted(settings, clock, FakePool(held=True))
    desk.service.start()
    with pytest.raises(Starting):
        desk.what_if()
    desk.pool.release()
    desk.pool.held = False
    assert set(sections(desk.what_if())) == {"bonds", "futures"}


def test_a_read_before_the_sections_are_known_waits_for_them(settings: Settings, clock: VirtualClock) -> None:
    desk = unstarted(settings, clock, FakePool(held=True))
    desk.service.start()

    def answer_everything() -> None:
        desk.pool.held = False
        desk.pool.release()

    (answer,) = asyncio.run(all_of(1, lambda: desk.service.read(base_params(), ReadOptions()), answer_everything))
    assert set(sections(answer)) == {"bonds", "futures"}


def test_sections_are_shown_in_the_statistics_before_their_first_run(desk: Desk) -> None:
    assert set(desk.service.stats()["sections"]) == {"bonds", "futures"}


def test_sections_that_cannot_be_listed_are_what_every_reader_is_told(settings: Settings, clock: VirtualClock) -> None:
    pool = FakePool()
    pool.listing_error = WorkerDied("Its worker process ended with exit code 1.")
    desk = unstarted(settings, clock, pool)
    desk.service.start()
    for ask in (desk.read, desk.what_if, lambda: desk.service.refresh(base_params())):
        with pytest.raises(WorkerDied):
            ask()


# --- what operators see ----------------------------------------------------------------------------------------------


def test_gauges_are_brought_up_to_date_when_observed(desk: Desk) -> None:
    desk.read()
    desk.pool.held = True
    desk.service._fly(base_params(("EXO",)), Kind.MISS)
    desk.service.observe()
    desk.pool.release()
    sample = desk.metrics.registry.get_sample_value
    entry = desk.service.cache.get(base_params().to_cache_key())
    assert entry is not None
    assert sample("position_server_cache_entries") == 1.0
    assert sample("position_server_cache_bytes") == entry.size
    assert sample("position_server_compute_queue", {"kind": "miss"}) == 2.0
    assert sample("position_server_compute_busy") == 1.0


def test_stats_are_those_of_cache_sections_and_compute(desk: Desk) -> None:
    stats = desk.service.stats()
    assert set(stats) == {"cache", "sections", "compute"}
    assert stats["compute"] == desk.pool.stats()
