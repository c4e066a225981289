"""Who runs: every state that another run can be in, on both stores, in simulated time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from position_server.clock import SystemClock
from position_server.errors import BatchAborted, BatchStopped, RunSuperseded
from position_server.portfolio.coordination import Coordinator, Run
from position_server.portfolio.records import runs
from position_server.portfolio.records.runs import PORTFOLIO_REFRESH, SYMBOL_BATCH, BatchRun
from position_server.settings import PortfolioSettings
from position_server.store.engine import Store
from tests.fakes import VirtualClock
from tests.portfolio.desk import NIGHT, NightClock
from tests.servers import until

SETTINGS = PortfolioSettings(poll_seconds=300, max_wait_seconds=3600, heartbeat_timeout_seconds=120)
STOP = threading.Event()  # never set


class Process:
    """Another process: its coordinator, and what it would have said."""

    def __init__(self, store: Store, clock: VirtualClock, name: str = "here:1", **settings: float) -> None:
        self.said: list[str] = []
        known = PortfolioSettings(**(SETTINGS.model_dump() | settings))
        self.coordinator = Coordinator(store, clock, known, say=self.said.append, process=name)

    def begin(self, batch_type: str = SYMBOL_BATCH) -> Run:
        run = self.coordinator.begin(batch_type, NIGHT, STOP)
        assert isinstance(run, Run)
        return run


@pytest.fixture
def clock() -> NightClock:
    return NightClock()


class Acting(NightClock):
    """A clock with something that happens at certain moments, while somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: list[tuple[datetime, Callable[[], object]]] = []

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self.plan.append((self.now() + timedelta(seconds=seconds), act))

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        over = super().wait(stop, seconds)
        due = [entry for entry in self.plan if entry[0] <= self.now()]
        self.plan = [entry for entry in self.plan if entry not in due]
        for _, act in due:
            act()
        return over


def complete(store: Store, run: Run, **counts: int) -> BatchRun:
    with store.write() as connection:
        run.check(connection)
        return run.complete(connection, input_hash="abc", counts=counts)


def rows(store: Store) -> list[tuple[str, str]]:
    """(process, status), oldest first."""
    with store.read() as connection:
        return [(run.process, run.status) for run in reversed(runs.listed(connection))]


def test_a_completed_run_records_what_it_did_and_when(store: Store, clock: NightClock) -> None:
    with Process(store, clock).begin() as run:
        clock.advance(90)
        complete(store, run, fits=3)
    with store.read() as connection:
        found = runs.current(connection, SYMBOL_BATCH, NIGHT)
    assert found is not None
    assert (found.status, found.batch_date, found.input_hash, found.counts) == ("completed", NIGHT, "abc", {"fits": 3})
    assert found.completed_at is not None
    assert found.completed_at - found.started_at == timedelta(seconds=90)
    assert (found.run_id, found.error_message, found.supersedes) == (run.record.run_id, None, None)


def test_a_rerun_supersedes_the_completed_run_and_says_so(store: Store, clock: NightClock) -> None:
    with Process(store, clock, "first:1").begin() as run:
        complete(store, run)
    clock.advance(60)
    second = Process(store, clock, "second:2")
    with second.begin() as again:
        assert again.record.supersedes == run.record.run_id
        complete(store, again)
    assert rows(store) == [("first:1", "superseded"), ("second:2", "completed")]
    assert "supersedes" in second.said[0]
    assert "completed" in second.said[0]


def test_runs_of_other_dates_and_types_are_not_in_the_way(store: Store, clock: NightClock) -> None:
    process = Process(store, clock)
    with process.begin(SYMBOL_BATCH) as one, process.begin(PORTFOLIO_REFRESH) as other:
        complete(store, one)
        complete(store, other)
    assert [status for _, status in rows(store)] == ["completed", "completed"]


def test_a_run_left_by_an_exception_has_failed_with_its_message(store: Store, clock: NightClock) -> None:
    with pytest.raises(ValueError, match="no such price"), Process(store, clock).begin():
        raise ValueError("no such price")
    with store.read() as connection:
        found = runs.current(connection, SYMBOL_BATCH, NIGHT)
    assert found is not None
    assert (found.status, found.error_message) == ("failed", "ValueError: no such price")


def test_the_second_start_waits_and_has_nothing_to_do_when_the_first_completes(store: Store) -> None:
    clock = Acting()
    first = Process(store, clock, "first:1").begin()
    clock.after(40, lambda: beat(store, clock, first))
    clock.after(80, lambda: complete(store, first))
    second = Process(store, clock, "second:2", poll_seconds=10)
    assert second.coordinator.begin(SYMBOL_BATCH, NIGHT, STOP) == first.record
    assert rows(store) == [("first:1", "completed")]
    assert second.said == [f"symbol_batch of {NIGHT} runs already (first:1): waiting for it"]


def test_the_second_start_takes_over_when_the_first_fails(store: Store) -> None:
    clock = Acting()
    first = Process(store, clock, "first:1").begin()
    clock.after(30, lambda: fail(store, clock, first))
    with Process(store, clock, "second:2", poll_seconds=10).begin() as second:
        complete(store, second)
    assert rows(store) == [("first:1", "superseded"), ("second:2", "completed")]


def test_the_second_start_takes_over_when_the_first_was_silent_for_the_timeout(store: Store) -> None:
    clock = Acting()
    began = clock.now()
    Process(store, clock, "first:1").begin()
    second = Process(store, clock, "second:2")
    with second.begin() as run:
        waited = (clock.now() - began).total_seconds()
        assert 120 < waited <= 120 + 30  # the timeout, and no more than a beat
        complete(store, run)
    assert "not been heard of" in second.said[-1]


def test_who_was_silent_for_too_long_writes_nothing_more(store: Store, clock: NightClock) -> None:
    with Process(store, clock, "asleep:1").begin() as first:
        clock.advance(200)
        with Process(store, clock, "awake:2").begin() as second:
            complete(store, second)
        with pytest.raises(RunSuperseded):
            complete(store, first)
        with pytest.raises(RunSuperseded), store.write() as connection:
            first.complete(connection, input_hash="", counts={})
    assert rows(store) == [("asleep:1", "superseded"), ("awake:2", "completed")]


def test_the_second_start_gives_up_when_the_first_does_not_end(store: Store) -> None:
    clock = Acting()
    first = Process(store, clock).begin()
    for seconds in range(60, 4000, 60):
        clock.after(seconds, lambda: beat(store, clock, first))
    with pytest.raises(BatchAborted, match="did not end within 3600 s"):
        Process(store, clock).coordinator.begin(SYMBOL_BATCH, NIGHT, STOP)
    assert [status for _, status in rows(store)] == ["running"]


def test_a_heartbeat_comes_every_quarter_of_the_timeout_from_a_thread_of_its_own(store: Store) -> None:
    """In real time, and told to end at once."""
    clock = VirtualClock()
    beats: list[float] = []

    class Waiting(VirtualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            beats.append(seconds)
            clock.advance(seconds)
            return stop.wait(0.01)

        def now(self) -> datetime:
            return clock.now()

    with Process(store, Waiting(), heartbeat_timeout_seconds=20).begin() as run:
        until(lambda: len(beats) > 5)
        complete(store, run)
    assert set(beats) == {5.0}
    assert "heartbeat-symbol_batch" not in [thread.name for thread in threading.enumerate()]


# --- one batch waits for the other -----------------------------------------------------------------------------------


def wait_for(store: Store, clock: VirtualClock, **settings: float) -> BatchRun:
    return Process(store, clock, **settings).coordinator.wait_for(SYMBOL_BATCH, NIGHT, STOP)


def test_who_starts_first_waits_until_the_other_has_begun_and_completed(store: Store) -> None:
    clock, begun = Acting(), []
    clock.after(700, lambda: begun.append(Process(store, clock, "symbols:1").begin()))
    clock.after(1000, lambda: complete(store, begun[0]))
    waiting = Process(store, clock, heartbeat_timeout_seconds=600)
    found = waiting.coordinator.wait_for(SYMBOL_BATCH, NIGHT, STOP)
    assert found.status == "completed"
    assert waiting.said == [f"waiting for symbol_batch of {NIGHT}, which has not begun"]


def test_a_completed_run_is_not_waited_for(store: Store, clock: NightClock) -> None:
    with Process(store, clock).begin() as run:
        complete(store, run)
    began = clock.now()
    assert wait_for(store, clock).run_id == run.record.run_id
    assert clock.now() == began


def test_a_failed_run_aborts_at_once(store: Store, clock: NightClock) -> None:
    fail(store, clock, Process(store, clock).begin())
    began = clock.now()
    with pytest.raises(BatchAborted, match="symbol_batch of 2025-10-30 failed: no prices"):
        wait_for(store, clock)
    assert clock.now() == began


def test_a_run_whose_process_is_gone_counts_as_failed_and_is_recorded_so(store: Store) -> None:
    clock = Acting()
    Process(store, clock, "gone:7").begin()
    began = clock.now()
    with pytest.raises(BatchAborted, match=r"its process \(gone:7\) has not been heard of"):
        wait_for(store, clock)
    assert 120 < (clock.now() - began).total_seconds() <= 150  # not a whole poll of 300 s
    assert rows(store) == [("gone:7", "failed")]


def test_a_run_that_says_it_lives_is_waited_for_longer_than_its_timeout(store: Store) -> None:
    clock = Acting()
    run = Process(store, clock).begin()
    for seconds in range(30, 900, 30):
        clock.after(seconds, lambda: beat(store, clock, run))
    clock.after(910, lambda: complete(store, run))
    assert wait_for(store, clock, poll_seconds=30).status == "completed"


def test_a_wait_ends_after_the_longest_wait_exactly(store: Store, clock: NightClock) -> None:
    began = clock.now()
    with pytest.raises(BatchAborted, match="symbol_batch of 2025-10-30 did not complete within 3600 s"):
        wait_for(store, clock)
    assert clock.now() - began == timedelta(seconds=3600)


def test_a_wait_ends_when_the_process_is_told_to(store: Store, clock: NightClock) -> None:
    told = threading.Event()
    told.set()
    with pytest.raises(BatchStopped):
        Process(store, clock).coordinator.wait_for(SYMBOL_BATCH, NIGHT, told)


def test_of_many_starts_at_once_one_runs(store: Store) -> None:
    """Threads with connections of their own, as processes have them; the others wait for the one and do nothing."""
    barrier = threading.Barrier(6)
    done: list[Run | BatchRun] = []

    def start(number: int) -> None:
        barrier.wait(60)
        run = Process(store, SystemClock(), f"p:{number}", poll_seconds=0.05).coordinator.begin(
            SYMBOL_BATCH, NIGHT, STOP
        )
        if isinstance(run, Run):
            complete(store, run)
        done.append(run)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(done) == 6
    with store.read() as connection:
        found = runs.listed(connection)
    ran = [run for run in done if isinstance(run, Run)]
    assert len(found) == len(ran)
    assert [run.status for run in found].count("completed") == 1
    assert {run.status for run in found} <= {"completed", "superseded"}


def beat(store: Store, clock: VirtualClock, run: Run) -> None:
    with store.write() as connection:
        assert runs.beat(connection, run.record.run_id, clock.now())


def fail(store: Store, clock: VirtualClock, run: Run) -> None:
    with store.write() as connection:
        assert runs.fail(connection, run.record.run_id, "no prices", clock.now())
