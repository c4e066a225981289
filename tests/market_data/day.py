"""A day of market data in a moment: the real limiter, queue and beats on a clock that moves when they wait.

No store and no provider: an update is its calls, each of which takes what `answer` says, and then a note of the time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from position_server.market_data.assets import TICKERS_PER_CALL, Asset
from position_server.market_data.batch import BatchOrchestrator
from position_server.market_data.meter import Meter
from position_server.market_data.priority_queue import PriorityQueue
from position_server.market_data.rate_limiter import RateLimiter
from position_server.market_data.results import BatchResult
from position_server.market_data.runs import Runs
from position_server.market_data.updater import Outcome
from position_server.settings import MarketDataSettings
from tests.fakes import NOON, VirtualClock
from tests.market_data.ledgers import MemoryLedger
from tests.market_data.simulated_time import SimulatedTime


class DayClock(VirtualClock):
    """A clock that calls `at_end` when the day is over, and what was asked for `at` its time."""

    def __init__(self, start: datetime, over: datetime) -> None:
        super().__init__(start)
        self.over = over
        self.at_end: Callable[[], None] = lambda: None
        self._asked: list[tuple[datetime, Callable[[], object]]] = []

    def at(self, moment: datetime, action: Callable[[], object]) -> None:
        """Has `action` called by the first wait that ends at `moment` or later."""
        self._asked.append((moment, action))

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.advance(seconds)
        for moment, action in [one for one in self._asked if one[0] <= self.now()]:
            self._asked.remove((moment, action))
            action()
        if self.now() >= self.over:
            self.at_end()
        return stop.is_set()


@dataclass
class Day:
    """What happened, in seconds since the start."""

    refreshes: dict[str, list[float]] = field(default_factory=dict)  # by symbol: when each quote was stored
    calls: list[float] = field(default_factory=list)  # when each call was sent
    results: list[BatchResult] = field(default_factory=list)


class NotingUpdater:
    """An Updater whose calls are permitted, take their time, and are noted."""

    def __init__(
        self, day: Day, meter: Meter, clock: VirtualClock | SimulatedTime, answer: Callable[[], float]
    ) -> None:
        self._day, self._meter, self._clock, self._answer = day, meter, clock, answer
        self._start = clock.monotonic()

    def update(self, assets: Sequence[Asset], stop: threading.Event) -> Mapping[str, Outcome]:
        for first in range(0, len(assets), TICKERS_PER_CALL):
            self._meter.acquire(stop)
            self._day.calls.append(self._clock.monotonic() - self._start)
            self._clock.advance(self._answer())
            for asset in assets[first : first + TICKERS_PER_CALL]:
                self._day.refreshes.setdefault(asset.symbol, []).append(self._clock.monotonic() - self._start)
        return {asset.symbol: Outcome(asset.symbol) for asset in assets}


def simulated(
    assets: Sequence[Asset],
    settings: MarketDataSettings,
    seconds: float = 86_400.0,
    *,
    answer: Callable[[], float] = lambda: 0.0,
) -> Day:
    """So many seconds of the beats; each call takes `answer()` seconds."""
    clock, day = DayClock(NOON, NOON + timedelta(seconds=seconds)), Day()
    limiter = RateLimiter(MemoryLedger(), calls=settings.calls, window_seconds=settings.window_seconds, clock=clock)
    meter = Meter(limiter, calls=settings.calls, window_seconds=settings.window_seconds, clock=clock)
    orchestrator = BatchOrchestrator(
        assets,
        settings,
        updater=NotingUpdater(day, meter, clock, answer),
        queue=PriorityQueue(clock),
        meter=meter,
        runs=Runs(),
        make_ready=lambda: None,
        keep=day.results.append,
        clock=clock,
    )
    clock.at_end = orchestrator.stop
    orchestrator.run()
    return day


def refresh_times(
    assets: Sequence[Asset], settings: MarketDataSettings, seconds: float = 86_400.0
) -> dict[str, list[float]]:
    """By symbol, the seconds after the start at which its quote was stored."""
    return simulated(assets, settings, seconds).refreshes
