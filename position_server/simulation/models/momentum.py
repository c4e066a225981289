"""Momentum: the symbols that rose most, in equal amounts, chosen anew on the first day of each period.

What rose is measured from close to close, splits taken out, up to the day before. Jegadeesh and Titman, Returns to
Buying Winners and Selling Losers, Journal of Finance 48 (1993), without selling the losers. In cash until there is
enough history.
"""

from __future__ import annotations

import numpy as np

from position_server.simulation.models.base import Frequency, Model, ModelParams, is_due, param, trade_towards
from position_server.simulation.tools import Toolbox


class MomentumParams(ModelParams):
    lookback_days: int = param("Days over which the rise is measured.", 21, ge=2, le=250)
    hold: int = param("How many symbols to hold.", 10, ge=1, le=1000)
    rebalance: Frequency = param("How often to choose anew: daily, weekly or monthly.", "weekly")


def decide(tools: Toolbox, params: MomentumParams) -> None:
    """Trades towards the winners when they are due."""
    if not is_due(tools, params.rebalance):
        return
    symbols = tools.get_symbols()
    closes = tools.market.closes(symbols, params.lookback_days + 1)
    if len(closes) <= params.lookback_days:
        tools.note(f"{len(closes)} of {params.lookback_days + 1} days of history are there")
        return
    rise = closes[-1] / closes[0] - 1
    ranked = sorted((-float(rise[n]), symbol) for n, symbol in enumerate(symbols) if np.isfinite(rise[n]))
    winners = [symbol for _, symbol in ranked[: params.hold]]
    trade_towards(tools, dict.fromkeys(winners, 1 / max(1, len(winners))))


MODEL = Model(decide, MomentumParams)
