"""The stock splits inside the shipped window, and bars adjusted for them. The shipped bars are as traded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from position_server.demo.sources import Bar

SPLITS = {"ORLY": (date(2025, 6, 10), 15.0)}  # the first day at the new price, and new shares for one old share


def adjusted(symbol: str, bars: Mapping[date, Bar]) -> Mapping[date, Bar]:
    """The bars as if the symbol had always had today's shares: earlier prices are lower, volumes larger."""
    if symbol not in SPLITS:
        return bars
    since, ratio = SPLITS[symbol]
    return {day: bar if day >= since else _divided(bar, ratio) for day, bar in bars.items()}


def _divided(bar: Bar, ratio: float) -> Bar:
    first, high, low, last = (round(price / ratio, 6) for price in bar[:4])
    return Bar(first, high, low, last, bar.volume * ratio)
