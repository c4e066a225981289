"""Positions, trades and instruments as columns.

Instruments come with all their columns; a missing value is NaN, NaT or None. Rows are ordered, the same on SQLite and
PostgreSQL (by code point).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from sqlalchemy import ColumnElement, Select, select

from position_server.store import tables
from position_server.store.arrow import Columns
from position_server.store.columns import ColumnReader, in_values

Kinds = str | tuple[str, ...]  # one kind of instrument, or several


def positions(reader: ColumnReader, pos_date: date, books: Iterable[str], kind: Kinds | None = None) -> Columns:
    """The positions of `books` at the close of `pos_date`, with every column of their instruments.

    Columns: those of `positions` and `instruments` (`tables.py`). Ordered by book, then instrument. `kind` keeps the
    instruments of one kind, or of several.
    """
    held, described = tables.positions, tables.instruments
    query = (
        select(*held.c, *(column for column in described.c if column.name != "instrument"))
        .join(described, described.c.instrument == held.c.instrument)
        .where(held.c.pos_date == pos_date, in_values(held.c.book, books))
        .order_by(held.c.book, held.c.instrument)
    )
    return reader.read(query if kind is None else query.where(_is_kind(kind)))


def trades(reader: ColumnReader, after: date, upto: date, books: Iterable[str]) -> Columns:
    """The trades of `books` with after < trade_date <= upto, with kind, currency and multiplier of their instruments.

    Ordered by book, instrument, trade_time, then trade_id.
    """
    done, described = tables.trades, tables.instruments
    query = (
        select(*done.c, described.c.kind, described.c.currency, described.c.multiplier)
        .join(described, described.c.instrument == done.c.instrument)
        .where(done.c.trade_date > after, done.c.trade_date <= upto, in_values(done.c.book, books))
        .order_by(done.c.book, done.c.instrument, done.c.trade_time, done.c.trade_id)
    )
    return reader.read(query)


def instruments(reader: ColumnReader, kind: str | None = None) -> Columns:
    """All instruments (of one `kind`), ordered by name."""
    query = select(tables.instruments).order_by(tables.instruments.c.instrument)
    return reader.read(query if kind is None else query.where(tables.instruments.c.kind == kind))


def instruments_of(kind: Kinds | None, pos_date: date | None, books: Iterable[str] | None) -> Select[tuple[str]]:
    """The query for the names of the instruments of `kind` that `books` hold at `pos_date`; None does not narrow."""
    described, held = tables.instruments, tables.positions
    if pos_date is None and books is None:
        query = select(described.c.instrument)
    else:
        query = select(held.c.instrument).distinct()
        if kind is not None:
            query = query.join(described, described.c.instrument == held.c.instrument)
    if pos_date is not None:
        query = query.where(held.c.pos_date == pos_date)
    if books is not None:
        query = query.where(in_values(held.c.book, books))
    return query if kind is None else query.where(_is_kind(kind))


def _is_kind(kind: Kinds) -> ColumnElement[bool]:
    """The condition that an instrument is of the kind, or of one of the kinds."""
    of_kind = tables.instruments.c.kind
    return of_kind == kind if isinstance(kind, str) else of_kind.in_(kind)
