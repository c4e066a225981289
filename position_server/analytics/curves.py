"""Discount curves from Treasury par yields, one or many at once, and the bumps that risk is measured with.

No bonds here (curve_bonds.py). Rates are decimals, semi-annual bond equivalent; times are years from settlement, such
that a bond's i-th remaining coupon (from 0) is (i + w) / 2 away, w being the fraction of its current period that is
left. A par bond on a coupon date is therefore worth par to the last digit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from position_server.analytics.coupon_periods import PERIODS_PER_YEAR, FloatArray

BASIS_POINT = 1e-4
LONGEST_YEARS = 30
HALF_YEARS = np.arange(1, PERIODS_PER_YEAR * LONGEST_YEARS + 1) / PERIODS_PER_YEAR


@dataclass(frozen=True, slots=True, eq=False)
class DiscountCurve:
    """Discount factors that are log-linear in time between nodes, with a flat forward rate after the last.

    par_rates is (T,) or (m, T) for m curves, aligned with tenor_years (T,); log_discounts is (g,) or (m, g), aligned
    with node_years (g,), which starts at 0.
    """

    tenor_years: FloatArray
    par_rates: FloatArray
    node_years: FloatArray
    log_discounts: FloatArray

    def log_discount(self, years: npt.ArrayLike) -> FloatArray:
        """Logarithms of the discount factors at `years` of any shape s: (s) or (m, s)."""
        at = np.asarray(years, dtype=np.float64)
        node = np.clip(np.searchsorted(self.node_years, at, side="right") - 1, 0, len(self.node_years) - 2)
        start, end = self.node_years[node], self.node_years[node + 1]
        weight = (at - start) / (end - start)
        return self.log_discounts[..., node] * (1 - weight) + self.log_discounts[..., node + 1] * weight

    def discount(self, years: npt.ArrayLike) -> FloatArray:
        """Discount factors at `years` of any shape s: (s) or (m, s)."""
        return np.exp(self.log_discount(years))

    def zero_rate(self, years: npt.ArrayLike) -> FloatArray:
        """Continuously compounded rates to `years` > 0 of any shape s: (s) or (m, s)."""
        return -self.log_discount(years) / np.asarray(years, dtype=np.float64)


def bootstrap(tenor_years: npt.ArrayLike, par_rates: npt.ArrayLike) -> DiscountCurve:
    """The curve on which every half-yearly par bond up to 30 years is worth par.

    `par_rates` is (T,) or (m, T). Par yields are linear between tenors and flat outside. Tenors below six months are
    nodes of their own, at simple interest. A tenor whose rate is NaN (in any curve) is left out; without any rate, the
    curve is NaN. So is the part of a curve too steep to have positive discount factors. Raises ValueError for tenors
    that do not increase or do not match the rates.
    """
    tenors, rates = np.asarray(tenor_years, dtype=np.float64), np.asarray(par_rates, dtype=np.float64)
    if rates.shape[-1:] != tenors.shape or np.any(np.diff(tenors) <= 0):
        raise ValueError("tenor_years must increase and be as many as the rates of a curve")
    known = np.isfinite(rates).all(axis=tuple(range(rates.ndim - 1)))
    short = known & (tenors > 0) & (tenors < HALF_YEARS[0])
    nodes = np.concatenate(([0.0], tenors[short], HALF_YEARS))
    if not known.any():
        return DiscountCurve(tenors, rates, nodes, np.full((*rates.shape[:-1], len(nodes)), np.nan))
    at_half_years = rates[..., known] @ _linear_weights(tenors[known], HALF_YEARS)
    with np.errstate(invalid="ignore", divide="ignore"):
        at_settlement = np.zeros((*rates.shape[:-1], 1))
        of_short = -np.log1p(rates[..., short] * tenors[short])
        logs = np.concatenate((at_settlement, of_short, np.log(_bootstrapped(at_half_years))), axis=-1)
    return DiscountCurve(tenors, rates, nodes, np.where(np.isfinite(logs), logs, np.nan))


def shifted(tenors: Sequence[str], par_rates: npt.ArrayLike, shift_bp: float | Mapping[str, float]) -> FloatArray:
    """Par rates (T,) moved by basis points: all by one number, or each tenor by its name (others stay).

    Raises ValueError naming the tenors that the curve does not have.
    """
    rates = np.asarray(par_rates, dtype=np.float64)
    if not isinstance(shift_bp, Mapping):
        return rates + shift_bp * BASIS_POINT
    unknown = [tenor for tenor in shift_bp if tenor not in tenors]
    if unknown:
        raise ValueError(f"the curve has no tenor {', '.join(unknown)} (it has {', '.join(tenors)})")
    return rates + np.array([shift_bp.get(tenor, 0.0) for tenor in tenors]) * BASIS_POINT


def down_bumps(par_rates: npt.ArrayLike) -> FloatArray:
    """The rates (T,) as they are, then all down 1 bp, then each tenor alone down 1 bp: (T + 2, T)."""
    rates = np.asarray(par_rates, dtype=np.float64)
    tenors = len(rates)
    bumps = np.concatenate((np.zeros((1, tenors)), np.ones((1, tenors)), np.eye(tenors)))
    return rates - BASIS_POINT * bumps


def _linear_weights(tenors: FloatArray, at: FloatArray) -> FloatArray:
    """What each tenor's rate contributes to the rate at each time (T, k): linear between tenors, flat outside."""
    return np.array([np.interp(at, tenors, unit) for unit in np.eye(len(tenors))])


def _bootstrapped(par: FloatArray) -> FloatArray:
    """Discount factors at the half years (..., k) from the par yields there: 1 = p/2 × (d_1 + ... + d_k) + d_k."""
    discounts, annuity = np.empty_like(par), np.zeros(par.shape[:-1])
    for k in range(par.shape[-1]):
        half = par[..., k] / PERIODS_PER_YEAR
        discounts[..., k] = (1 - half * annuity) / (1 + half)
        annuity = annuity + discounts[..., k]
    return discounts
