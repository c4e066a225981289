"""Filler: as many bytes as the book BYTES-n says, for measurements that need a body of a given size quickly.

Rows of numbers that compress about as well as prices do. Loaded by the benchmark's servers only, as a third party's.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from position_server.sections.base import Inputs, Needs, Section, SectionParams

ROW_BYTES = 123
SIZE = re.compile(r"BYTES-(\d+)")


def compute(inputs: Inputs, _: SectionParams) -> Mapping[str, Any]:
    """About as many bytes as are asked for, the same for the same books."""
    wanted = sum(int(match[1]) for book in inputs.base.books if (match := SIZE.fullmatch(book)))
    dice = random.Random("".join(inputs.base.books))
    return {"filler": [_row(number, dice) for number in range(round(wanted / ROW_BYTES))]}


def _row(number: int, dice: random.Random) -> dict[str, Any]:
    price = round(90 + 20 * dice.random(), 6)
    return {
        "instrument": f"F{number:06}",
        "currency": "USD",
        "price": price,
        "market_value": price * 1000,
        "daily_pnl": round(dice.random() - 0.5, 4),
        "source": "live",
    }


SECTION = Section("filler", needs=Needs(previous=False), params=SectionParams, compute=compute)
