"""The desk's own data: instruments, positions, trades, quotes, closes, curves and exchange rates."""

from __future__ import annotations

from sqlalchemy import Column, Date, Double, ForeignKey, Index, Table

from position_server.store.tables.base import METADATA, TEXT, UtcTimestamp, instrument_key, one_of, positive

KINDS = ("FUTURE", "BOND", "EQUITY", "OPTION", "SPOT", "PRIVATE")
INVESTMENT_CLASSES = ("PUBLIC", "OPTIONS", "PRIVATE")
OPTION_RIGHTS = ("C", "P")
SIDES = ("BUY", "SELL")
CLOSE_SOURCES = ("close", "model", "manual")

instruments = Table(
    "instruments",
    METADATA,
    Column("instrument", TEXT, primary_key=True),
    Column("kind", TEXT, nullable=False),
    Column("name", TEXT),
    Column("currency", TEXT, nullable=False),
    Column("exchange", TEXT),
    Column("multiplier", Double, nullable=False, default=1.0, server_default="1"),
    Column("tick_size", Double),
    Column("root", TEXT),
    Column("expiry", Date),
    Column("isin", TEXT),
    Column("coupon", Double),  # a decimal: 0.0425
    Column("maturity", Date),
    Column("issue_date", Date),
    Column("underlying", TEXT),
    Column("option_right", TEXT),
    Column("strike", Double),
    Column("base_currency", TEXT),
    one_of("kind", KINDS),
    one_of("option_right", OPTION_RIGHTS),
    positive("multiplier"),
    Index(None, "kind"),
)

positions = Table(
    "positions",
    METADATA,
    Column("pos_date", Date, primary_key=True),
    Column("book", TEXT, primary_key=True),
    instrument_key(),
    Column("quantity", Double, nullable=False),
    Column("entry_price", Double),
    Column("investment_class", TEXT, nullable=False),
    one_of("investment_class", INVESTMENT_CLASSES),
    sqlite_with_rowid=False,
)

trades = Table(
    "trades",
    METADATA,
    Column("trade_id", TEXT, primary_key=True),
    Column("book", TEXT, nullable=False),
    Column("instrument", TEXT, ForeignKey("instruments.instrument"), nullable=False),
    Column("trade_date", Date, nullable=False),
    Column("trade_time", UtcTimestamp, nullable=False),
    Column("side", TEXT, nullable=False),
    Column("quantity", Double, nullable=False),
    Column("price", Double, nullable=False),
    one_of("side", SIDES),
    positive("quantity"),
    Index(None, "trade_date", "book"),
    sqlite_with_rowid=False,
)

quotes = Table(
    "quotes",
    METADATA,
    instrument_key(),
    Column("quote_date", Date, primary_key=True),
    Column("quote_time", UtcTimestamp, nullable=False),
    Column("bid", Double),
    Column("ask", Double),
    Column("last_price", Double),
    Column("open", Double),
    Column("high", Double),
    Column("low", Double),
    Column("close", Double),
    Column("volume", Double),
    Column("source", TEXT),
    Index(None, "quote_date"),
    sqlite_with_rowid=False,
)

closes = Table(
    "closes",
    METADATA,
    instrument_key(),
    Column("close_date", Date, primary_key=True),
    Column("close", Double, nullable=False),
    Column("open", Double),
    Column("high", Double),
    Column("low", Double),
    Column("volume", Double),
    Column("source", TEXT, nullable=False, default="close", server_default="close"),
    one_of("source", CLOSE_SOURCES),
    Index(None, "close_date"),
    sqlite_with_rowid=False,
)

curves = Table(
    "curves",
    METADATA,
    Column("curve", TEXT, primary_key=True),
    Column("curve_date", Date, primary_key=True),
    Column("tenor", TEXT, primary_key=True),
    Column("rate", Double),  # a decimal; null where the day has no rate of this tenor
    sqlite_with_rowid=False,
)

fx = Table(
    "fx",
    METADATA,
    Column("pair", TEXT, primary_key=True),
    Column("fx_date", Date, primary_key=True),
    Column("rate", Double, nullable=False),
    positive("rate"),
    sqlite_with_rowid=False,
)
