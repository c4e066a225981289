"""Rows into a table, all at once: staged in a temporary table, compared with what is there, then written.

Runs in the caller's transaction. A row that is already there as it is, is not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Date,
    MetaData,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite

from position_server.store.load.kinds import Kind
from position_server.store.load.validation import Batch, Cells
from position_server.store.tables import UtcTimestamp


@dataclass(frozen=True, slots=True)
class Changes:
    """How many rows of the table were added, changed and removed."""

    inserted: int
    updated: int
    removed: int


def upsert(connection: Connection, kind: Kind, batch: Batch) -> Changes:
    """Write the rows of `batch`: new ones in, differing ones changed, and removed what a whole statement leaves out."""
    staging = _staged(connection, kind, batch)
    pairs = staging.join(kind.table, _same_key(kind, staging))
    counts = select(func.count(), func.count().filter(_is_news(kind, staging))).select_from(pairs)
    there, differing = connection.execute(counts).one()
    staged = connection.execute(select(func.count()).select_from(staging)).scalar_one()
    removed = _remove_left_out(connection, kind, staging)
    connection.execute(_merge(connection, kind, staging))
    staging.drop(connection)
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"ANALYZE {kind.table.name}"))  # bulk reads follow: plans need to know the sizes now
    return Changes(inserted=staged - there, updated=differing, removed=removed)


def _same_key(kind: Kind, staging: Table) -> ColumnElement[bool]:
    return and_(*(kind.table.c[name] == staging.c[name] for name in kind.key))


def _is_news(kind: Kind, staging: Any) -> ColumnElement[bool]:
    """The condition that a staged row differs from the one in the table, and is not older than that."""
    values = [column.name for column in kind.table.c if column.name not in kind.key]
    differs = or_(*(kind.table.c[name].is_distinct_from(staging.c[name]) for name in values))
    if kind.newest_by is None:
        return differs
    return and_(differs, staging.c[kind.newest_by] >= kind.table.c[kind.newest_by])


def _remove_left_out(connection: Connection, kind: Kind, staging: Table) -> int:
    """Remove the rows that belong to what the file states as a whole, but are not in it; returns how many."""
    if not kind.states_whole:
        return 0
    stated = select(*(staging.c[name] for name in kind.states_whole)).distinct()
    left_out = delete(kind.table).where(
        tuple_(*(kind.table.c[name] for name in kind.states_whole)).in_(stated),
        ~exists(select(1).select_from(staging).where(_same_key(kind, staging))),
    )
    return connection.execute(left_out).rowcount


def _merge(connection: Connection, kind: Kind, staging: Table) -> Any:
    """The statement that inserts what is new and changes what differs."""
    insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    names = [column.name for column in kind.table.c]
    # WHERE TRUE: without one SQLite takes the ON of ON CONFLICT for that of a join.
    staged = select(*(staging.c[name] for name in names)).where(true()).order_by(*(staging.c[key] for key in kind.key))
    statement = insert(kind.table).from_select(names, staged)
    values = {name: statement.excluded[name] for name in names if name not in kind.key}
    return statement.on_conflict_do_update(
        index_elements=list(kind.key), set_=values, where=_is_news(kind, _Excluded(statement.excluded))
    )


@dataclass(frozen=True, slots=True)
class _Excluded:
    """The row that was about to be inserted, with its columns where a table has them."""

    c: Any


def _staged(connection: Connection, kind: Kind, batch: Batch) -> Table:
    """A temporary table with the rows of `batch`, of each key one; with an index only where it is looked up in."""
    has_key = bool(kind.states_whole)
    columns = [Column(column.name, column.type, primary_key=has_key and column.primary_key) for column in kind.table.c]
    staging = Table(
        f"staged_{kind.table.name}", MetaData(), *columns, prefixes=["TEMPORARY"], sqlite_with_rowid=not has_key
    )
    staging.create(connection)
    rows = _newest(kind, batch) if kind.newest_by else None
    chosen = {column.name: _picked(batch.columns[column.name], rows) for column in staging.c}
    if connection.dialect.name == "postgresql":
        _copy(connection, staging, zip(*chosen.values(), strict=True))
    else:
        encoded = (_as_sqlite(column, chosen[column.name]) for column in staging.c)
        _insert_many(connection, staging, zip(*encoded, strict=True))
    return staging


def _newest(kind: Kind, batch: Batch) -> list[int]:
    """The rows of a batch that are the newest of their key."""
    times: Any = batch.columns[kind.newest_by or ""]
    keys = list(zip(*(batch.columns[name] for name in kind.key), strict=True))
    newest = {keys[row]: row for row in sorted(range(batch.rows), key=times.__getitem__)}
    return sorted(newest.values())


def _picked(values: Cells, rows: list[int] | None) -> Cells:
    return values if rows is None else [values[row] for row in rows]


def _insert_many(connection: Connection, staging: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Past SQLAlchemy, which would turn every row into a dictionary and back."""
    marks = ", ".join("?" * len(staging.c))
    cursor = connection.connection.cursor()
    try:
        cursor.executemany(f"INSERT INTO {staging.name} VALUES ({marks})", list(rows))  # noqa: S608
    finally:
        cursor.close()


def _as_sqlite(column: Column[Any], values: Cells) -> Sequence[Any]:
    """Dates and timestamps in the form that the table's types store them in."""
    if not isinstance(column.type, Date | UtcTimestamp):
        return values
    texts = {value: _text(value) if isinstance(value, date) else None for value in set(values)}
    return [texts[value] for value in values]


def _text(value: date) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value.isoformat()


def _copy(connection: Connection, staging: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """PostgreSQL's COPY: ten times as fast as INSERT."""
    cursor: Any = connection.connection.cursor()
    with cursor, cursor.copy(f"COPY {staging.name} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(text(f"ANALYZE {staging.name}"))
