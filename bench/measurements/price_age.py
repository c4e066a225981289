"""How old each price gets under the call budget: as planned, and over a day of the updater in simulated time.

The day is the updater's own thread code, queue, limiter and ledger (a SQLite file) with the shipped assets, on a clock
that jumps to whatever is waited for. There is no provider: an answer takes 0.2 s, one in fifty anything up to the
longest that the plan allows for. The ages are those of a reader who looks every seven seconds.
"""

from __future__ import annotations

import random
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import mean

from bench.lab import STORE_FILE, Lab
from bench.lines import Line, at_most, line, percentile
from position_server.market_data.ages import Budget
from position_server.market_data.assets import Asset, assets_of
from position_server.market_data.batch import BatchOrchestrator
from position_server.market_data.ledger import StoreLedger
from position_server.market_data.meter import Meter
from position_server.market_data.plan import SymbolPlan, plan
from position_server.market_data.priority_queue import PriorityQueue
from position_server.market_data.rate_limiter import RateLimiter
from position_server.market_data.runs import Runs
from position_server.market_data.updater import Outcome
from position_server.settings import MarketDataSettings, load_settings
from position_server.store.engine import open_store

DAY_SECONDS = 86_400
LOOK_SECONDS = 7  # in step with no beat
USUAL_SECONDS, SLOW_SHARE = 0.2, 0.02
MORNING = datetime(2025, 10, 30, tzinfo=UTC)


class JumpingClock:
    """A clock on which waiting takes no time; `at_end` is called once the day is over."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.at_end: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        """The wall clock."""
        return MORNING + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds since the day began."""
        return self.seconds

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Jumps."""
        self.seconds += seconds
        if self.seconds >= DAY_SECONDS:
            self.at_end()
        return stop.is_set()


class _Quotes:
    """Stands in for provider and store: by symbol, when each quote was there and when it had been asked for."""

    def __init__(self, meter: Meter, clock: JumpingClock, answer: Callable[[], float]) -> None:
        self._meter, self._clock, self._answer = meter, clock, answer
        self.stored: dict[str, list[float]] = {}
        self.sent: dict[str, list[float]] = {}

    def update(self, assets: Sequence[Asset], stop: threading.Event) -> Mapping[str, Outcome]:
        """One call for all of them, as the shipped ones need."""
        self._meter.acquire(stop)
        sent = self._clock.seconds
        self._clock.seconds += self._answer()
        for asset in assets:
            self.sent.setdefault(asset.symbol, []).append(sent)
            self.stored.setdefault(asset.symbol, []).append(self._clock.seconds)
        return {asset.symbol: Outcome(asset.symbol) for asset in assets}

    def ages(self, symbol: str) -> list[float]:
        """How old the quote was at every look, from the first quote on."""
        stored, sent = self.stored[symbol], self.sent[symbol]
        looks = range(int(stored[0]) + 1, DAY_SECONDS, LOOK_SECONDS)
        return [look - sent[bisect_right(stored, look) - 1] for look in looks]


def measure(lab: Lab) -> list[Line]:
    """For the symbols of equal plans: the planned mean; mean, 99th percentile and maximum over the day."""
    settings = load_settings().market_data
    assets = assets_of(settings)
    found = plan(Budget.of(settings), {asset.symbol: asset.level for asset in assets})
    ages = _day(lab, settings, assets)
    groups: dict[tuple[float | None, float | None], list[SymbolPlan]] = {}
    for one in found.symbols:
        groups.setdefault((one.expected_age_seconds, one.worst_case_age_seconds), []).append(one)
    return [one for (expected, worst), alike in groups.items() for one in _lines(expected, worst, alike, ages)]


def _lines(
    expected: float | None, worst: float | None, alike: Sequence[SymbolPlan], ages: Mapping[str, list[float]]
) -> list[Line]:
    """The lines of symbols with these planned ages."""
    symbols = ", ".join(one.symbol for one in alike)
    if expected is None or worst is None:
        raise ValueError(f"the budget is too small for {symbols}: {alike[0].reason}")
    levels = ", ".join(dict.fromkeys(one.level.name for one in alike))
    seen = [age for one in alike for age in ages[one.symbol]]
    day = "age of each price over a simulated day"
    return [
        line(f"expected age of each price under the call budget, {levels}", expected, "s", note=symbols),
        line(f"{day}, {levels}, mean", mean(seen), "s"),
        line(f"{day}, {levels}, p99", percentile(seen, 99), "s"),
        line(f"{day}, {levels}, largest", max(seen), "s", at_most(worst), "the plan's worst case"),
    ]


def _day(lab: Lab, settings: MarketDataSettings, assets: Sequence[Asset]) -> dict[str, list[float]]:
    """The ages by symbol over a day of the beats."""
    clock, dice, longest = JumpingClock(), random.Random(1), Budget.of(settings).answer_seconds
    with open_store(f"sqlite:///{lab.new_folder('price-age') / STORE_FILE}") as store:
        store.upgrade()
        limit = {"calls": settings.calls, "window_seconds": settings.window_seconds, "clock": clock}
        meter = Meter(RateLimiter(StoreLedger(store, "bench"), **limit), **limit)
        quotes = _Quotes(meter, clock, lambda: dice.random() * longest if dice.random() < SLOW_SHARE else USUAL_SECONDS)
        orchestrator = BatchOrchestrator(
            assets,
            settings,
            updater=quotes,
            queue=PriorityQueue(clock),
            meter=meter,
            runs=Runs(),
            make_ready=lambda: None,
            keep=lambda _: None,
            clock=clock,
        )
        clock.at_end = orchestrator.stop
        orchestrator.run()
    return {asset.symbol: quotes.ages(asset.symbol) for asset in assets}
