"""European options by Black and Scholes, and the volatility that past closes had. No smile, no early exercise.

Pure formulas on arrays; prices per share, years, decimals.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erfc, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from position_server.analytics.coupon_periods import FloatArray

TRADING_DAYS_PER_YEAR = 252
_erfc: Callable[..., Any] = np.frompyfunc(erfc, 1, 1)  # numpy has none


def black_scholes(
    right: npt.ArrayLike,
    spot: npt.ArrayLike,
    strike: npt.ArrayLike,
    years: npt.ArrayLike,
    rate: npt.ArrayLike,
    volatility: npt.ArrayLike,
    dividend_yield: npt.ArrayLike = 0.0,
) -> FloatArray:
    """Values (n,) of European calls (`right` "C") and puts ("P"); rates and dividend yield continuously compounded.

    s × [F × N(s × d1) - K × N(s × d2)] × exp(-r t), with s = 1 or -1 and F the forward (Black and Scholes, 1973;
    Merton, 1973). At expiry or without volatility, the discounted worth of exercising; NaN for unknown or negative
    input.
    """
    letters = np.asarray(right)
    sign = np.where(letters == "C", 1.0, np.where(letters == "P", -1.0, np.nan))
    s, k, t, r, sigma, q = (
        np.asarray(value, dtype=np.float64) for value in (spot, strike, years, rate, volatility, dividend_yield)
    )
    with np.errstate(all="ignore"):
        known = (s > 0) & (k > 0) & (t >= 0) & (sigma >= 0)
        forward, discount, spread = s * np.exp((r - q) * t), np.exp(-r * t), sigma * np.sqrt(t)
        upper = np.log(forward / k) / spread + spread / 2
        value = sign * (forward * _normal(sign * upper) - k * _normal(sign * (upper - spread)))
        exercised = np.maximum(sign * (forward - k), 0.0)
        return np.atleast_1d(np.where(known, discount * np.where(spread > 0, value, exercised), np.nan))


def realised_volatility(closes: npt.ArrayLike, periods_per_year: int = TRADING_DAYS_PER_YEAR) -> float:
    """The yearly volatility of the closes' log returns, their mean taken as zero; NaN for fewer than two closes."""
    series = np.asarray(closes, dtype=np.float64)
    if len(series) < 2:
        return float("nan")
    with np.errstate(all="ignore"):
        returns = np.diff(np.log(series))
    return float(np.sqrt(periods_per_year * np.mean(returns**2)))


def _normal(value: FloatArray) -> FloatArray:
    """The standard normal distribution function."""
    return np.asarray(_erfc(-value / sqrt(2)), dtype=np.float64) / 2
