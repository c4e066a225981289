"""Semi-annual bonds: price from yield, yield from price, durations, convexity and DV01, for many bonds at once.

Pure formulas on arrays of n bonds; no curves here (curve_bonds.py), no money of positions (pnl.py). Coupons and yields
are decimals, prices are per 100 of face, durations in years. What cannot be known is NaN in its own row: a matured
bond, a NaN input, a price at or below zero, a yield at or below -200 %. Nothing is raised for one bad bond.

With h = yield / 2, v = 1 / (1 + h), w the fraction of the current period that is left, N remaining coupons of c =
100 × coupon / 2 (Fabozzi, Bond Markets; ICMA Rule 251; 31 CFR 356, Appendix B):

    dirty = first(h) × [c × (1 + v + ... + v^(N-1)) + 100 × v^(N-1)],    clean = dirty - c × (1 - w)

    street    first(h) = v^w, and 1 / (1 + w h) in the last coupon period (N = 1)
    treasury  first(h) = 1 / (1 + w h) always

Derivatives are those of the formula in use, so in the last period they are those of simple interest. A bill is a bond
with coupon 0 on the half-years counted back from its maturity: within six months its yield is simple interest on
ACT/ACT ICMA time, which is not quite the Treasury's coupon equivalent (that one counts a year of 365 or 366 days).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from position_server.analytics.annuities import annuity
from position_server.analytics.coupon_periods import (
    PERIODS_PER_YEAR,
    CouponPeriods,
    Dates,
    FloatArray,
)

Convention = Literal["street", "treasury"]
BoolArray = npt.NDArray[np.bool_]
FACE = 100.0
BASIS_POINT = 1e-4
LARGEST_LOG_GROWTH = 690.0  # exp of it is still a double
SMALL_STEP = 1e-9  # Newton squares the error: after a step this small the rest is below rounding
MOST_STEPS = 100  # Newton takes 4 or 5; halving the bracket alone would take 60


@dataclass(frozen=True, slots=True, eq=False)
class BondRisk:
    """How n bonds answer to their yields; every array is (n,)."""

    dirty_price: FloatArray  # per 100
    macaulay_duration: FloatArray  # years: the flows' times weighted by their present values
    modified_duration: FloatArray  # -(dP/dy) / P
    convexity: FloatArray  # (d²P/dy²) / P, years²
    dv01: FloatArray  # P(y - 1 bp) - P(y), per 100: positive


@dataclass(frozen=True, slots=True, eq=False)
class _Slopes:
    """A dirty price, its first two derivatives in the half-yearly yield, and the slope of the bracket's logarithm."""

    price: FloatArray
    first: FloatArray
    second: FloatArray
    bracket_log_slope: FloatArray


def accrued(coupon: npt.ArrayLike, periods: CouponPeriods) -> FloatArray:
    """Accrued interest per 100 (n,): the part of the coupon that belongs to the seller (ACT/ACT ICMA)."""
    return _half_coupon(coupon) * periods.accrued_fraction


def coupon_income(coupon: npt.ArrayLike, maturity: Dates, after: CouponPeriods, until: CouponPeriods) -> FloatArray:
    """Coupons per 100 paid after one settlement date and not after another (n,); the redemption is not income."""
    paid = _half_coupon(coupon) * (after.remaining - until.remaining)
    return np.where(np.isnat(np.asarray(maturity, dtype="datetime64[D]")), np.nan, paid)


def dirty_price_from_yield(
    yields: npt.ArrayLike, coupon: npt.ArrayLike, periods: CouponPeriods, convention: Convention = "street"
) -> FloatArray:
    """Dirty prices per 100 (n,) of bonds that yield `yields`."""
    with np.errstate(all="ignore"):
        return _slopes(_half(yields), _half_coupon(coupon), periods, convention).price


def clean_price_from_yield(
    yields: npt.ArrayLike, coupon: npt.ArrayLike, periods: CouponPeriods, convention: Convention = "street"
) -> FloatArray:
    """Clean prices per 100 (n,): dirty less accrued."""
    return dirty_price_from_yield(yields, coupon, periods, convention) - accrued(coupon, periods)


def yield_from_clean_price(
    clean_price: npt.ArrayLike, coupon: npt.ArrayLike, periods: CouponPeriods, convention: Convention = "street"
) -> FloatArray:
    """The yields (n,) at which bonds are worth `clean_price` per 100; NaN where no yield gives it."""
    half_coupon = _half_coupon(coupon)
    dirty = np.asarray(clean_price, dtype=np.float64) + accrued(coupon, periods)
    dirty = np.where((dirty > 0) & np.isfinite(dirty), dirty, np.nan)
    single = periods.remaining == 1
    with np.errstate(all="ignore"):
        in_last_period = ((half_coupon + FACE) / dirty - 1) / periods.remaining_fraction
        searched = np.where(single, np.nan, dirty)
        found = in_last_period if single.all() else np.expm1(_log_growth(searched, half_coupon, periods, convention))
        return PERIODS_PER_YEAR * np.where(single, in_last_period, found)


def risk(
    yields: npt.ArrayLike, coupon: npt.ArrayLike, periods: CouponPeriods, convention: Convention = "street"
) -> BondRisk:
    """Dirty price, durations, convexity and DV01 of bonds that yield `yields`."""
    half_yield, half_coupon = _half(yields), _half_coupon(coupon)
    with np.errstate(all="ignore"):
        at = _slopes(half_yield, half_coupon, periods, convention)
        below = _slopes(half_yield - BASIS_POINT / PERIODS_PER_YEAR, half_coupon, periods, convention)
        mean_periods = periods.remaining_fraction - (1 + half_yield) * at.bracket_log_slope
        return BondRisk(
            dirty_price=at.price,
            macaulay_duration=np.where(np.isnan(at.price), np.nan, mean_periods / PERIODS_PER_YEAR),
            modified_duration=-at.first / at.price / PERIODS_PER_YEAR,
            convexity=at.second / at.price / PERIODS_PER_YEAR**2,
            dv01=below.price - at.price,
        )


def _slopes(half_yield: FloatArray, half_coupon: FloatArray, periods: CouponPeriods, convention: Convention) -> _Slopes:
    """The dirty price and its derivatives, by the product rule on first(h) × bracket(h)."""
    single = periods.remaining == 1
    later = np.maximum(periods.remaining - 1, 0).astype(np.float64)  # coupons after the next one
    bracket_yield = np.where(single, 0.0, half_yield)  # one flow at the next coupon date: nothing to discount there
    sums = annuity(bracket_yield, later)
    bracket = half_coupon * (1 + sums.value) + FACE * sums.last_discount
    bracket_1 = half_coupon * sums.first - FACE * later * sums.last_discount * sums.discount
    bracket_2 = half_coupon * sums.second + FACE * later * (later + 1) * sums.last_discount * sums.discount**2
    first, first_1, first_2 = _first_period(half_yield, sums.discount, periods.remaining_fraction, single, convention)
    price = first * bracket
    known = np.isfinite(price) & (first > 0)
    return _Slopes(
        price=np.where(known, price, np.nan),
        first=first_1 * bracket + first * bracket_1,
        second=first_2 * bracket + 2 * first_1 * bracket_1 + first * bracket_2,
        bracket_log_slope=bracket_1 / bracket,
    )


def _first_period(
    half_yield: FloatArray, discount: FloatArray, fraction: FloatArray, single: BoolArray, convention: Convention
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """first(h) of the module's formula with its two derivatives."""
    simple = 1 / (1 + fraction * half_yield)
    simple_1, simple_2 = -fraction * simple**2, 2 * fraction**2 * simple**3
    if convention == "treasury":
        return simple, simple_1, simple_2
    compounded = np.exp(-fraction * np.log1p(half_yield))
    return (
        np.where(single, simple, compounded),
        np.where(single, simple_1, -fraction * compounded * discount),
        np.where(single, simple_2, fraction * (fraction + 1) * compounded * discount**2),
    )


def _log_growth(
    dirty: FloatArray, half_coupon: FloatArray, periods: CouponPeriods, convention: Convention
) -> FloatArray:
    """x = log(1 + yield / 2) that gives the dirty prices, by Newton on log(price) as a function of x.

    That function is almost a straight line of slope -duration, and convex for the street's formula, so Newton cannot
    run away. A bracket is kept all the same and halved wherever a step leaves it.
    """
    years = periods.years_to_maturity
    guess = (half_coupon + (FACE - dirty) / (PERIODS_PER_YEAR * years)) / ((FACE + dirty) / 2)
    x = np.log1p(np.clip(guess, -0.9, 10.0))
    low, high = np.full_like(x, -LARGEST_LOG_GROWTH), np.full_like(x, LARGEST_LOG_GROWTH)
    target = np.log(dirty)
    for _ in range(MOST_STEPS):
        half_yield = np.expm1(x)
        at = _slopes(half_yield, half_coupon, periods, convention)
        above = np.log(at.price) - target  # positive: too dear, the yield must rise
        low, high = np.where(above > 0, x, low), np.where(above <= 0, x, high)
        stepped = x - above * at.price / (at.first * (1 + half_yield))
        moved = np.where((stepped >= low) & (stepped <= high), stepped, (low + high) / 2)
        largest = np.nanmax(np.abs(moved - x) * ~np.isnan(target), initial=0.0)
        x = moved
        if largest < SMALL_STEP:
            break
    return np.where(np.isnan(target), np.nan, x)


def _half(yields: npt.ArrayLike) -> FloatArray:
    return np.atleast_1d(np.asarray(yields, dtype=np.float64)) / PERIODS_PER_YEAR


def _half_coupon(coupon: npt.ArrayLike) -> FloatArray:
    return np.atleast_1d(np.asarray(coupon, dtype=np.float64)) * FACE / PERIODS_PER_YEAR
