"""Bonds at one settlement date, quoted or priced off a curve: the one valuation that every view of bonds shares.

A bond with a quote is worth its quote; one without is worth what the par curve says. Per 100 of face; no positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from position_server.analytics import bonds, curve_bonds
from position_server.analytics.bonds import BondRisk
from position_server.analytics.coupon_periods import CouponPeriods, DateArray, FloatArray, coupon_periods
from position_server.analytics.curve_bonds import CurveRisk
from position_server.analytics.curves import DiscountCurve


@dataclass(frozen=True, slots=True, eq=False)
class BondTerms:
    """n bonds: coupons as decimals and maturities."""

    coupon: FloatArray
    maturity: DateArray


@dataclass(frozen=True, slots=True, eq=False)
class BondValues:
    """What n bonds are worth, per 100 of face, and how they answer to yields; every array is (n,) unless said.

    `spread` is the z-spread to the curve that explains the price, 0 for a bond priced off the curve.
    """

    periods: CouponPeriods
    clean_price: FloatArray
    accrued: FloatArray
    yields: FloatArray
    spread: FloatArray
    risk: BondRisk
    curve_risk: CurveRisk

    @property
    def dirty_price(self) -> FloatArray:
        """Clean plus accrued."""
        return self.clean_price + self.accrued


def clean_prices(
    terms: BondTerms, settlement: date, quoted: FloatArray, curve: DiscountCurve | None
) -> tuple[FloatArray, CouponPeriods]:
    """Clean prices (n,) and periods: quotes where there are any, elsewhere the curve's price, unknown without one."""
    periods = coupon_periods(terms.maturity, settlement)
    alive = periods.remaining > 0
    if curve is None:
        return np.where(alive, quoted, np.nan), periods
    by_curve = curve_bonds.clean_price_from_curve(curve, terms.coupon, periods)
    return np.where(alive & ~np.isnan(quoted), quoted, by_curve), periods


def value_bonds(
    terms: BondTerms,
    settlement: date,
    quoted: FloatArray,
    curve: DiscountCurve | None,
    *,
    moved_curve: DiscountCurve | None = None,
    fixed_price: FloatArray | None = None,
) -> BondValues:
    """Prices, yields and risk of n bonds settling on `settlement`.

    `quoted` are clean prices (n,), NaN where there is none. With `moved_curve` every bond is worth what that curve
    says at the spread it has on `curve`. `fixed_price` (n,), where not NaN, is a clean price that nothing moves.
    """
    clean, periods = clean_prices(terms, settlement, quoted, curve)
    spread = _spread(terms, periods, quoted, curve)
    if moved_curve is not None and curve is not None:
        clean = curve_bonds.clean_price_from_curve(moved_curve, terms.coupon, periods, spread)
    now = moved_curve or curve
    if fixed_price is not None:
        clean, spread = _fixed(terms, periods, clean, spread, fixed_price, now)
    yields = bonds.yield_from_clean_price(clean, terms.coupon, periods)
    return BondValues(
        periods=periods,
        clean_price=clean,
        accrued=bonds.accrued(terms.coupon, periods),
        yields=yields,
        spread=spread,
        risk=bonds.risk(yields, terms.coupon, periods),
        curve_risk=_curve_risk(now, terms, periods, spread),
    )


def curve_deltas(
    terms: BondTerms, settlement: date, quoted: FloatArray, curve: DiscountCurve, moved_curve: DiscountCurve
) -> CurveRisk:
    """The `curve_risk` that `value_bonds` finds, by itself: neither prices nor yields."""
    periods = coupon_periods(terms.maturity, settlement)
    return curve_bonds.curve_risk(moved_curve, terms.coupon, periods, _spread(terms, periods, quoted, curve))


def _spread(terms: BondTerms, periods: CouponPeriods, quoted: FloatArray, curve: DiscountCurve | None) -> FloatArray:
    """Z-spreads (n,) of the quotes; 0 for a bond without one, unknown without a curve."""
    if curve is None:
        return np.full(len(quoted), np.nan)
    explained = curve_bonds.spread_from_clean_price(curve, quoted, terms.coupon, periods)
    return np.where(np.isnan(quoted), 0.0, explained)


def _fixed(
    terms: BondTerms,
    periods: CouponPeriods,
    clean: FloatArray,
    spread: FloatArray,
    fixed: FloatArray,
    curve: DiscountCurve | None,
) -> tuple[FloatArray, FloatArray]:
    is_fixed = ~np.isnan(fixed) & (periods.remaining > 0)
    if curve is None:
        return np.where(is_fixed, fixed, clean), spread
    explained = curve_bonds.spread_from_clean_price(curve, fixed, terms.coupon, periods)
    return np.where(is_fixed, fixed, clean), np.where(is_fixed, explained, spread)


def _curve_risk(curve: DiscountCurve | None, terms: BondTerms, periods: CouponPeriods, spread: FloatArray) -> CurveRisk:
    if curve is not None:
        return curve_bonds.curve_risk(curve, terms.coupon, periods, spread)
    unknown: npt.NDArray[np.float64] = np.full(len(spread), np.nan)
    return CurveRisk(unknown, np.empty((len(spread), 0)))
