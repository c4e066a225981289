"""Daily prices as a model may know them: everything before its day, and of its day the open.

A worker keeps one `PriceHistory` between model-days and reads only what is new. What a model sees is a `Market` cut out
of it: the high, low and close of its day and everything after are not in it. For workers: it imports numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from position_server.simulation.holdings import MICROS, Refused, rounded
from position_server.simulation.splits import split_ratio

REACH = timedelta(days=730)  # how far back a model sees


class Bar(NamedTuple):
    """One day of one symbol, as traded: prices in millionths (None where there is no sound one), volume in shares."""

    open: int | None
    high: int | None
    low: int | None
    close: int | None
    volume: float | None


PricedDay = tuple[date, str, Bar]
Load = Callable[[date, date], Iterable[PricedDay]]  # the bars of first <= day <= last, day by day


def in_micros(price: float | None) -> int | None:
    """A price of the store in millionths; None for none, and for what no price can be."""
    return round(price * MICROS) if price is not None and math.isfinite(price) and price > 0 else None


class PriceHistory:
    """The bars of all days that were asked for so far. Used by one worker, one model-day at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._bars: dict[date, dict[str, Bar]] = {}
        self._first: date | None = None
        self._last: date | None = None

    def market(self, day: date, universe: Collection[str] | None) -> Market:
        """The market of `day` for a model that may trade `universe` (None: every symbol that opens)."""
        self._extend(day)
        first = day - REACH
        past = {on: bars for on, bars in self._bars.items() if first <= on < day}  # in order, as they were read
        today = self._bars.get(day, {}).items()
        opens = {name: bar.open for name, bar in today if bar.open is not None}
        return Market(day, opens, past, universe)

    def closing(self, day: date, symbols: Iterable[str]) -> dict[str, int]:
        """The last closes not after `day`, in shares as they are on `day`. For valuation when trading is over."""
        self._extend(day)
        found = {symbol: self._last_close(day, symbol) for symbol in symbols}
        return {symbol: close for symbol, close in found.items() if close is not None}

    def _last_close(self, day: date, symbol: str) -> int | None:
        for on in reversed(self._bars):
            close = self._bars[on][symbol].close if on <= day and symbol in self._bars[on] else None
            if close is not None:
                return rounded(close, split_ratio(symbol, on, day))
        return None

    def _extend(self, day: date) -> None:
        """Reads the days that are missing; all of them again where a model-day lies before the others."""
        first = day - REACH
        if self._first is None or self._last is None or first < self._first:
            self._bars.clear()
            self._first, self._last = first, first - timedelta(days=1)
        if day > self._last:
            for on, symbol, bar in self._load(self._last + timedelta(days=1), day):
                self._bars.setdefault(on, {})[symbol] = bar
            self._last = day


@dataclass(frozen=True, slots=True)
class Market:
    """What is known when `day` opens."""

    day: date
    opens: Mapping[str, int]  # of the day, in millionths
    past: dict[date, dict[str, Bar]]  # the days before, in order
    universe: Collection[str] | None

    @property
    def symbols(self) -> list[str]:
        """What may be bought today, in order."""
        return sorted(self.opens.keys() if self.universe is None else self.opens.keys() & set(self.universe))

    @property
    def previous_day(self) -> date | None:
        """The last day before with prices."""
        return next(reversed(self.past), None)

    def bar(self, symbol: str, on: date) -> Bar:
        """The prices of `symbol` on a day: of today the open alone. Raises Refused for later days."""
        if on > self.day:
            raise Refused(f"{on} is after the day that is simulated, {self.day}")
        if on == self.day:
            return Bar(self.opens.get(symbol), None, None, None, None)
        return self.past.get(on, {}).get(symbol, Bar(None, None, None, None, None))

    def last_price(self, symbol: str) -> int | None:
        """Today's open, else the last close before, in shares as they are today."""
        if symbol in self.opens:
            return self.opens[symbol]
        for on in reversed(self.past):
            close = self.bar(symbol, on).close
            if close is not None:
                return rounded(close, split_ratio(symbol, on, self.day))
        return None

    def closes(self, symbols: Sequence[str], count: int) -> npt.NDArray[np.float64]:
        """The closes of the last `count` (1 or more) days before today, fewer where there are fewer; a row a day.

        In the currency, per share as it is today: closes before a split are divided by its ratio. NaN for none.
        """
        days = list(self.past)[-count:]
        rows = [[self._adjusted(symbol, on) for symbol in symbols] for on in days]
        return np.array(rows, dtype=np.float64).reshape(len(days), len(symbols))

    def _adjusted(self, symbol: str, on: date) -> float:
        close = self.bar(symbol, on).close
        return math.nan if close is None else close / MICROS / split_ratio(symbol, on, self.day)
