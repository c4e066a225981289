"""THE FLOW: every section at once, each failure in its own cell."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from position_server.compute.pool import Kind
from position_server.environment.catalogue import Catalogue
from position_server.environment.orchestrator import Orchestrator
from position_server.environment.section_statistics import SectionStatistics
from position_server.errors import Busy, SectionTimeout, WorkerDied
from position_server.metrics import Metrics
from position_server.outcomes import SectionCall, SectionOutcome
from tests.environment.examples import base_params
from tests.fakes import NOON, FakePool, InlineExecutor, VirtualClock, outcome

TODAY = date(2025, 10, 30)
TIMEOUTS = {"bonds": 2.0}


def orchestrator_of(pool: FakePool) -> Orchestrator:
    return Orchestrator(
        pool=pool,  # type: ignore[arg-type]
        threads=InlineExecutor(),
        clock=VirtualClock(),
        timeout_of=lambda section: TIMEOUTS.get(section, 10.0),
        business_date=lambda: TODAY,
        statistics=SectionStatistics(Metrics.create()),
    )


def fetch(pool: FakePool, section_params: dict[str, dict[str, object]] | None = None) -> dict[str, SectionOutcome]:
    whole = orchestrator_of(pool).fetch_all_sections(Catalogue.of(pool.infos), base_params(), section_params, Kind.MISS)
    return whole.result(1)


def ends_in(error: Exception) -> FakePool:
    """A pool in which `bonds` ends in this error and all others go well."""

    def compute(call: SectionCall) -> SectionOutcome:
        if call.section == "bonds":
            raise error
        return outcome(call.section)

    return FakePool(["bonds", "futures", "spot"], compute)


def test_every_section_is_asked_once_with_its_own_timeout() -> None:
    pool = FakePool(["bonds", "futures"])
    assert set(fetch(pool)) == {"bonds", "futures"}
    assert [(kind, call.section) for kind, call in pool.calls] == [(Kind.MISS, "bonds"), (Kind.MISS, "futures")]
    assert pool.timeouts == [2.0, 10.0]


def test_a_call_has_the_environment_the_business_date_and_the_sections_own_overrides() -> None:
    pool = FakePool(["bonds", "futures"])
    fetch(pool, {"bonds": {"shift": 5}})
    calls = {call.section: call for _, call in pool.calls}
    assert calls["bonds"] == SectionCall("bonds", base_params(), TODAY, {"shift": 5})
    assert calls["futures"].section_params is None


def test_all_sections_are_asked_before_the_first_has_answered() -> None:
    pool = FakePool(["bonds", "futures", "spot"], held=True)
    whole = orchestrator_of(pool).fetch_all_sections(Catalogue.of(pool.infos), base_params(), None, Kind.MISS)
    assert len(pool.calls) == 3
    pool.release(2)
    assert not whole.done()
    pool.release()
    assert set(whole.result(0)) == {"bonds", "futures", "spot"}


@pytest.mark.parametrize(
    ("error", "line", "duration_ms"),
    [
        (SectionTimeout("It took too long."), "SectionTimeout: It took too long.", 2000),
        (WorkerDied("Exit code 3."), "WorkerDied: Exit code 3.", 0),
        (ValueError("no such task"), "ValueError: no such task", 0),
        (MemoryError(), "MemoryError: ", 0),
    ],
)
def test_a_section_that_ends_outside_its_own_code_fails_alone_with_a_traceback(
    error: Exception, line: str, duration_ms: int
) -> None:
    outcomes = fetch(ends_in(error))
    failed = outcomes.pop("bonds")
    assert not any(other.failed for other in outcomes.values())
    assert (failed.failed, failed.error_line, failed.duration_ms) == (True, line, duration_ms)
    assert failed.computed_at == NOON
    assert failed.error_stack.startswith("Traceback")


def test_a_full_queue_refuses_the_whole_environment() -> None:
    pool = FakePool()
    pool.full = True
    with pytest.raises(Busy):
        fetch(pool)


def test_an_environment_without_sections_is_complete_at_once() -> None:
    assert fetch(FakePool([])) == {}


def test_the_event_loop_awaits_what_a_thread_would_wait_for() -> None:
    pool = FakePool(["bonds"])

    async def awaited() -> dict[str, SectionOutcome]:
        whole = orchestrator_of(pool).fetch_all_sections(Catalogue.of(pool.infos), base_params(), None, Kind.WHAT_IF)
        return await asyncio.wrap_future(whole)

    assert asyncio.run(awaited()) == {"bonds": outcome("bonds")}
