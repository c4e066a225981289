"""Live refreshes over a pool that the test holds: who is computed anew after an event, how often, and until when."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from position_server.clock import SystemClock
from position_server.compute.pool import Kind, Task
from position_server.environment.cache import Entry
from position_server.environment.live import FIRST_WAIT_SECONDS, MOST_AT_ONCE, LiveRefresh
from position_server.environment.service import EnvironmentService
from position_server.events.bus import Missed
from position_server.events.in_process import InProcessBus
from position_server.metrics import Metrics
from position_server.outcomes import SectionCall, SectionOutcome
from position_server.params import BaseParams
from position_server.settings import Settings
from tests.environment.examples import base_params
from tests.events.examples import price_update
from tests.fakes import FakePool, InlineExecutor, VirtualClock, failure, outcome
from tests.servers import until

TODAY, YESTERDAY = date(2025, 10, 30), date(2025, 10, 29)
SECTIONS = ("bonds", "spot")
HOLDS = {"CUPS": {"EURUSD", "ZN"}, "EXO": {"BTCUSD"}, "YCSO": {"EURUSD", "AUDUSD"}, "EMPTY": set[str]()}


class Market(FakePool):
    """A pool whose workers read the prices when they get a task, and answer when the test says so.

    Each section uses those of the symbols its books hold that are its own, and answers their prices.
    """

    def __init__(self) -> None:
        super().__init__(SECTIONS, self._answer_of)
        self.prices: dict[str, int] = {}
        self.failing: set[str] = set()
        self._read: dict[int, SectionOutcome] = {}

    def submit(self, kind: Kind, work: Sequence[Task]) -> list[Future[Any]]:
        for task in work:
            if task.arguments:
                self._read[id(task.arguments[0])] = self._outcome(task.arguments[0])
        return super().submit(kind, work)

    def _outcome(self, call: SectionCall) -> SectionOutcome:
        if call.section in self.failing:
            return failure(call.section, "the store is down")
        held = {s for book in call.base.books for s in HOLDS.get(book, ()) if (s == "ZN") is (call.section == "bonds")}
        data = json.dumps({symbol: self.prices.get(symbol, 0) for symbol in sorted(held)}).encode()
        return outcome(call.section, data, symbols=frozenset(held))

    def _answer_of(self, call: SectionCall) -> SectionOutcome:
        return self._read.pop(id(call))


@dataclass
class Desk:
    """Live refreshes, and everything around them that a test moves. Nothing happens before `step`."""

    live: LiveRefresh
    service: EnvironmentService
    pool: Market
    clock: VirtualClock
    metrics: Metrics
    today: list[date]
    told: list[Entry] = field(default_factory=list)

    def cache(self, *bases: BaseParams) -> None:
        """Has them computed and forgets how."""
        for base in bases:
            self.service._fly(base, Kind.MISS)
        self.pool.calls.clear()

    def tick(self, *symbols: str) -> None:
        """Stores a new quote of each and says so."""
        for symbol in symbols:
            self.pool.prices[symbol] = number = self.pool.prices.get(symbol, 0) + 1
            self.live.receive(price_update(symbol, number))

    def step(self, seconds: float = 0.0) -> float:
        """Time passes, and the thread takes up all that there is to do."""
        self.clock.advance(seconds)
        for _ in range(5):
            wait = self.live.step()
        return wait

    def computed(self) -> list[tuple[str, ...]]:
        """The books of each computation since the last look, all of them refreshes."""
        calls = [(kind, call) for kind, call in self.pool.calls if call.section == "spot"]
        self.pool.calls.clear()
        assert {kind for kind, _ in calls} <= {Kind.REFRESH}
        return [call.base.books for _, call in calls]

    def price(self, symbol: str, base: BaseParams) -> int:
        """The price that is served."""
        return served(self.entry(base))[symbol]

    def entry(self, base: BaseParams) -> Entry:
        entry = self.service.cache.peek(base.to_cache_key())
        assert entry is not None
        return entry

    def counted(self, name: str, **labels: str) -> float:
        """A counter of live refreshes."""
        return self.metrics.registry.get_sample_value(f"position_server_live_{name}", labels) or 0.0


def served(entry: Entry) -> dict[str, int]:
    sections = json.loads(entry.encoded.whole.parts[0])
    return {symbol: price for name in SECTIONS for symbol, price in (sections[name]["data"] or {}).items()}


def desk_of(settings: Settings, restored: Future[None] | None = None) -> Desk:
    clock, pool, metrics, today = VirtualClock(), Market(), Metrics.create(), [TODAY]
    service = EnvironmentService(
        pool=pool,  # type: ignore[arg-type]
        threads=InlineExecutor(),
        clock=clock,
        settings=settings,
        business_date=lambda: today[0],
        metrics=metrics,
    )
    service.start(restored)
    told: list[Entry] = []
    live = LiveRefresh(
        service=service,
        bus=InProcessBus(metrics),
        clock=clock,
        business_date=lambda: today[0],
        metrics=metrics,
        refreshed=told.append,
    )
    return Desk(live, service, pool, clock, metrics, today, told)


@pytest.fixture
def desk(settings: Settings) -> Desk:
    """A service with an empty cache."""
    return desk_of(settings)


CUPS, EXO, YCSO = base_params(("CUPS",)), base_params(("EXO",)), base_params(("YCSO",))


# --- who -------------------------------------------------------------------------------------------------------------


def test_an_event_refreshes_the_environments_that_hold_the_symbol_and_no_other(desk: Desk) -> None:
    both = base_params(("CUPS", "EXO"))
    desk.cache(CUPS, EXO, YCSO, both)
    desk.tick("BTCUSD")
    desk.step()
    assert desk.computed() == [("EXO",), ("CUPS", "EXO")]
    assert desk.price("BTCUSD", EXO) == desk.price("BTCUSD", both) == 1


def test_news_of_an_environment_of_before_a_restart_wait_until_something_can_be_computed(
    settings: Settings, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.cache(EXO)
    restored: Future[None] = Future()
    starting = desk_of(settings, restored)
    starting.service.cache.put(desk.entry(EXO))
    starting.tick("BTCUSD")
    starting.step()
    restored.set_result(None)
    starting.step(FIRST_WAIT_SECONDS)
    assert starting.price("BTCUSD", EXO) == 1
    assert caplog.records == []


@pytest.mark.parametrize("time_of_day", ["SOD", "EOD"])
def test_only_live_environments_are_refreshed(desk: Desk, time_of_day: str) -> None:
    desk.cache(base_params(("CUPS",), time_of_day))
    desk.tick("EURUSD")
    desk.step()
    assert desk.computed() == []


def test_only_environments_of_the_business_date_are_refreshed(desk: Desk) -> None:
    past = base_params(("CUPS",), env_date=YESTERDAY)
    desk.cache(CUPS, past)
    desk.tick("EURUSD")
    desk.step()
    assert [call.base.env_date for _, call in desk.pool.calls] == [TODAY] * len(SECTIONS)
    desk.pool.calls.clear()
    desk.today[0] = YESTERDAY
    desk.tick("EURUSD")
    desk.step()
    assert [call.base.env_date for _, call in desk.pool.calls] == [YESTERDAY] * len(SECTIONS)


def test_a_symbol_that_nobody_holds_costs_nothing(desk: Desk) -> None:
    desk.cache(CUPS, EXO)
    desk.tick("XRPUSD")
    desk.step()
    assert desk.computed() == []
    assert desk.counted("events_total", kind="update") == 1


def test_who_missed_some_symbols_refreshes_what_holds_them(desk: Desk) -> None:
    desk.cache(CUPS, EXO, YCSO)
    desk.live.receive(Missed(frozenset({"AUDUSD", "BTCUSD"})))
    desk.step()
    assert desk.computed() == [("EXO",), ("YCSO",)]


def test_who_missed_anything_refreshes_all_that_is_live(desk: Desk) -> None:
    empty = base_params(("EMPTY",))
    desk.cache(CUPS, empty, base_params(("EXO",), "EOD"))
    desk.live.receive(Missed(None))
    desk.step()
    assert desk.computed() == [("CUPS",), ("EMPTY",)]
    assert desk.counted("events_total", kind="missed") == 1


def test_the_old_entry_is_served_until_the_new_one_is_there(desk: Desk) -> None:
    desk.cache(CUPS)
    old = desk.entry(CUPS)
    desk.pool.held = True
    desk.tick("EURUSD")
    desk.step()
    assert desk.entry(CUPS) is old
    desk.pool.release()
    assert (desk.entry(CUPS).version, desk.price("EURUSD", CUPS)) == (old.version + 1, 1)


# --- how often -------------------------------------------------------------------------------------------------------


def test_a_thousand_events_are_one_computation_that_runs_and_one_that_waits(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.pool.held = True
    for _ in range(500):
        desk.tick("EURUSD", "ZN")
        desk.step()
    assert desk.computed() == [("CUPS",)]
    desk.pool.release()
    desk.step()
    assert desk.computed() == [("CUPS",)]
    desk.pool.release()
    desk.step()
    assert desk.computed() == []
    assert desk.price("EURUSD", CUPS) == desk.price("ZN", CUPS) == 500
    assert desk.counted("refreshes_total", outcome="ok") == 2


def test_events_that_come_together_are_one_computation(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.tick("EURUSD", "ZN")
    desk.step()
    assert desk.computed() == [("CUPS",)]
    assert desk.counted("coalesced_total") == 1


def test_a_computation_that_began_before_the_event_is_followed_by_another(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.pool.held = True
    desk.service._fly(CUPS, Kind.WARMUP)
    desk.pool.calls.clear()
    desk.tick("EURUSD")
    desk.step()
    assert desk.computed() == []
    desk.pool.release()
    assert desk.price("EURUSD", CUPS) == 0
    desk.step()
    assert desk.computed() == [("CUPS",)]
    desk.pool.release()
    assert desk.price("EURUSD", CUPS) == 1


def test_a_first_computation_that_began_before_the_event_is_followed_by_another(desk: Desk) -> None:
    """Nothing is in the cache yet, so nothing says that the symbol is held."""
    desk.pool.held = True
    for base in (CUPS, EXO):
        desk.service._fly(base, Kind.MISS)
    desk.pool.calls.clear()
    desk.tick("EURUSD")
    desk.step()
    desk.pool.release()
    desk.step()
    assert desk.computed() == [("CUPS",)]
    desk.pool.release()
    assert desk.price("EURUSD", CUPS) == 1


def test_a_computation_that_others_start_before_the_refresh_is_waited_for(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.tick("EURUSD")
    desk.pool.held = True
    desk.service._fly(CUPS, Kind.WARMUP)
    desk.pool.calls.clear()
    desk.step()
    assert desk.computed() == []
    desk.pool.release()
    desk.step()
    desk.pool.release()
    desk.step()
    assert desk.computed() == [("CUPS",)]


def test_no_more_than_a_few_refreshes_run_at_once_and_the_others_follow(desk: Desk) -> None:
    """More would fill the pool's queue, whose room others need."""
    bases = [base_params((f"B{number}", "CUPS")) for number in range(2 * MOST_AT_ONCE + 1)]
    desk.cache(*bases)
    desk.pool.held = True
    desk.tick("EURUSD")
    desk.step()
    assert desk.computed() == [base.books for base in bases[:MOST_AT_ONCE]]
    desk.pool.release(len(SECTIONS))
    desk.step()
    assert desk.computed() == [bases[MOST_AT_ONCE].books]
    while desk.pool.stats()["queue"]["miss"]:
        desk.pool.release()
        desk.step()
    assert all(desk.price("EURUSD", base) == 1 for base in bases)


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_refresh_refused_by_a_full_queue_is_tried_again_until_there_is_room(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.cache(CUPS)
    desk.pool.full = True
    desk.tick("EURUSD")
    waits = [desk.step()]
    for _ in range(6):
        waits.append(desk.step(waits[-1]))
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    desk.pool.full = False
    desk.step(7.9)
    assert desk.computed() == []
    desk.step(0.1)
    assert desk.price("EURUSD", CUPS) == 1
    assert desk.counted("refreshes_total", outcome="refused") == 7
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == ["live refresh failed"]


def test_a_refresh_without_the_store_is_tried_again_until_it_is_back(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.pool.failing = set(SECTIONS)
    desk.tick("EURUSD")
    assert desk.step() == 0.5
    assert desk.entry(CUPS).states["spot"].status == "stale"
    desk.step(0.5)
    desk.pool.failing.clear()
    desk.step(1.0)
    assert (desk.entry(CUPS).all_ok, desk.price("EURUSD", CUPS)) == (True, 1)
    desk.pool.calls.clear()
    desk.step(100.0)
    assert desk.computed() == []
    assert desk.counted("refreshes_total", outcome="failed") == 2
    assert desk.counted("refreshes_total", outcome="ok") == 1


def test_a_section_that_does_not_use_the_symbol_may_fail(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.pool.failing = {"bonds"}
    desk.tick("EURUSD")
    desk.step()
    assert desk.price("EURUSD", CUPS) == 1
    assert desk.counted("refreshes_total", outcome="ok") == 1


def test_events_that_come_while_a_refresh_waits_to_be_tried_again_wait_with_it(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.pool.full = True
    desk.tick("EURUSD")
    desk.step()
    desk.pool.full = False
    desk.tick("ZN")
    desk.step(0.4)
    assert desk.computed() == []
    desk.step(0.1)
    assert desk.price("EURUSD", CUPS) == desk.price("ZN", CUPS) == 1


def test_a_refresh_for_two_events_works_when_both_are_in_it(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.pool.full = True
    desk.tick("EURUSD")
    desk.step()
    desk.pool.full, desk.pool.failing = False, {"bonds"}
    desk.tick("ZN")
    desk.step(0.5)
    assert served(desk.entry(CUPS)) == {"EURUSD": 1, "ZN": 0}
    desk.pool.failing.clear()
    desk.step(1.0)
    assert served(desk.entry(CUPS)) == {"EURUSD": 1, "ZN": 1}


def test_what_nobody_keeps_any_more_is_not_refreshed(settings: Settings) -> None:
    small = settings.model_copy(update={"cache": settings.cache.model_copy(update={"max_entries": 1})})
    desk = desk_of(small)
    desk.cache(CUPS)
    desk.pool.full = True
    desk.tick("EURUSD")
    desk.step()
    desk.pool.full = False
    desk.cache(EXO)
    desk.step(10.0)
    assert desk.computed() == []


def test_a_server_that_does_not_know_its_sections_yet_refreshes_later(desk: Desk) -> None:
    """A cache may be filled from a file before."""
    desk.cache(CUPS)
    known, desk.service.catalogue = desk.service.catalogue, Future()
    desk.tick("EURUSD")
    desk.step()
    assert desk.computed() == []
    desk.service.catalogue = known
    desk.step(0.5)
    assert desk.computed() == [("CUPS",)]


# --- who hears of it -------------------------------------------------------------------------------------------------


def test_a_listener_hears_of_every_refreshed_entry(desk: Desk) -> None:
    desk.cache(CUPS, EXO)
    desk.tick("EURUSD")
    desk.step()
    desk.pool.failing = set(SECTIONS)
    desk.tick("EURUSD")
    desk.step()
    assert [(entry.base.books, served(entry)["EURUSD"], entry.all_ok) for entry in desk.told] == [
        (("CUPS",), 1, True),
        (("CUPS",), 1, False),  # that its data are stale now is news, too
    ]


def test_a_listener_that_raises_harms_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture, expected_errors: None
) -> None:
    def raises(_: Entry) -> None:
        raise ValueError("no use")

    desk.live._refreshed = raises
    desk.cache(CUPS)
    for _ in range(2):
        desk.tick("EURUSD")
        desk.step()
    assert desk.price("EURUSD", CUPS) == 2
    assert [r.getMessage() for r in caplog.records] == ["a listener to refreshed environments failed"] * 2


def test_the_time_from_the_first_event_is_measured_failures_included(desk: Desk) -> None:
    desk.cache(CUPS)
    desk.pool.full = True
    desk.tick("EURUSD")
    desk.step()
    desk.clock.advance(0.25)
    desk.tick("ZN")
    desk.pool.full = False
    desk.step(0.25)
    assert desk.counted("seconds_sum") == pytest.approx(0.5)
    assert desk.counted("seconds_count") == 1


# --- the thread ------------------------------------------------------------------------------------------------------


def test_the_thread_refreshes_what_the_bus_tells_and_ends_at_once(settings: Settings) -> None:
    desk = desk_of(settings)
    desk.cache(CUPS)
    desk.pool.prices["EURUSD"] = 1
    with InProcessBus() as bus:
        desk.live._bus, desk.live._clock = bus, SystemClock()
        desk.live.start()
        bus.publish(price_update("EURUSD"))
        until(lambda: desk.price("EURUSD", CUPS) == 1)
        desk.live.stop()
        desk.live.join()
        desk.pool.calls.clear()
        bus.publish(price_update("EURUSD", 2))
    assert desk.computed() == []


def test_a_mistake_of_ours_does_not_end_the_thread(desk: Desk, expected_errors: None) -> None:
    desk.cache(CUPS)
    under_way = desk.service.under_way

    def breaks_once() -> dict[Any, Future[Entry]]:
        desk.service.under_way = under_way  # type: ignore[method-assign]
        raise ValueError("no use")

    desk.service.under_way = breaks_once  # type: ignore[method-assign]
    desk.live.start()
    desk.tick("EURUSD")
    until(lambda: desk.price("EURUSD", CUPS) == 1)
    desk.live.stop()
    desk.live.join()
    desk.live._bus.close()


def test_one_that_was_never_started_stops_as_well(desk: Desk) -> None:
    desk.live.stop()
    desk.live.join()


# --- against a model -------------------------------------------------------------------------------------------------

SYMBOLS = st.sampled_from(["EURUSD", "BTCUSD", "AUDUSD", "ZN"])
BASES = st.sampled_from([CUPS, EXO, YCSO, base_params(("CUPS", "EXO")), base_params(("CUPS",), "EOD")])


class LiveMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: when all is quiet, no LIVE environment shows an old price."""

    @initialize()
    def start(self) -> None:
        self.desk = desk_of(Settings())
        self.desk.pool.held = True

    @rule(symbol=SYMBOLS)
    def tick(self, symbol: str) -> None:
        self.desk.tick(symbol)

    @rule(symbol=SYMBOLS)
    def tick_unheard(self, symbol: str) -> None:
        self.desk.pool.prices[symbol] = self.desk.pool.prices.get(symbol, 0) + 1
        self.desk.live.receive(Missed(None))

    @rule(base=BASES, kind=st.sampled_from([Kind.MISS, Kind.WARMUP]))
    def read(self, base: BaseParams, kind: Kind) -> None:
        if not self.desk.pool.full:
            self.desk.service._fly(base, kind)

    @rule(count=st.integers(1, 5))
    def land(self, count: int) -> None:
        self.desk.pool.release(min(count, self.desk.pool.stats()["queue"]["miss"]))

    @rule()
    def step(self) -> None:
        self.desk.live.step()

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.desk.clock.advance(seconds)

    @rule(full=st.booleans())
    def crowd(self, full: bool) -> None:
        self.desk.pool.full = full

    @rule(failing=st.sets(st.sampled_from(SECTIONS)))
    def break_down(self, failing: set[str]) -> None:
        self.desk.pool.failing = failing

    @invariant()
    def each_environment_has_one_computation_at_most_and_no_other_kind_is_refreshed(self) -> None:
        running = [
            call.base.to_cache_key() for task, _ in self.desk.pool._waiting if (call := task.arguments[0]).section
        ]
        assert all(running.count(key) <= len(SECTIONS) for key in running)
        refreshed = {call.base.time_of_day for kind, call in self.desk.pool.calls if kind is Kind.REFRESH}
        assert refreshed <= {"LIVE"}

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        desk = self.desk
        desk.pool.full, desk.pool.failing = False, set()
        for _ in range(50):
            desk.pool.release()
            desk.clock.advance(10.0)
            wait = desk.live.step()
        assert wait > 10.0
        for entry in desk.service.cache.entries():
            if entry.base.time_of_day == "LIVE":
                assert served(entry) == {symbol: desk.pool.prices.get(symbol, 0) for symbol in served(entry)}


TestLiveAgainstAModel = LiveMachine.TestCase
TestLiveAgainstAModel.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
