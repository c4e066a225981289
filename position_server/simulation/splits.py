"""The stock splits that the shipped prices do not adjust for. A desk's own go into this table.

Prices are as traded: on the day of a split a share becomes `ratio` shares at a `ratio`th of the price. Holdings are
multiplied on that day, before trading. Only splits of one share into several; nothing here pays dividends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from math import prod


@dataclass(frozen=True, slots=True)
class Split:
    """One split: the first day on which the new shares trade, and how many there are for an old one."""

    symbol: str
    day: date
    ratio: int


SPLITS = (
    Split("ORLY", date(2025, 6, 10), 15),  # O'Reilly Automotive, 15-for-1: closed at 1,348 on the 9th, opened at 90
)


SPLIT_SYMBOLS = frozenset(split.symbol for split in SPLITS)


def split_ratio(symbol: str, after: date, upto: date) -> int:
    """What a share held at the close of `after` has become at the open of `upto`."""
    if symbol not in SPLIT_SYMBOLS:
        return 1
    return prod(split.ratio for split in SPLITS if split.symbol == symbol and after < split.day <= upto)
