"""What positions are worth and what they have earned, in the instrument's currency. Sums over books are in totals.py.

Every argument is (n,) or a number, every result (n,). NaN is unknown and stays unknown: nothing is replaced by zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from position_server.analytics.coupon_periods import FloatArray

FACE = 100.0


def per_unit(kind: npt.NDArray[np.object_], multiplier: npt.ArrayLike) -> FloatArray:
    """What one unit of quantity counts for a price of one (n,): the multiplier; of a bond's face a hundredth."""
    return np.where(kind == "BOND", 1 / FACE, _floats(multiplier))


def market_value(quantity: npt.ArrayLike, multiplier: npt.ArrayLike, price: npt.ArrayLike) -> FloatArray:
    """Quantity × multiplier × price. Of futures this is the notional: their value is `price_gain` since entry."""
    return _floats(quantity) * _floats(multiplier) * _floats(price)


def price_gain(
    quantity: npt.ArrayLike, multiplier: npt.ArrayLike, price: npt.ArrayLike, reference_price: npt.ArrayLike
) -> FloatArray:
    """Quantity × multiplier × (price - reference): daily P&L against the last close, total against the entry price.

    Against the entry price it is also a future's market value: what the margin account has gained since.
    """
    return market_value(quantity, multiplier, _floats(price) - _floats(reference_price))


def bond_market_value(face: npt.ArrayLike, dirty_price: npt.ArrayLike) -> FloatArray:
    """Face × dirty price / 100."""
    return _floats(face) * _floats(dirty_price) / FACE


def bond_daily_pnl(
    face: npt.ArrayLike,
    dirty_price: npt.ArrayLike,
    previous_dirty_price: npt.ArrayLike,
    coupon_income: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Face / 100 × (dirty - previous dirty + coupons paid between the two settlement dates): accrual is income."""
    gained = _floats(dirty_price) - _floats(previous_dirty_price) + _floats(coupon_income)
    return bond_market_value(face, gained)


def bond_total_pnl(face: npt.ArrayLike, clean_price: npt.ArrayLike, entry_price: npt.ArrayLike) -> FloatArray:
    """Face / 100 × (clean - clean entry price): interest since entry is not known here and not counted."""
    return bond_market_value(face, _floats(clean_price) - _floats(entry_price))


def _floats(values: npt.ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64)
