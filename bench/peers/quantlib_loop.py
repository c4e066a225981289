"""The valuation as a loop over QuantLib: yield, durations, convexity, DV01, and key rates by exact repricing.

What a desk writes first. Bonds and curves are built outside of what is timed; each bond is then asked one by one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import QuantLib as ql

FREQUENCY = ql.Semiannual
DAY_COUNT = ql.ActualActual(ql.ActualActual.ISMA)
BASIS_POINT = 1e-4


@dataclass(frozen=True, slots=True)
class Quoted:
    """A bond with its clean price: coupon as a decimal, price per 100."""

    coupon: float
    maturity: date
    clean_price: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Discount factors at dates, the first being the settlement."""

    dates: Sequence[date]
    discounts: Sequence[float]


def to_date(value: date) -> ql.Date:
    """The date as QuantLib writes it."""
    return ql.Date(value.day, value.month, value.year)


def seconds_per_bond(
    bonds: Sequence[Quoted], settlement: date, curves: Sequence[Curve]
) -> tuple[float, npt.NDArray[np.float64]]:
    """Seconds that one bond takes on average, and the yields found (n,), to be compared.

    `curves`: as it is, all down one basis point, then each tenor down one.
    """
    on = to_date(settlement)
    ql.Settings.instance().evaluationDate = on
    built = [(_bond(one, on), one.clean_price) for one in bonds]
    engines = [ql.DiscountingBondEngine(ql.YieldTermStructureHandle(_curve(one))) for one in curves]
    yields = []
    since = time.perf_counter()
    for bond, price in built:
        yields.append(_value(bond, price, on, engines))
    return (time.perf_counter() - since) / len(bonds), np.array(yields)


def _value(bond: ql.Bond, price: float, on: ql.Date, engines: Sequence[ql.PricingEngine]) -> float:
    functions = ql.BondFunctions
    found = functions.bondYield(
        bond, ql.BondPrice(price, ql.BondPrice.Clean), DAY_COUNT, ql.Compounded, FREQUENCY, on, 1e-12, 100
    )
    rate = ql.InterestRate(found, DAY_COUNT, ql.Compounded, FREQUENCY)
    bond.accruedAmount(on)
    functions.duration(bond, rate, ql.Duration.Macaulay, on)
    functions.duration(bond, rate, ql.Duration.Modified, on)
    functions.convexity(bond, rate, on)
    functions.basisPointValue(bond, rate, on)
    prices = []
    for engine in engines:
        bond.setPricingEngine(engine)
        prices.append(bond.dirtyPrice())
    _ = [price - prices[0] for price in prices[1:]]
    return float(found)


def _bond(one: Quoted, on: ql.Date) -> ql.Bond:
    maturity = to_date(one.maturity)
    calendar = ql.NullCalendar()
    schedule = ql.Schedule(
        on - ql.Period(1, ql.Years),
        maturity,
        ql.Period(FREQUENCY),
        calendar,
        ql.Unadjusted,
        ql.Unadjusted,
        ql.DateGeneration.Backward,
        ql.Date.isEndOfMonth(maturity),
    )
    day_count = ql.ActualActual(ql.ActualActual.ISMA, schedule)
    return ql.FixedRateBond(0, 100.0, schedule, [one.coupon], day_count)


def _curve(one: Curve) -> ql.DiscountCurve:
    curve = ql.DiscountCurve([to_date(day) for day in one.dates], list(one.discounts), ql.Actual365Fixed())
    curve.enableExtrapolation()
    return curve
