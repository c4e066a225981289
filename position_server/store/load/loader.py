"""`load_file`: the flow from a CSV file to rows in the store.

All or nothing: either every line is in the store afterwards, in one transaction, or none is and each bad one is named.
Loading the same file again changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from position_server.errors import LoadError
from position_server.store.engine import Store, first_line
from position_server.store.load.csv_source import Records, lines_of, read_records
from position_server.store.load.kinds import INSTRUMENTS, KINDS, POSITIONS, Kind
from position_server.store.load.upsert import upsert
from position_server.store.load.validation import validated
from position_server.store.tables import instruments

PRIVATE = "PRIVATE"  # the investment class that is never looked up


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load did. `rows` are those of the file; `removed` those that a whole statement no longer names."""

    kind: str
    rows: int
    inserted: int
    updated: int
    unchanged: int
    removed: int

    @property
    def changed_nothing(self) -> bool:
        """Whether the store is as it was."""
        return not (self.inserted or self.updated or self.removed)

    def __str__(self) -> str:
        if self.changed_nothing:
            return f"{self.kind}: {self.rows} rows, nothing changed"
        removed = f", {self.removed} removed" if self.removed else ""
        return (
            f"{self.kind}: {self.rows} rows: {self.inserted} inserted, {self.updated} updated, "
            f"{self.unchanged} unchanged{removed}"
        )


class Newcomers(Protocol):
    """Who is told of instruments that the store does not know yet, in the transaction of the load."""

    def accepts(self, name: str) -> bool:
        """Whether positions may name this instrument, although the store does not know it."""
        ...

    def add(self, connection: Connection, names: Collection[str]) -> None:
        """Adds the instruments that positions name and that were accepted."""
        ...

    def added(self, connection: Connection, names: Collection[str]) -> None:
        """Hears of instruments that a file has added."""
        ...


def load_file(
    store: Store,
    kind: str,
    source: Path | str | Iterable[str],
    on_date: date | None = None,
    newcomers: Newcomers | None = None,
) -> LoadResult:
    """Load a CSV (a path, or its lines) of one of KINDS into the store.

    `on_date` is the date of rows that have none of their own. A file of positions states the whole of every
    (pos_date, book) it names. An older quote never replaces a newer one of its date (it counts as unchanged). Without
    `newcomers`, positions of an instrument that the store does not know are refused like any other row of one.
    Raises LoadError with every bad line, StoreUnavailable, OSError, and KeyError for an unknown kind.
    """
    declared = KINDS[kind]
    with lines_of(source) as lines:
        records = read_records(lines)
    if records is None:
        raise LoadError([(1, f"the file is empty; its first line names the columns: {_columns(declared)}")])
    known = _known_instruments(store, declared)
    welcome = _welcome(declared, records, known, newcomers)
    batch = validated(declared, records, on_date, known | welcome)
    try:
        with store.write() as connection:
            if newcomers is not None and welcome:
                newcomers.add(connection, sorted(welcome))
            changes = upsert(connection, declared, batch)
            if newcomers is not None and declared is INSTRUMENTS:
                newcomers.added(connection, [str(name) for name in batch.columns["instrument"] if name not in known])
    except IntegrityError as error:  # another writer was faster: an instrument went away after it was looked up
        raise LoadError([(records.header_line, first_line(error.orig))]) from error
    unchanged = batch.rows - changes.inserted - changes.updated
    return LoadResult(kind, batch.rows, changes.inserted, changes.updated, unchanged, changes.removed)


def _known_instruments(store: Store, kind: Kind) -> frozenset[str]:
    if not kind.refers_to_instruments and kind is not INSTRUMENTS:
        return frozenset()
    with store.read() as connection:
        return frozenset(connection.execute(select(instruments.c.instrument)).scalars())


def _welcome(kind: Kind, records: Records, known: frozenset[str], newcomers: Newcomers | None) -> frozenset[str]:
    """The instruments that positions name, that the store does not know, and that are accepted all the same.

    Not those that are named by PRIVATE positions only: nobody may look them up.
    """
    header = list(records.header)
    if newcomers is None or kind is not POSITIONS or not {"instrument", "investment_class"} <= set(header):
        return frozenset()
    name, held_as = header.index("instrument"), header.index("investment_class")
    strangers = {cells[name].strip() for cells in records.cells if cells[held_as].strip() != PRIVATE} - known
    return frozenset(name for name in strangers if newcomers.accepts(name))


def _columns(kind: Kind) -> str:
    return ",".join(field.name for field in kind.fields)
