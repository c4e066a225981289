"""Buy and hold: on the first day equal amounts of everything, then never a trade."""

from __future__ import annotations

from position_server.simulation.models.base import Model, ModelParams, param, trade_towards
from position_server.simulation.tools import Toolbox


class BuyAndHoldParams(ModelParams):
    symbols: tuple[str, ...] | None = param("What to buy; default: the whole universe.", None, min_length=1)


def decide(tools: Toolbox, params: BuyAndHoldParams) -> None:
    """Buys as long as nothing is held."""
    if tools.account.holdings:
        return
    symbols = tools.get_symbols()
    wanted = symbols if params.symbols is None else [symbol for symbol in params.symbols if symbol in symbols]
    trade_towards(tools, dict.fromkeys(wanted, 1 / max(1, len(wanted))))


MODEL = Model(decide, BuyAndHoldParams)
