"""Forwards and futures: Treasury conversion factors, deliverable bonds, the cheapest to deliver, covered interest.

Pure formulas; no contract calendar (callers give the first day of the delivery month and the delivery date). Prices of
bonds and Treasury futures are per 100 of face, rates and coupons decimals, factors per 1. The value of the seller's
delivery options is left out: real Treasury futures are worth a little less.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from position_server.analytics.bonds import accrued
from position_server.analytics.coupon_periods import (
    PERIODS_PER_YEAR,
    DateArray,
    Dates,
    FloatArray,
    coupon_periods,
    days,
    month_difference,
)
from position_server.analytics.curve_bonds import dirty_price_from_curve
from position_server.analytics.curves import DiscountCurve

FACE = 100.0
NOTIONAL_YIELD = 0.06
MONEY_MARKET_DAYS = 360
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Grade:
    """What may be delivered into a Treasury future, and how its conversion factor rounds.

    Remaining terms are whole months from the first day of the delivery month: at least `from_months`, less than
    `below_months` (None: no limit). Treasuries mature in the middle or at the end of a month, so a rule's "not more
    than ten years" is below 120, and ZT's "two years from the last day of the month" below 25.
    """

    from_months: int
    below_months: int | None
    original_months: int | None  # longest term at issue
    rounding_months: int  # the factor's term is rounded down to so many


GRADES = MappingProxyType(
    {
        "ZT": Grade(21, 25, 63, 1),
        "ZF": Grade(50, 64, 63, 1),
        "ZN": Grade(78, 96, 120, 3),
        "TN": Grade(113, 120, 120, 3),
        "ZB": Grade(180, 300, None, 3),
        "UB": Grade(300, None, None, 3),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Deliverables:
    """The k bonds of a Treasury future's basket. `spread` is the z-spread of each to the curve, held under bumps."""

    coupon: FloatArray
    maturity: DateArray
    factor: FloatArray
    spread: FloatArray


def conversion_factor(coupon: npt.ArrayLike, maturity: Dates, first_delivery_day: Dates, root: str) -> FloatArray:
    """The price per 1 (n,) at which bonds yield 6 %, by the exchange's rounded rule, to four decimals.

    With n whole years and z months (rounded down to quarters, for ZT and ZF to months) left on the first day of the
    delivery month, v = z below 7, else 3 or (ZT, ZF) z - 6, and p = 2n or, from z = 7, 2n + 1:
    factor = 1.03^(-v/6) × [c/2 + 1.03^-p + c/0.06 × (1 - 1.03^-p)] - c/2 × (6 - v)/6
    (CME Group, Calculating U.S. Treasury Futures Conversion Factors). Raises KeyError for an unknown root.
    """
    rounding = GRADES[root].rounding_months
    months = month_difference(days(first_delivery_day), days(maturity)) // rounding * rounding
    years, rest = months // 12, months % 12
    late = rest >= 7
    to_coupon = np.where(late, 3 if rounding == 3 else rest - 6, rest)
    half = 1 + NOTIONAL_YIELD / PERIODS_PER_YEAR
    coupons = np.atleast_1d(np.asarray(coupon, dtype=np.float64))
    principal = half ** -(PERIODS_PER_YEAR * years + late)
    annuity = coupons / NOTIONAL_YIELD * (1 - principal)
    first = half ** (-to_coupon / 6)
    exact = first * (coupons / 2 + principal + annuity) - coupons / 2 * (6 - to_coupon) / 6
    return np.asarray(np.round(exact, 4))


def is_deliverable(
    root: str, maturity: Dates, issue_date: Dates, first_delivery_day: Dates, unknown_issue: bool = False
) -> BoolArray:
    """Which bonds (n,) may be delivered into the contract of `root`; False where maturity is NaT.

    `unknown_issue` is the answer about the term at issue where a root limits it and issue_date is NaT. Raises KeyError
    for an unknown root.
    """
    grade, matures, issued = GRADES[root], days(maturity), days(issue_date)
    months = month_difference(days(first_delivery_day), matures)
    fits = ~np.isnat(matures) & (months >= grade.from_months)
    if grade.below_months is not None:
        fits &= months < grade.below_months
    if grade.original_months is not None:
        term = month_difference(issued, matures)
        fits &= np.where(np.isnat(issued), unknown_issue, term <= grade.original_months)
    return fits


def curve_forward_clean(curve: DiscountCurve, basket: Deliverables, settlement: date, delivery: date) -> FloatArray:
    """Clean prices (k,) for delivery later, or (m, k) on m curves, financed on the curve itself.

    Today's dirty price (with the bond's spread), less the coupons on the way discounted on the curve, over the discount
    factor of the delivery day.
    """
    now, then = coupon_periods(basket.maturity, settlement), coupon_periods(basket.maturity, delivery)
    value = dirty_price_from_curve(curve, basket.coupon, now, basket.spread)
    paid = now.remaining - then.remaining
    half_coupon = basket.coupon * FACE / PERIODS_PER_YEAR
    for number in range(int(paid.max(initial=0))):
        years = (number + np.nan_to_num(now.remaining_fraction)) / PERIODS_PER_YEAR
        value = value - np.where(number < paid, half_coupon * curve.discount(years), 0.0)
    years = now.years_to_maturity - then.years_to_maturity
    return value / np.where(np.isnan(years), np.nan, curve.discount(np.nan_to_num(years))) - accrued(
        basket.coupon, then
    )


def treasury_future_price(curve: DiscountCurve, basket: Deliverables, settlement: date, delivery: date) -> FloatArray:
    """Theoretical price (1,), or (m,) on m curves: the least forward clean price ÷ factor. NaN for an empty basket.

    On bumped curves the cheapest bond is chosen anew, so differences are the contract's tenor deltas.
    """
    forwards = np.atleast_2d(curve_forward_clean(curve, basket, settlement, delivery))
    prices = np.where(np.isnan(forwards), np.inf, forwards) / basket.factor
    least = prices.min(axis=1, initial=np.inf)
    return np.where(np.isinf(least), np.nan, least)


def covered_interest_forward(
    spot: npt.ArrayLike, domestic_rate: npt.ArrayLike, foreign_rate: npt.ArrayLike, day_count: npt.ArrayLike
) -> FloatArray:
    """Forward exchange rates (n,) in domestic currency per foreign unit: simple ACT/360 rates, days to delivery."""
    years = np.asarray(day_count, dtype=np.float64) / MONEY_MARKET_DAYS
    domestic, foreign = np.asarray(domestic_rate, dtype=np.float64), np.asarray(foreign_rate, dtype=np.float64)
    return np.asarray(spot, dtype=np.float64) * (1 + domestic * years) / (1 + foreign * years)


def carry_forward(spot: npt.ArrayLike, rate: npt.ArrayLike, day_count: npt.ArrayLike) -> FloatArray:
    """Forward prices (n,) of what pays and costs nothing while held (coins, metals): simple ACT/360 financing."""
    return covered_interest_forward(spot, rate, 0.0, day_count)
