"""What a book traded between two days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, select

from position_server.store.tables import trades


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade: `quantity` is negative for a sale."""

    trade_id: str
    instrument: str
    quantity: float
    price: float


def between(connection: Connection, book: str, after: date, upto: date) -> list[Trade]:
    """The book's trades of after `after` and up to `upto`, in their order."""
    c = trades.c
    query = (
        select(c.trade_id, c.instrument, c.side, c.quantity, c.price)
        .where(c.book == book, c.trade_date > after, c.trade_date <= upto)
        .order_by(c.trade_date, c.trade_time, c.trade_id)
    )
    return [
        Trade(trade_id, name, -quantity if side == "SELL" else quantity, price)
        for trade_id, name, side, quantity, price in connection.execute(query)
    ]
