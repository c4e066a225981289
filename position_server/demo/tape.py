"""The tape: between which prices each instrument could be traded on each day of the demo.

Real lows and highs where there are any; for the others a narrow band around the day's value, said in docs/data.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Tape:
    """Low and high by instrument and day, and the tick that prices are multiples of (0 where there is none)."""

    ranges: Mapping[str, Mapping[date, Range]]
    ticks: Mapping[str, float]

    def has(self, instrument: str, on: date) -> bool:
        """Whether it could be traded on that day."""
        return on in self.ranges.get(instrument, {})

    def price(self, instrument: str, on: date, share: float) -> float:
        """The price `share` of the way from the day's low to its high, on a tick inside the range."""
        low, high = self.ranges[instrument][on]
        return on_tick(low + share * (high - low), self.ticks[instrument], low, high)


def around(value: float, width: float) -> Range:
    """The band of `width` (a share of the value) on each side of `value`."""
    return value * (1 - width), value * (1 + width)


def on_tick(price: float, tick: float, low: float, high: float) -> float:
    """The multiple of `tick` nearest to `price` that lies in [low, high]; `price` itself where none does."""
    if not tick:
        return round(price, 10)
    first, last = math.ceil(low / tick - 1e-9), math.floor(high / tick + 1e-9)
    if first > last:
        return round(price, 10)
    return round(min(max(round(price / tick), first), last) * tick, 10)


def rounded(price: float, tick: float) -> float:
    """`price` to the nearest multiple of `tick`."""
    return round(round(price / tick) * tick, 10)
