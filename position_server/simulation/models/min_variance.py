"""Minimum variance: long-only weights of least variance, found anew on the first day of each period.

From daily returns up to the day before, splits taken out, with a shrunk covariance. Symbols without a whole history are
left out; in cash until there is enough of it.
"""

from __future__ import annotations

import numpy as np

from position_server.analytics.minimum_variance import long_only_weights, shrunk_covariance
from position_server.simulation.models.base import Frequency, Model, ModelParams, is_due, param, trade_towards
from position_server.simulation.tools import Toolbox


class MinVarianceParams(ModelParams):
    window_days: int = param("Days of returns that the covariance is estimated from, at most.", 60, ge=2, le=250)
    least_days: int = param("With fewer days of returns than this, nothing is traded.", 20, ge=2, le=250)
    rebalance: Frequency = param("How often: daily, weekly or monthly.", "monthly")


def decide(tools: Toolbox, params: MinVarianceParams) -> None:
    """Trades towards the weights of least variance when they are due."""
    if not is_due(tools, params.rebalance):
        return
    symbols = tools.get_symbols()
    closes = tools.market.closes(symbols, params.window_days + 1)
    if len(closes) <= min(params.least_days, params.window_days):
        tools.note(f"{len(closes)} days of history are there; {params.least_days + 1} are needed")
        return
    whole = np.flatnonzero(np.isfinite(closes).all(axis=0))
    if not len(whole):
        tools.note("no symbol has a whole history")
        return
    known = [symbols[column] for column in whole]
    returns = closes[1:, whole] / closes[:-1, whole] - 1
    weights = long_only_weights(shrunk_covariance(returns))
    trade_towards(tools, {symbol: float(weight) for symbol, weight in zip(known, weights, strict=True) if weight > 0})


MODEL = Model(decide, MinVarianceParams)
