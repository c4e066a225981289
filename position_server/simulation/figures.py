"""The figures of a range of days: returns, volatility, Sharpe ratio, drawdown. Pure, and light enough for the server.

From daily returns as decimals, 252 of them a year; in percent where the name says so. None where a figure has no
meaning: annualised ones and ratios of fewer than two days, a Sharpe ratio without volatility.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

DAYS_A_YEAR = 252
LEAST_VOLATILITY = 1e-12  # of daily returns; less is rounding


@dataclass(frozen=True, slots=True)
class Figures:
    """What a portfolio did over a range of days."""

    period_return_pct: float
    annualised_return_pct: float | None  # the period's return, compounded to a year
    volatility_pct: float | None  # the sample deviation of daily returns × √252
    sharpe_ratio: float | None  # mean over deviation of daily returns × √252; the risk-free rate is zero
    max_drawdown_pct: float  # the deepest fall from a peak, the start included; zero or negative


def figures(returns: Sequence[float]) -> Figures:
    """The figures of consecutive daily returns, at least one."""
    growth = list(accumulate(returns, lambda worth, gain: worth * (1 + gain), initial=1.0))
    peaks = accumulate(growth, max)
    drawdown = min(worth / peak - 1 for worth, peak in zip(growth, peaks, strict=True))
    total = growth[-1]
    if len(returns) < 2:
        return Figures((total - 1) * 100, None, None, None, drawdown * 100)
    annual = total ** (DAYS_A_YEAR / len(returns)) - 1 if total > 0 else -1.0
    deviation = statistics.stdev(returns)
    sharpe = None
    if deviation > LEAST_VOLATILITY:
        sharpe = statistics.fmean(returns) / deviation * math.sqrt(DAYS_A_YEAR)
    volatility = deviation * math.sqrt(DAYS_A_YEAR) * 100
    return Figures((total - 1) * 100, annual * 100, volatility, sharpe, drawdown * 100)
