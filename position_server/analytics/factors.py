"""Factor exposures: betas of daily returns on factors' returns, by ordinary least squares with an intercept.

y = a + F b + e over the days on which all factors and the symbol have a return; R² is 1 − SSR / SST about the mean; the
market beta is that of the market factor alone, over the same days. What cannot be fitted has no betas and a flag that
says why. Pure functions on arrays: a row a day, a column a symbol or factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from position_server.analytics.returns import Bools, DailyReturns, Floats

LEAST_OBSERVATIONS = 60
TOO_LITTLE_HISTORY = "too_little_history"  # under 60 observations: no betas
GAPS = "gaps"  # days since the symbol's first without a return, its own or a factor's: left out
CONSTANT_PRICE = "constant_price"  # returns that never vary explain nothing: no betas
JUMP = "jump"  # a return as of a split: left out
DEPENDENT_FACTORS = "dependent_factors"  # a factor is a combination of others on these days: no betas
FLAGS = (TOO_LITTLE_HISTORY, GAPS, CONSTANT_PRICE, JUMP, DEPENDENT_FACTORS)


@dataclass(frozen=True, slots=True, eq=False)
class FactorFits:
    """The fits of all symbols: betas (symbols, factors), the others (symbols,); NaN where nothing was fitted."""

    betas: Floats
    r_squared: Floats
    market_beta: Floats
    observations: npt.NDArray[np.int64]
    flags: Mapping[str, Bools]


def fit_factors(symbols: DailyReturns, factors: Floats, market: int) -> FactorFits:
    """The fits of returns (days, n) on factors (days, k); `market` is the market factor's column.

    Symbols with the same days are solved for together, in one call of LAPACK: as a rule all of them.
    """
    count, width = symbols.values.shape[1], factors.shape[1]
    explained: Bools = np.asarray(~np.isnan(factors).any(axis=1))
    since = int(np.argmax(explained)) if explained.any() else len(explained)  # before it, some factor is too young
    values, jumped, factors = symbols.values[since:], symbols.jumped[since:], factors[since:]
    there = ~np.isnan(values) & explained[since:, np.newaxis]
    fits = FactorFits(
        betas=np.full((count, width), np.nan),
        r_squared=np.full(count, np.nan),
        market_beta=np.full(count, np.nan),
        observations=there.sum(axis=0),
        flags={
            TOO_LITTLE_HISTORY: there.sum(axis=0) < LEAST_OBSERVATIONS,
            GAPS: _gaps(there, jumped),
            CONSTANT_PRICE: _constant(values, there),
            JUMP: np.asarray(jumped.any(axis=0)),
            DEPENDENT_FACTORS: np.zeros(count, np.bool_),
        },
    )
    fitted = np.flatnonzero(~(fits.flags[TOO_LITTLE_HISTORY] | fits.flags[CONSTANT_PRICE]))
    for columns in _with_the_same_days(there, fitted):
        days = there[:, columns[0]]
        _solve(fits, columns, values[np.ix_(days, columns)], factors[days], market)
    return fits


def _gaps(there: Bools, jumped: Bools) -> Bools:
    """Which symbols lack a day since their first one, not counting jumps."""
    began = np.logical_or.accumulate(there, axis=0)
    return np.asarray((began & ~there & ~jumped).any(axis=0))


def _constant(values: Floats, there: Bools) -> Bools:
    """Which symbols have returns that are all the same."""
    highest = np.where(there, values, -np.inf).max(axis=0, initial=-np.inf)
    lowest = np.where(there, values, np.inf).min(axis=0, initial=np.inf)
    return np.asarray((highest == lowest) & there.any(axis=0))


def _with_the_same_days(there: Bools, fitted: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """The columns `fitted`, grouped by their rows that are there."""
    if len(fitted) == 0:
        return []
    _, groups = np.unique(there[:, fitted], axis=1, return_inverse=True)
    return [fitted[groups.ravel() == group] for group in range(groups.max() + 1)]


def _solve(fits: FactorFits, columns: npt.NDArray[np.intp], returns: Floats, factors: Floats, market: int) -> None:
    """Fits the symbols of `columns`, whose returns (days, n) have no gap, and puts them in their places."""
    design = np.column_stack([np.ones(len(factors)), factors])
    solution, _, rank, _ = np.linalg.lstsq(design, returns)
    if rank < design.shape[1]:
        fits.flags[DEPENDENT_FACTORS][columns] = True
        return
    residuals = returns - design @ solution
    centred = returns - returns.mean(axis=0)
    fits.betas[columns] = solution[1:].T
    fits.r_squared[columns] = 1 - (residuals**2).sum(axis=0) / (centred**2).sum(axis=0)
    of_market = factors[:, market] - factors[:, market].mean()
    fits.market_beta[columns] = of_market @ centred / (of_market @ of_market)
