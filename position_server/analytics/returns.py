"""Daily returns from closes, without those that a split made: prices are as traded, nothing adjusts them.

Pure functions on arrays, a row a day, a column a symbol; decimals; NaN is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# No split is seen in prices themselves. From this ratio of two closes on, one is likelier than a move of the market;
# below it the usual ratio is 3:2, and it shows within what a share moves on such a day.
JUMP_RATIO = 1.8
SMALL_SPLIT, SMALL_SPLIT_WIDTH = 1.5, 0.03


@dataclass(frozen=True, slots=True, eq=False)
class DailyReturns:
    """Simple returns, a row less than there were closes; where `jumped`, the return is left out (NaN)."""

    values: Floats
    jumped: Bools


def daily_returns(closes: Floats) -> DailyReturns:
    """The returns from each row of closes (days, symbols) to the next; unknown beside an unknown close or one ≤ 0."""
    with np.errstate(all="ignore"):
        priced = np.where(closes > 0, closes, np.nan)
        ratios = priced[1:] / priced[:-1]
        jumped = split_like(ratios)
    return DailyReturns(np.where(jumped, np.nan, ratios - 1), jumped)


def split_like(ratios: Floats) -> Bools:
    """Where a ratio of two days' closes looks like a split or a reverse split: from 1.8 to 1 on, or near 3 to 2."""
    with np.errstate(all="ignore"):
        sizes = np.maximum(ratios, 1 / ratios)
        return (sizes >= JUMP_RATIO) | (np.abs(sizes / SMALL_SPLIT - 1) <= SMALL_SPLIT_WIDTH)
