"""Permits for work that has time: it gets what quotes leave, and quotes get theirs on time."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from position_server.market_data.assets import assets_of, secondary
from position_server.market_data.batch import BatchOrchestrator
from position_server.market_data.meter import Meter
from position_server.market_data.priority_queue import PriorityQueue
from position_server.market_data.rate_limiter import RateLimiter, Stopped
from position_server.market_data.runs import Runs
from position_server.market_data.second_place import SecondPlace, calls_of_quotes
from position_server.settings import CONFIG_FILE, load_settings
from tests.fakes import VirtualClock
from tests.market_data.day import Day, NotingUpdater
from tests.market_data.ledgers import MemoryLedger
from tests.market_data.simulated_time import SimulatedTime

SETTINGS = load_settings(CONFIG_FILE).market_data
ASSETS = assets_of(SETTINGS)
HOURS = 3_600.0


def test_a_call_is_permitted_once_more_are_free_than_have_to_be_left(clock: VirtualClock) -> None:
    limiter = RateLimiter(MemoryLedger(), calls=5, window_seconds=60.0, clock=clock)
    permits, stop = SecondPlace(limiter, leaves=2, clock=clock), threading.Event()
    assert [permits.acquire(stop) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limiter.get_remaining() == 2
    assert permits.acquire(stop) == pytest.approx(61.0)
    stop.set()
    with pytest.raises(Stopped):
        permits.acquire(stop)


def test_a_pause_counts_for_everybody(clock: VirtualClock) -> None:
    limiter = RateLimiter(MemoryLedger(), calls=5, window_seconds=60.0, clock=clock)
    SecondPlace(limiter, leaves=2, clock=clock).pause(30.0)
    assert limiter.get_stats()["paused_until"] is not None


@pytest.mark.parametrize(("limit", "left"), [(5, 2), (2, 1), (1, 0)])
def test_a_batch_and_the_queue_are_left_their_calls_but_never_all(limit: int, left: int) -> None:
    assert calls_of_quotes(ASSETS, limit) == left
    assert calls_of_quotes((), limit) == 0


def test_quotes_come_on_time_beside_work_that_would_take_every_call() -> None:
    clock, day, stop = SimulatedTime(), Day(), threading.Event()
    limiter = RateLimiter(MemoryLedger(), calls=SETTINGS.calls, window_seconds=SETTINGS.window_seconds, clock=clock)
    meter = Meter(limiter, calls=SETTINGS.calls, window_seconds=SETTINGS.window_seconds, clock=clock)
    orchestrator = BatchOrchestrator(
        ASSETS,
        SETTINGS,
        updater=NotingUpdater(day, meter, clock, lambda: 0.0),
        queue=PriorityQueue(clock),
        meter=meter,
        runs=Runs(),
        make_ready=lambda: None,
        keep=day.results.append,
        clock=clock,
    )
    permits = SecondPlace(limiter, leaves=calls_of_quotes(ASSETS, SETTINGS.calls), clock=clock)
    other_calls: list[float] = []

    def work() -> None:
        while not stop.is_set():
            try:
                permits.acquire(stop)
            except Stopped:
                return
            other_calls.append(clock.monotonic())

    def end() -> None:
        clock.wait(threading.Event(), 6 * HOURS)
        stop.set()
        orchestrator.stop()

    clock.run([orchestrator.run, work, end])
    assert day.refreshes["EURUSD"] == pytest.approx([300.0 * n for n in range(72)])
    for asset in secondary(ASSETS):
        assert max(later - earlier for earlier, later in pairwise(day.refreshes[asset.symbol])) <= 1800 + 15
        assert len(day.refreshes[asset.symbol]) == 12
    assert len(other_calls) > 6 * 60 * 2, "and the work goes on"
