"""A book's exposures: betas weighted by market value, and how much of it is held in one class. Pure, on arrays.

Weights are market values over the gross (absolute) market value of what is weighted, so that a short position takes
away and a hedged book does not divide by nothing. What is unknown is left out of numerator and denominator; coverage
says how much that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
PERCENT = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """Exposures (k,), NaN where nothing is known.

    `gross` is the denominator of the weights of `count` positions; `coverage` is its share of the gross value of all
    positions, None where there is none.
    """

    exposures: Floats
    gross: float
    count: int
    coverage: float | None


def weighted_exposures(market_value: Floats, betas: Floats) -> Weighted:
    """Σ wᵢ βᵢ of positions (n,) with betas (n, k), wᵢ = vᵢ / Σ|vⱼ| over the positions with a value and all betas."""
    known = ~np.isnan(market_value)
    fitted = known & ~np.isnan(betas).any(axis=1) if betas.shape[1] else np.zeros(len(known), np.bool_)
    whole = float(np.abs(market_value[known]).sum())
    gross = float(np.abs(market_value[fitted]).sum())
    exposures = market_value[fitted] @ betas[fitted] / gross if gross else np.full(betas.shape[1], np.nan)
    return Weighted(exposures, gross, int(fitted.sum()), gross / whole if whole else None)


def allocation_pct(market_value: Floats, chosen: Bools) -> float | None:
    """The chosen positions' gross market value in percent of all positions'; None where nothing has a value."""
    known = ~np.isnan(market_value)
    whole = float(np.abs(market_value[known]).sum())
    return PERCENT * float(np.abs(market_value[known & chosen]).sum()) / whole if whole else None
