"""A small desk for the nightly batch: equities that follow three factors, two options, a bond and a private holding.

Closes of 90 business days from a fixed seed; those of the night itself only where a test says so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from position_server.business_days import Calendar
from position_server.portfolio.coordination import Coordinator
from position_server.portfolio.night import Night
from position_server.portfolio.prices import SourceError, UnknownSymbol
from position_server.portfolio.records.prices import Bar
from position_server.settings import PortfolioSettings, Settings
from position_server.store.engine import Store
from position_server.store.tables import closes, instruments, positions
from position_server.symbols import OptionSymbol
from tests.fakes import VirtualClock
from tests.store.factories import instrument, position, put

NIGHT = date(2025, 10, 30)
CALENDAR = Calendar.named("XNYS")
FACTORS = {"SPY": "FMKT", "MTUM": "FMOM", "TLT": "FBND"}
HELD = ("AAA", "BBB", "CCC", "DDD")
CALL, PUT = "AAA251219C00100000", "BBB251121P00090000"
DAYS = CALENDAR.between(CALENDAR.shift(NIGHT, -90), NIGHT)
PORTFOLIO: dict[str, Any] = {
    "factors": FACTORS,
    "factor_window_days": 90,
    "max_gap_share": 0.5,
    "heartbeat_timeout_seconds": 120.0,
}


def histories(seed: int = 1) -> dict[str, list[float]]:
    """Closes of DAYS by symbol: three factors, and equities that follow them."""
    dice = np.random.default_rng(seed)
    factors = dice.normal(0, 0.01, (len(DAYS), len(FACTORS)))
    betas = dice.normal(0.6, 0.4, (len(FACTORS), len(HELD)))
    equities = factors @ betas + dice.normal(0, 0.01, (len(DAYS), len(HELD)))
    levels = 100 * np.cumprod(1 + np.hstack([factors, equities]), axis=0)
    names = [*FACTORS.values(), *HELD]
    return {name: [round(float(level), 4) for level in levels[:, column]] for column, name in enumerate(names)}


def fill(store: Store) -> None:
    """The desk, with every close but the night's."""
    put(store, instruments, *(instrument(name, currency="XXX") for name in FACTORS.values()))
    put(store, instruments, *(instrument(name) for name in HELD))
    put(store, instruments, option(CALL, "AAA"), option(PUT, "BBB"))
    put(store, instruments, instrument("US-BOND", "BOND", coupon=0.04, maturity=date(2035, 8, 15)))
    put(store, instruments, instrument("PVT", "PRIVATE"))
    rows = [
        {"instrument": name, "close_date": day, "close": close, "source": "close"}
        for name, levels in histories().items()
        for day, close in zip(DAYS[:-1], levels[:-1], strict=True)
    ]
    with store.write() as connection:
        connection.execute(closes.insert(), rows)
    put(store, positions, *(position("CUPS", name, NIGHT) for name in (*HELD[:3], "US-BOND")))
    put(store, positions, position("EXO", HELD[3], NIGHT), position("EXO", "PVT", NIGHT, investment_class="PRIVATE"))
    put(store, positions, *(position("EXO", name, NIGHT, investment_class="OPTIONS") for name in (CALL, PUT)))


def option(name: str, underlying: str) -> dict[str, Any]:
    """An option's instrument row, from its symbol."""
    terms = OptionSymbol.parse(name)
    values = {"underlying": underlying, "expiry": terms.expiry, "option_right": terms.right, "strike": terms.strike}
    return instrument(name, "OPTION", multiplier=100.0, **values)


def bars_of_the_night(seed: int = 1) -> dict[str, Bar]:
    """What the source says of NIGHT."""
    return {name: Bar(NIGHT, levels[-1]) for name, levels in histories(seed).items()}


@dataclass
class Source:
    """A PriceSource that answers from tables, and notes what it was asked. `fail` is raised by the next calls."""

    stocks: dict[str, Bar | SourceError] = field(default_factory=bars_of_the_night)
    options: dict[str, Bar | SourceError] = field(
        default_factory=lambda: {CALL: Bar(NIGHT, 7.5), PUT: Bar(NIGHT, 3.25)}
    )
    past: dict[str, list[Bar]] = field(default_factory=dict)
    fail: list[SourceError] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        return

    @property
    def calls_made(self) -> int:
        return len(self.calls)

    def stock_bars(self, day: date, stop: threading.Event) -> Mapping[str, Bar | SourceError]:
        self._called(f"stocks {day}")
        return {name: bar for name, bar in self.stocks.items() if isinstance(bar, SourceError) or bar.day == day}

    def option_bars(
        self, symbols: Sequence[OptionSymbol], day: date, stop: threading.Event
    ) -> Mapping[OptionSymbol, Bar | SourceError]:
        self._called(f"options {len(symbols)}")
        return {one: self.options.get(one.compact, UnknownSymbol(f"{one.compact}: unknown")) for one in symbols}

    def history(self, symbol: str | OptionSymbol, first: date, last: date, stop: threading.Event) -> Sequence[Bar]:
        name = symbol.compact if isinstance(symbol, OptionSymbol) else symbol
        self._called(f"history {name} {first} {last}")
        found = [bar for bar in self.past.get(name, []) if first <= bar.day <= last]
        if not found:
            raise UnknownSymbol(f"{name}: no bars")
        return found

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if self.fail:
            raise self.fail.pop(0)


class Told:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int]] = []
        self.done = 0
        self.lines: list[str] = []

    def begin(self, phase: str, total: int) -> None:
        self.phases.append((phase, total))

    def advance(self, count: int = 1) -> None:
        self.done += count

    def say(self, line: str) -> None:
        self.lines.append(line)


class NightClock(VirtualClock):
    """A clock that only the batch's own thread moves: heartbeats wait for their end in real time."""

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        if threading.current_thread().name.startswith("heartbeat"):
            return stop.wait(60)
        return super().wait(stop, seconds)


def night(store: Store, *, day: date = NIGHT, clock: VirtualClock | None = None, **portfolio: Any) -> Night:
    """A night on this store."""
    settings = Settings(portfolio=PortfolioSettings(**(PORTFOLIO | portfolio)))
    clock, told = clock or NightClock(), Told()
    return Night(
        day=day,
        settings=settings,
        calendar=CALENDAR,
        store=store,
        clock=clock,
        coordinator=Coordinator(store, clock, settings.portfolio, say=told.say),
        progress=told,
        stop=threading.Event(),
    )


Contents = dict[str, list[tuple[str, ...]]]


def contents(store: Store, *names: str) -> Contents:
    """Every row of the tables in order, as text: the same on both kinds of store."""
    with store.read() as connection:
        return {
            name: sorted(tuple(map(str, row)) for row in connection.exec_driver_sql(f"SELECT * FROM {name}"))
            for name in names
        }
