"""What trades do to a holding: the only way a position of the demo ever changes.

Pure: quantities and average prices in, quantities and average prices out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Holding:
    """A position of one book: signed quantity, and the weighted average price of what is held."""

    quantity: float
    entry_price: float


@dataclass(frozen=True, slots=True)
class Trade:
    """One invented trade. `quantity` is positive; `time` is aware, in UTC."""

    trade_id: str
    on: date
    time: datetime
    book: str
    instrument: str
    side: str
    quantity: float
    price: float

    @property
    def signed_quantity(self) -> float:
        """The change of the position: positive for a BUY."""
        return self.quantity if self.side == "BUY" else -self.quantity


def traded(holding: Holding | None, quantity: float, price: float) -> Holding | None:
    """The holding after a trade of `quantity` (signed) at `price`; None where nothing is left.

    Adding averages the price by quantity, reducing leaves it, and crossing zero starts again at the trade's price.
    """
    if holding is None:
        return Holding(quantity, price)
    total = holding.quantity + quantity
    if total == 0:
        return None
    if holding.quantity * quantity > 0:
        cost = holding.quantity * holding.entry_price + quantity * price
        return Holding(total, round(cost / total, 10))
    return Holding(total, holding.entry_price if total * holding.quantity > 0 else price)


def after(holdings: Mapping[str, Holding], trades: Iterable[Trade]) -> dict[str, Holding]:
    """The holdings of a book after `trades`, applied in their order; instruments sold out are gone."""
    result: dict[str, Holding | None] = dict(holdings)
    for trade in trades:
        result[trade.instrument] = traded(result.get(trade.instrument), trade.signed_quantity, trade.price)
    return {instrument: holding for instrument, holding in result.items() if holding is not None}
