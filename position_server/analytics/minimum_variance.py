"""Portfolios of least variance: a covariance that can be inverted, and long-only weights.

Pure functions on arrays. Returns are decimals per period, a row a period, a column an asset.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

Array = npt.NDArray[np.float64]


def shrunk_covariance(returns: Array) -> Array:
    """The sample covariance drawn towards a multiple of the identity, as far as its own sampling error says.

    Invertible even where there are fewer periods than assets. Ledoit and Wolf, A well-conditioned estimator for
    large-dimensional covariance matrices, Journal of Multivariate Analysis 88 (2004), lemmas 3.2 to 3.4. Divides by the
    number of periods. Raises ValueError for fewer than two periods or returns without any variance.
    """
    periods, assets = returns.shape
    if periods < 2:
        raise ValueError("a covariance needs at least two periods")
    centred = returns - returns.mean(axis=0)
    sample = centred.T @ centred / periods
    scale = np.trace(sample) / assets
    if not scale > 0:
        raise ValueError("none of the returns varies")
    distance = np.sum((sample - scale * np.eye(assets)) ** 2) / assets
    squared = centred**2
    error = np.sum(squared.T @ squared / periods - sample**2) / periods / assets
    weight = 0.0 if distance == 0 else min(1.0, error / distance)
    shrunk: Array = weight * scale * np.eye(assets) + (1 - weight) * sample
    return shrunk


def long_only_weights(covariance: Array) -> Array:
    """The weights of least variance that are not negative and sum to one, exactly (an active-set solution).

    With LLᵀ the covariance, x ≥ 0 that minimises |Lᵀx − L⁻¹1|² has the optimality conditions of the portfolio up to
    scale, so that non-negative least squares (Lawson and Hanson, 1974) solve it. Raises numpy.linalg.LinAlgError for a
    covariance that is not positive definite.
    """
    factor = np.linalg.cholesky(covariance)
    solution, _ = nnls(factor.T, np.linalg.solve(factor, np.ones(len(covariance))))
    weights: Array = solution / solution.sum()
    return weights
