"""The daily bars of equities in the store, and from when to when there are any."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from position_server.store.tables import closes, instruments

EQUITY = "EQUITY"
Row = tuple[date, str, float | None, float | None, float | None, float | None, float | None]


def bars(connection: Connection, first: date, last: date, currency: str) -> Iterator[Row]:
    """(day, symbol, open, high, low, close, volume) of all equities in `currency`, ordered by day, then symbol."""
    columns = (closes.c.open, closes.c.high, closes.c.low, closes.c.close, closes.c.volume)
    query = (
        select(closes.c.close_date, closes.c.instrument, *columns)
        .join(instruments, instruments.c.instrument == closes.c.instrument)
        .where(_is_traded(currency), closes.c.close_date >= first, closes.c.close_date <= last)
        .order_by(closes.c.close_date, closes.c.instrument)
    )
    for row in connection.execute(query):
        yield row[0], row[1], row[2], row[3], row[4], row[5], row[6]


def priced_days(connection: Connection, currency: str, universe: Collection[str] | None) -> tuple[date, date] | None:
    """The first and the last day on which some symbol of the universe opens; None where none ever does."""
    first, last = (_extreme(function, currency, universe) for function in (func.min, func.max))
    found = connection.execute(select(first.scalar_subquery(), last.scalar_subquery())).one()
    return None if found[0] is None else (found[0], found[1])


def _extreme(function: Callable[..., Any], currency: str, universe: Collection[str] | None) -> Select[tuple[date]]:
    """The least or greatest day, symbol by symbol: each is one step in the index, however long its history."""
    of_one = (
        select(function(closes.c.close_date))
        .where(closes.c.instrument == instruments.c.instrument, closes.c.open.is_not(None))
        .correlate(instruments)
        .scalar_subquery()
    )
    names = select(of_one.label("day")).where(_is_traded(currency))
    if universe is not None:
        names = names.where(instruments.c.instrument.in_(list(universe)))
    days = names.subquery()
    return select(function(days.c.day))


def _is_traded(currency: str) -> ColumnElement[bool]:
    return (instruments.c.kind == EQUITY) & (instruments.c.currency == currency)
