"""What each kind of file holds: its columns, its table, and what makes a row of it complete.

Declarations only. An empty cell and a missing optional column are null (or the default named here).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import Table

from position_server.store import tables
from position_server.store.load.fields import (
    Field,
    currency,
    day,
    instant,
    not_negative,
    number,
    one_of,
    pair,
    percent,
    positive,
    tenor,
    text,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    `dated_by` is the column that `--date` fills; where `date_from` is named, the UTC date of that timestamp does so
    otherwise. `states_whole` are the columns whose every combination in a file is stated completely by it: rows of the
    table that it does not repeat are removed. `newest_by` keeps, of several rows of one key, the newest.
    """

    table: Table
    fields: tuple[Field, ...]
    dated_by: str | None = None
    date_from: str | None = None
    states_whole: tuple[str, ...] = ()
    newest_by: str | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row."""
        return tuple(column.name for column in self.table.primary_key)

    @property
    def refers_to_instruments(self) -> bool:
        """Whether its rows name instruments that must be known."""
        return bool(self.table.foreign_keys)


# What an instrument of a kind cannot be understood without, by the names of the file.
NEEDED_BY_INSTRUMENT_KIND: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "BOND": ("coupon_pct", "maturity"),
        "OPTION": ("underlying", "expiry", "right", "strike"),
        "SPOT": ("base_currency",),
    }
)

INSTRUMENTS = Kind(
    tables.instruments,
    (
        Field("instrument", text, required=True),
        Field("kind", one_of(*tables.KINDS), required=True),
        Field("name", text),
        Field("currency", currency, required=True),
        Field("exchange", text),
        Field("multiplier", positive, default=1.0),
        Field("tick_size", positive),
        Field("root", text),
        Field("expiry", day),
        Field("isin", text),
        Field("coupon_pct", percent, "coupon"),
        Field("maturity", day),
        Field("issue_date", day),
        Field("underlying", text),
        Field("right", one_of(*tables.OPTION_RIGHTS), "option_right"),
        Field("strike", number),
        Field("base_currency", currency),
    ),
)

POSITIONS = Kind(
    tables.positions,
    (
        Field("pos_date", day, required=True),
        Field("book", text, required=True),
        Field("instrument", text, required=True),
        Field("quantity", number, required=True),
        Field("entry_price", number),
        Field("investment_class", one_of(*tables.INVESTMENT_CLASSES), required=True),
    ),
    dated_by="pos_date",
    states_whole=("pos_date", "book"),
)

TRADES = Kind(
    tables.trades,
    (
        Field("trade_id", text, required=True),
        Field("trade_date", day, required=True),
        Field("trade_time", instant, required=True),
        Field("book", text, required=True),
        Field("instrument", text, required=True),
        Field("side", one_of(*tables.SIDES), required=True),
        Field("quantity", positive, required=True),
        Field("price", number, required=True),
    ),
    dated_by="trade_date",
)

CLOSES = Kind(
    tables.closes,
    (
        Field("close_date", day, required=True),
        Field("instrument", text, required=True),
        Field("close", number, required=True),
        Field("open", number),
        Field("high", number),
        Field("low", number),
        Field("volume", not_negative),
        Field("source", one_of(*tables.CLOSE_SOURCES), default="close"),
    ),
    dated_by="close_date",
)

CURVES = Kind(
    tables.curves,
    (
        Field("curve_date", day, required=True),
        Field("curve", text, required=True),
        Field("tenor", tenor, required=True),
        Field("rate_pct", percent, "rate"),
    ),
    dated_by="curve_date",
)

FX = Kind(
    tables.fx,
    (
        Field("fx_date", day, required=True),
        Field("pair", pair, required=True),
        Field("rate", positive, required=True),
    ),
    dated_by="fx_date",
)

QUOTES = Kind(
    tables.quotes,
    (
        Field("quote_time", instant, required=True),
        Field("quote_date", day, required=True),
        Field("instrument", text, required=True),
        Field("bid", number),
        Field("ask", number),
        Field("last_price", number),
        Field("open", number),
        Field("high", number),
        Field("low", number),
        Field("close", number),
        Field("volume", not_negative),
        Field("source", text),
    ),
    dated_by="quote_date",
    date_from="quote_time",
    newest_by="quote_time",
)

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "instruments": INSTRUMENTS,
        "positions": POSITIONS,
        "trades": TRADES,
        "closes": CLOSES,
        "curves": CURVES,
        "fx": FX,
        "quotes": QUOTES,
    }
)
