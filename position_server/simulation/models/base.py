"""What a model is made of, and what several of them do: deciding when to trade, and trading towards weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from position_server.simulation.holdings import MICROS_PER_CENT
from position_server.simulation.tools import Toolbox

Frequency = Literal["daily", "weekly", "monthly"]


class ModelParams(BaseModel):
    """Base of a kind's parameters: the further keys of its entry in the configuration. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def param(description: str, default: Any, **bounds: Any) -> Any:
    """A parameter, its default, and its bounds (`ge`, `le`)."""
    return Field(default, description=description, **bounds)


@dataclass(frozen=True, slots=True)
class Model:
    """A trading model. `decide(tools, params)` trades for one day; it keeps nothing from one day to the next.

    `needs` are modules that `extra`, an extra of this package, brings; without them the model cannot be used.
    """

    decide: Callable[[Toolbox, Any], None]
    params: type[ModelParams] = ModelParams
    needs: tuple[str, ...] = ()
    extra: str = ""


def is_due(tools: Toolbox, frequency: Frequency) -> bool:
    """Whether to trade today: on the first day of a week or month, and as long as nothing is held."""
    today, before = tools.market.day, tools.market.previous_day
    if not tools.account.holdings or before is None or frequency == "daily":
        return True
    if frequency == "weekly":
        return today.isocalendar()[:2] != before.isocalendar()[:2]
    return (today.year, today.month) != (before.year, before.month)


def trade_towards(tools: Toolbox, weights: Mapping[str, float]) -> None:
    """Trades at today's open until each symbol has its share of the value, in whole shares; others are sold.

    Sells first, then buys, in the order of the symbols. A holding that does not open today stays as it is.
    """
    opens, account = tools.market.opens, tools.account
    value = tools.value_cents() * MICROS_PER_CENT
    targets = {symbol: int(weight * value / opens[symbol]) for symbol, weight in weights.items() if symbol in opens}
    tradable = sorted((account.holdings.keys() & opens.keys()) | targets.keys())
    changes = {symbol: targets.get(symbol, 0) - account.quantity(symbol) for symbol in tradable}
    for symbol, change in changes.items():
        if change < 0:
            tools.sell(symbol, -change)
    for symbol, change in changes.items():
        amount = account.affordable(change, opens[symbol]) if change > 0 else 0
        if amount:
            tools.buy(symbol, amount)
    tools.note(f"towards {len(targets)} symbols: {len(account.trades)} trades, {account.cash_cents / 100:.2f} in cash")
