"""Bonds on a discount curve: price, the spread that explains a quote, and key rate risk, for many bonds at once.

Pure formulas; nothing here knows about yields to maturity (bonds.py) or positions. Prices are per 100 of face.

The spread is a z-spread: continuously compounded, constant over a bond's life, on top of the curve:
dirty = sum of flow × DF(t) × exp(-spread × t). Bonds that share a coupon cycle share their payment times, so the
curve is read once per cycle and all its bonds, on all curves, are priced by one matrix product: exact repricing, no
first-order approximation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from position_server.analytics.coupon_periods import PERIODS_PER_YEAR, CouponPeriods, FloatArray, IntArray
from position_server.analytics.curves import DiscountCurve, bootstrap, down_bumps

BoolArray = npt.NDArray[np.bool_]
FACE = 100.0
BLOCK = 4096  # bonds at a time: 4096 × 60 flows stay in the processor's cache
SMALL_STEP = 1e-8  # of a spread; Newton squares the error, so the rest is below rounding
MOST_STEPS = 50


@dataclass(frozen=True, slots=True, eq=False)
class CurveRisk:
    """What falling par yields add to n bonds' prices, per 100 of face, at constant spread: positive when long."""

    curve_dv01: FloatArray  # (n,): every par yield down 1 bp
    key_rate_dv01: FloatArray  # (n, T): one par tenor down 1 bp; 0 for a tenor that the curve has no rate for


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Up to BLOCK live bonds, sorted by coupon cycle. k is the most coupons that any of them has left."""

    rows: IntArray  # (b,) where they stand in the caller's arrays
    flows: FloatArray  # (b, k)
    last: IntArray  # (b,) the column of each bond's last flow
    cycle_years: FloatArray  # (cycles, k): the payment times of each cycle
    cycle: IntArray  # (b,) the cycle of each bond
    cycle_starts: IntArray  # (cycles + 1,)

    @property
    def years(self) -> FloatArray:
        """The payment times of each bond (b, k)."""
        return self.cycle_years[self.cycle]

    def spread_flows(self, spread: FloatArray) -> FloatArray:
        """The flows as a curve without the spread sees them (b, k)."""
        mine = spread[self.rows]
        if not mine.any():
            return self.flows
        # Where no flow is left the time is not the bond's: a large negative spread would overflow there.
        return self.flows * np.exp(np.where(self.flows != 0, -mine[:, None] * self.years, 0.0))

    def values(self, flows: FloatArray, discounts: FloatArray) -> FloatArray:
        """Sums of flow × discount (m, b), of flows (b, k) and m curves' discounts by cycle (m, cycles, k)."""
        out = np.empty((len(discounts), len(flows)))
        known = np.nan_to_num(discounts)  # a curve that is unknown after a bond's maturity is no matter of that bond
        for cycle, (start, end) in enumerate(zip(self.cycle_starts[:-1], self.cycle_starts[1:], strict=True)):
            np.matmul(known[:, cycle], flows[start:end].T, out=out[:, start:end])
        if np.isnan(discounts).any():
            out[np.isnan(discounts[:, self.cycle, self.last])] = np.nan
        return out


def dirty_price_from_curve(
    curve: DiscountCurve, coupon: npt.ArrayLike, periods: CouponPeriods, spread: npt.ArrayLike = 0.0
) -> FloatArray:
    """Dirty prices (n,) of bonds with coupons (n,) on one curve, or (m, n) on m; NaN where matured or unknown."""
    coupons, spreads = _columns(periods, coupon, spread)
    logs = np.atleast_2d(curve.log_discounts)
    out = np.full((len(logs), len(coupons)), np.nan)
    for block in _blocks(coupons, periods):
        discounts = curve.discount(block.cycle_years)
        by_curve = discounts.reshape(len(logs), *block.cycle_years.shape)
        out[:, block.rows] = block.values(block.spread_flows(spreads), by_curve)
    return out if curve.log_discounts.ndim > 1 else out[0]


def clean_price_from_curve(
    curve: DiscountCurve, coupon: npt.ArrayLike, periods: CouponPeriods, spread: npt.ArrayLike = 0.0
) -> FloatArray:
    """Clean prices (n,) on one curve, or (m, n) on m: dirty less accrued."""
    return dirty_price_from_curve(curve, coupon, periods, spread) - _accrued(coupon, periods)


def spread_from_clean_price(
    curve: DiscountCurve, clean_price: npt.ArrayLike, coupon: npt.ArrayLike, periods: CouponPeriods
) -> FloatArray:
    """The z-spreads (n,) at which one curve gives the clean prices; NaN where no spread that a double can hold does."""
    coupons, clean = _columns(periods, coupon, clean_price)
    dirty = clean + _accrued(coupons, periods)
    dirty = np.where((dirty > 0) & np.isfinite(dirty), dirty, np.nan)
    out = np.full(len(coupons), np.nan)
    for block in _blocks(coupons, periods, ~np.isnan(dirty)):
        discounts = curve.discount(block.cycle_years)[block.cycle]
        fraction = periods.remaining_fraction[block.rows]
        with np.errstate(all="ignore"):
            present_values = np.where(block.flows != 0, block.flows * discounts, 0.0)
            out[block.rows] = _spreads(present_values, fraction, dirty[block.rows])
    return np.where(np.isfinite(out), out, np.nan)


def curve_risk(
    curve: DiscountCurve, coupon: npt.ArrayLike, periods: CouponPeriods, spread: npt.ArrayLike = 0.0
) -> CurveRisk:
    """curve_dv01 (n,) and key_rate_dv01 (n, T) of bonds on one curve, by exact repricing on bumped curves.

    The bumps of the tenors add up to the parallel one, so key rates sum to curve_dv01 but for convexity (about 0.1 %).
    """
    coupons, spreads = _columns(periods, coupon, spread)
    bumped = bootstrap(curve.tenor_years, down_bumps(curve.par_rates))
    out = np.full((len(bumped.par_rates) - 1, len(coupons)), np.nan)
    for block in _blocks(coupons, periods):
        discounts = bumped.discount(block.cycle_years)
        out[:, block.rows] = block.values(block.spread_flows(spreads), discounts[1:] - discounts[0])
    return CurveRisk(curve_dv01=out[0], key_rate_dv01=np.ascontiguousarray(out[1:].T))


def _columns(periods: CouponPeriods, *values: npt.ArrayLike) -> tuple[FloatArray, ...]:
    return tuple(np.broadcast_to(np.asarray(value, dtype=np.float64), periods.remaining.shape) for value in values)


def _accrued(coupon: npt.ArrayLike, periods: CouponPeriods) -> FloatArray:
    return np.asarray(coupon, dtype=np.float64) * FACE / PERIODS_PER_YEAR * periods.accrued_fraction


def _blocks(coupons: FloatArray, periods: CouponPeriods, wanted: BoolArray | None = None) -> Iterator[_Block]:
    """The live bonds (of those `wanted` (n,)), those of one coupon cycle beside each other."""
    order = np.argsort(periods.remaining_fraction, kind="stable")
    alive = periods.remaining > 0
    order = order[(alive if wanted is None else alive & wanted)[order]]
    for start in range(0, len(order), BLOCK):
        rows = order[start : start + BLOCK]
        remaining = periods.remaining[rows]
        fraction, first, cycle = np.unique(periods.remaining_fraction[rows], return_index=True, return_inverse=True)
        number = np.arange(remaining.max())
        flows = np.where(number < remaining[:, None], (coupons[rows] * FACE / PERIODS_PER_YEAR)[:, None], 0.0)
        flows[np.arange(len(rows)), remaining - 1] += FACE
        cycle_years = (fraction[:, None] + number) / PERIODS_PER_YEAR
        yield _Block(rows, flows, remaining - 1, cycle_years, cycle, np.append(first, len(rows)))


def _spreads(present_values: FloatArray, fraction: FloatArray, dirty: FloatArray) -> FloatArray:
    """Spreads (b,) at which present values (b, k), paid at (i + fraction) / 2 years, add up to the dirty prices.

    With q = exp(-spread / 2) the sum is q^fraction × polynomial(q); its logarithm is convex and almost linear in the
    spread, so Newton converges from 0.
    """
    coefficients = np.ascontiguousarray(present_values.T)
    spread, target = np.zeros_like(dirty), np.log(dirty)
    for _ in range(MOST_STEPS):
        q = np.exp(-spread / PERIODS_PER_YEAR)
        value, slope = _polynomial(coefficients, q)
        excess = np.log(value) - fraction * spread / PERIODS_PER_YEAR - target
        step = excess * PERIODS_PER_YEAR / (fraction + q * slope / value)
        spread = spread + step
        if np.nanmax(np.abs(step), initial=0.0) < SMALL_STEP:
            break
    return spread


def _polynomial(coefficients: FloatArray, at: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Polynomials with coefficients (k, b), lowest first, and their derivatives, each at its own point (b,): Horner."""
    value, slope = np.zeros_like(at), np.zeros_like(at)
    for coefficient in coefficients[::-1]:
        slope = slope * at + value
        value = value * at + coefficient
    return value, slope
