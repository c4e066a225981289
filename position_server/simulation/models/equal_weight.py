"""Equal weight: the whole universe in equal amounts, brought back to them on the first day of each period."""

from __future__ import annotations

from position_server.simulation.models.base import Frequency, Model, ModelParams, is_due, param, trade_towards
from position_server.simulation.tools import Toolbox


class EqualWeightParams(ModelParams):
    rebalance: Frequency = param("How often: daily, weekly or monthly.", "monthly")


def decide(tools: Toolbox, params: EqualWeightParams) -> None:
    """Trades towards equal weights when they are due."""
    if not is_due(tools, params.rebalance):
        return
    symbols = tools.get_symbols()
    trade_towards(tools, dict.fromkeys(symbols, 1 / max(1, len(symbols))))


MODEL = Model(decide, EqualWeightParams)
