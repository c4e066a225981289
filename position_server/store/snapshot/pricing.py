"""Which price each instrument has at a MarketTime, from when, and where it comes from.

The rule, for the date D that the time_of_day asks for (the previous business day at SOD, else env_date):

* The close of D itself, with its own source: `close`, `model` or `manual`. Without one the last close before D:
  `carried`, with its date, whatever its source was (`close_source` keeps that).
* LIVE on a past date prefers the last quote of env_date: `live`.
* LIVE on the business date prefers the newest quote known. One of the business date, or of a day after it (a weekend,
  or a clock that runs on while the business date is pinned), is `live`, and its price_date is the business date. An
  older quote does not beat a close of its own day or a later one; where it is the newest thing known, it is `carried`.

A quote's price is last_price, else the middle of bid and ask; a quote with neither does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from itertools import repeat

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Select, and_, func, or_, select, true

from position_server.store.arrow import Array, Columns
from position_server.store.columns import ColumnReader, in_values
from position_server.store.snapshot.holdings import Kinds, instruments_of
from position_server.store.snapshot.market_time import MarketTime
from position_server.store.tables import closes, instruments, quotes

Names = Select[tuple[str]]  # a query for names of instruments


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Aligned arrays, one row per instrument; a row without a price is NaN, NaT and None throughout.

    bid, ask and quote_time are those of the quote the price was taken from, unknown for a close.
    """

    instrument: npt.NDArray[np.object_]
    price: npt.NDArray[np.float64]
    price_date: npt.NDArray[np.datetime64]  # days
    price_source: npt.NDArray[np.object_]  # live | close | carried | model | manual, or None
    close_source: npt.NDArray[np.object_]  # close | model | manual of the close a price was taken from, or None
    bid: npt.NDArray[np.float64]
    ask: npt.NDArray[np.float64]
    quote_time: npt.NDArray[np.datetime64]  # microseconds, UTC

    def at(self, instruments: Iterable[str | None]) -> Prices:
        """The prices of these instruments, in this order; repeated and unknown ones too."""
        names = instruments if isinstance(instruments, np.ndarray) else np.array(list(instruments), dtype=object)
        rows = _rows_of(self.instrument, names)
        return Prices(names, *(_take(getattr(self, field.name), rows) for field in fields(self)[1:]))


def prices(
    reader: ColumnReader,
    market_time: MarketTime,
    kind: Kinds | None = None,
    pos_date: date | None = None,
    books: Iterable[str] | None = None,
) -> Prices:
    """The prices at `market_time` of the instruments of `kind` held by `books` at `pos_date`; None does not narrow.

    One row per such instrument, priced or not, ordered by name. Raises StoreUnavailable.
    """
    held = instruments_of(kind, pos_date, books)
    from_closes = closing_prices(reader, held, market_time.close_date)
    if not market_time.takes_quotes:
        return from_closes
    return with_quotes(from_closes, last_quotes(reader, held, market_time), market_time)


def named(names: Iterable[str]) -> Names:
    """The query for these instruments, where the store knows them; repeated ones are one."""
    return select(instruments.c.instrument).where(in_values(instruments.c.instrument, dict.fromkeys(names)))


def closing_prices(reader: ColumnReader, names: Names, asked: date) -> Prices:
    """The close of each named instrument of the day `asked`, else the last before it; ordered by name.

    Reads closes, and what `names` reads. Raises StoreUnavailable.
    """
    held = names.subquery("held")
    newest = func.max(closes.c.close_date)
    last_date = (
        select(newest).where(closes.c.instrument == held.c.instrument, closes.c.close_date <= asked).scalar_subquery()
    )
    wanted = select(held.c.instrument, last_date.label("close_date")).subquery("wanted")
    found = reader.read(
        select(wanted.c.instrument, closes.c.close, closes.c.close_date, closes.c.source)
        .select_from(wanted)
        .outerjoin(closes, and_(closes.c.instrument == wanted.c.instrument, closes.c.close_date == wanted.c.close_date))
        .order_by(wanted.c.instrument)
    )
    is_carried = found["close_date"] < np.datetime64(asked)  # NaT is not less
    unknown = np.full(len(is_carried), np.nan)
    return Prices(
        instrument=found["instrument"],
        price=found["close"],
        price_date=found["close_date"],
        price_source=np.where(is_carried, "carried", found["source"]),
        close_source=found["source"],
        bid=unknown,
        ask=unknown.copy(),
        quote_time=np.full(len(is_carried), np.datetime64("NaT"), "datetime64[us]"),
    )


def last_quotes(reader: ColumnReader, names: Names, market_time: MarketTime) -> Columns:
    """The newest priced quote of each named instrument: of env_date itself, or of any day where env_date is now.

    Reads quotes, and what `names` reads. Raises StoreUnavailable.
    """
    held = names.subquery("held")
    of_day = true() if market_time.is_now else quotes.c.quote_date == market_time.env_date
    last_date = (
        select(func.max(quotes.c.quote_date))
        .where(quotes.c.instrument == held.c.instrument, of_day, is_priced())
        .scalar_subquery()
    )
    wanted = select(held.c.instrument, last_date.label("quote_date")).subquery("wanted")
    same = and_(quotes.c.instrument == wanted.c.instrument, quotes.c.quote_date == wanted.c.quote_date)
    return reader.read(
        select(wanted.c.instrument, *quote_columns()).select_from(wanted).join(quotes, same),
    )


def is_priced() -> ColumnElement[bool]:
    """The condition that a quote has a price."""
    return or_(quotes.c.last_price.is_not(None), and_(quotes.c.bid.is_not(None), quotes.c.ask.is_not(None)))


def quote_columns() -> list[ColumnElement[object]]:
    """The columns of a quote that its price is made of."""
    return [quotes.c.quote_date, quotes.c.quote_time, quotes.c.bid, quotes.c.ask, quotes.c.last_price]


def quote_prices(found: Columns) -> npt.NDArray[np.float64]:
    """last_price, else the middle of bid and ask."""
    last: npt.NDArray[np.float64] = found["last_price"]
    return np.where(np.isnan(last), (found["bid"] + found["ask"]) / 2, last)


def with_quotes(known: Prices, found: Columns, market_time: MarketTime) -> Prices:
    """`known` closes, replaced by the `found` last quotes where the rule above prefers those; row by row as `known`."""
    rows = _rows_of(found["instrument"], known.instrument)
    quote_date = _take(found["quote_date"], rows)
    env_date = np.datetime64(market_time.env_date)
    is_live = quote_date >= env_date  # NaT (no quote) is neither live nor newer
    wins = is_live | (quote_date > known.price_date) | (~np.isnat(quote_date) & np.isnat(known.price_date))
    close_source = known.close_source.copy()
    close_source[wins] = None
    return Prices(
        instrument=known.instrument,
        price=np.where(wins, _take(quote_prices(found), rows), known.price),
        price_date=np.where(is_live, env_date, np.where(wins, quote_date, known.price_date)),
        price_source=np.where(is_live, "live", np.where(wins, "carried", known.price_source)),
        close_source=close_source,
        bid=np.where(wins, _take(found["bid"], rows), np.nan),
        ask=np.where(wins, _take(found["ask"], rows), np.nan),
        quote_time=np.where(wins, _take(found["quote_time"], rows), np.datetime64("NaT", "us")),
    )


def _rows_of(names: Array, wanted: Array) -> npt.NDArray[np.intp]:
    """Where each wanted name is in `names`; -1 for one that is not there."""
    row_by_name = dict(zip(names.tolist(), range(len(names)), strict=True))
    return np.fromiter(map(row_by_name.get, wanted.tolist(), repeat(-1)), np.intp, len(wanted))


def _take(column: Array, rows: npt.NDArray[np.intp]) -> Array:
    """The values at `rows`, unknown (NaN, NaT, None) at -1."""
    fill = {"f": np.nan, "M": np.datetime64("NaT"), "O": None}[column.dtype.kind]
    if len(column) == 0:
        return np.full(len(rows), fill, column.dtype)
    taken = column[rows]
    taken[rows < 0] = fill
    return taken
