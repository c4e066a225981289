"""Snapshots of books: what each was worth at a day's close, position by position."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from position_server.store.tables import instruments, portfolio_snapshots, positions, snapshot_positions


@dataclass(frozen=True, slots=True)
class HeldPosition:
    """A position as the store has it; prices and quantities are those of its instrument's kind."""

    book: str
    instrument: str
    kind: str
    investment_class: str
    currency: str
    multiplier: float
    quantity: float
    entry_price: float | None


@dataclass(frozen=True, slots=True)
class SnapshotPosition:
    """A position in a snapshot; unknown is None. Money is in its currency, unless its name ends in `_base`."""

    instrument: str
    kind: str
    investment_class: str
    currency: str
    quantity: float
    entry_price: float | None
    price: float | None
    price_date: date | None
    price_source: str | None
    fx_rate: float | None
    market_value: float | None
    market_value_base: float | None
    cost_base: float | None
    daily_pnl: float | None
    total_pnl: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A book at a day's close, in `currency`. `exposures` is `{exposures, exposures_as_of, note}`."""

    book: str
    snapshot_date: date
    currency: str
    total_value: float | None
    total_cost: float | None
    total_pnl: float | None
    daily_pnl: float | None
    position_count: int
    priced_count: int
    gross_share: float | None
    counts: Mapping[str, Any]
    exposures: Mapping[str, Any]
    exposure_coverage: float | None
    private_allocation_pct: float | None
    options_allocation_pct: float | None
    warnings: Sequence[str]


JSON_FIELDS = ("counts", "exposures", "warnings")


def held_on(connection: Connection, day: date) -> list[HeldPosition]:
    """Every position of that day, by book and instrument."""
    held, described = positions.c, instruments.c
    query = (
        select(
            held.book,
            held.instrument,
            described.kind,
            held.investment_class,
            described.currency,
            described.multiplier,
            held.quantity,
            held.entry_price,
        )
        .join(instruments, described.instrument == held.instrument)
        .where(held.pos_date == day)
        .order_by(held.book, held.instrument)
    )
    return [HeldPosition(*row) for row in connection.execute(query)]


def books_with_positions(connection: Connection, after: date, upto: date) -> set[str]:
    """The books that held something on any day after `after` and up to `upto`."""
    query = select(positions.c.book).where(positions.c.pos_date > after, positions.c.pos_date <= upto).distinct()
    return set(connection.execute(query).scalars())


def write(connection: Connection, day: date, snapshots: Sequence[tuple[Snapshot, Sequence[SnapshotPosition]]]) -> None:
    """Replaces all snapshots of that day."""
    connection.execute(delete(snapshot_positions).where(snapshot_positions.c.snapshot_date == day))
    connection.execute(delete(portfolio_snapshots).where(portfolio_snapshots.c.snapshot_date == day))
    for snapshot, rows in snapshots:
        row = asdict(snapshot)
        for name in JSON_FIELDS:
            row[name] = json.dumps(row[name])
        connection.execute(insert(portfolio_snapshots), row)
        key = {"book": snapshot.book, "snapshot_date": day}
        if rows:
            connection.execute(insert(snapshot_positions), [key | asdict(one) for one in rows])


def listed(connection: Connection, book: str, first: date, last: date) -> list[Snapshot]:
    """The book's snapshots from `first` to `last`, both included, oldest first."""
    c = portfolio_snapshots.c
    query = select(portfolio_snapshots).where(c.book == book, c.snapshot_date >= first, c.snapshot_date <= last)
    return [_snapshot(row) for row in connection.execute(query.order_by(c.snapshot_date))]


def newest(connection: Connection, book: str, upto: date) -> Snapshot | None:
    """The book's last snapshot of `upto` or before."""
    c = portfolio_snapshots.c
    day = select(func.max(c.snapshot_date)).where(c.book == book, c.snapshot_date <= upto).scalar_subquery()
    row = connection.execute(select(portfolio_snapshots).where(c.book == book, c.snapshot_date == day)).one_or_none()
    return None if row is None else _snapshot(row)


def positions_of(connection: Connection, book: str, day: date) -> list[SnapshotPosition]:
    """The positions of a snapshot, by instrument."""
    c = snapshot_positions.c
    query = select(*(c[name] for name in SnapshotPosition.__slots__)).where(c.book == book, c.snapshot_date == day)
    return [SnapshotPosition(*row) for row in connection.execute(query.order_by(c.instrument))]


def multipliers_of(connection: Connection, names: Sequence[str]) -> dict[str, float]:
    """The multipliers of instruments by name."""
    c = instruments.c
    query = select(c.instrument, c.multiplier).where(c.instrument.in_(names))
    return {row[0]: row[1] for row in connection.execute(query)}


def _snapshot(row: Row[Any]) -> Snapshot:
    fields = dict(row._mapping)
    for name in JSON_FIELDS:
        fields[name] = json.loads(fields[name])
    return Snapshot(**fields)
