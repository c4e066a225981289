"""Rows for the tests of the store, with defaults for what a test does not care about."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Table, insert

from position_server.business_days import Calendar
from position_server.store import tables
from position_server.store.engine import Store
from position_server.store.snapshot.market_time import MarketTime, TimeOfDay

ENV_DATE = date(2025, 10, 30)  # a Thursday
WEDNESDAY, TUESDAY, MONDAY = date(2025, 10, 29), date(2025, 10, 28), date(2025, 10, 27)
FRIDAY, SATURDAY = date(2025, 10, 31), date(2025, 11, 1)
Row = dict[str, Any]


def market(time_of_day: TimeOfDay, env_date: date = ENV_DATE, business_date: date = ENV_DATE) -> MarketTime:
    return MarketTime(env_date, time_of_day, business_date, Calendar.named("XNYS"))


def instrument(name: str, kind: str = "EQUITY", **values: Any) -> Row:
    return {"instrument": name, "kind": kind, "currency": "USD"} | values


def position(book: str, name: str, pos_date: date = ENV_DATE, **values: Any) -> Row:
    defaults = {"quantity": 100.0, "entry_price": 10.0, "investment_class": "PUBLIC"}
    return {"pos_date": pos_date, "book": book, "instrument": name} | defaults | values


def trade(trade_id: str, book: str, name: str, trade_date: date = ENV_DATE, **values: Any) -> Row:
    moment = datetime(trade_date.year, trade_date.month, trade_date.day, 15, 30, tzinfo=UTC)
    defaults = {"trade_time": moment, "side": "BUY", "quantity": 1.0, "price": 1.0}
    return {"trade_id": trade_id, "book": book, "instrument": name, "trade_date": trade_date} | defaults | values


def close(name: str, close_date: date, price: float, source: str = "close") -> Row:
    return {"instrument": name, "close_date": close_date, "close": price, "source": source}


def quote(name: str, quote_date: date, **values: Any) -> Row:
    moment = datetime(quote_date.year, quote_date.month, quote_date.day, 15, 30, tzinfo=UTC)
    defaults = {"bid": None, "ask": None, "last_price": None}
    return {"instrument": name, "quote_date": quote_date, "quote_time": moment} | defaults | values


def put(store: Store, table: Table | str, *rows: Row) -> None:
    """Insert the rows, each by itself: they may name different columns."""
    target = tables.METADATA.tables[table] if isinstance(table, str) else table
    with store.write() as connection:
        for row in rows:
            connection.execute(insert(target), row)
