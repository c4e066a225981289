"""Bulk reads: a SQLAlchemy select in, numpy columns out, through ADBC.

For worker processes: one reader belongs to one thread, keeps its connection, and reconnects once when it broke. It
never writes, never creates a SQLite file, and never puts a value into the text of a query.

A process that reads a SQLite file here should not have it open through `engine` as well: the two bring a SQLite each,
and locks on a file hold between processes, not between two libraries in one. (Tests that do both do so in turn.)

Why not SQLAlchemy: `sqlite3` gives up the GIL once per row; ADBC reads 100,000 rows of 4 columns in 50 ms.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import adbc_driver_manager as adbc
import adbc_driver_postgresql
import adbc_driver_sqlite
import nanoarrow
import numpy as np
from nanoarrow._utils import NanoarrowException
from sqlalchemy import Boolean, ColumnElement, Date, DateTime, Dialect, Float, Numeric, Select, String, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Integer, NullType, TypeEngine

from position_server.errors import StoreUnavailable
from position_server.store.arrow import ColumnKind, Columns, Parameter, column, empty_column, parameter_row
from position_server.store.engine import BUSY_TIMEOUT_SECONDS, first_line
from position_server.store.location import Location, PostgresLocation, SqliteLocation, parse_location
from position_server.store.tables import UtcTimestamp

# The SQLite driver takes a column's type from the first batch, and a column may be null for the first thousands of
# rows: a batch large enough for all of them, then. It reserves address space in advance (8 MB a column of this many
# rows), and crashes where there is none left: a worker has a limit.
SQLITE_BATCH_ROWS = 1 << 20

FileIdentity = tuple[int, int] | None

# The origin: a number that SQLite raises when a backup is restored into the file or its schema changes; on PostgreSQL
# the server, whoever stands between, and the table, which is another one when a dump has replaced it.
SQLITE_VERSIONS = """
SELECT table_name, sum(version) AS version, (SELECT CAST(schema_version AS TEXT) FROM pragma_schema_version) AS origin
FROM table_versions GROUP BY table_name
"""
POSTGRESQL_VERSIONS = """
SELECT table_name, CAST(sum(version) AS bigint) AS version,
       concat_ws(' ', pg_postmaster_start_time(), tableoid) AS origin
FROM table_versions GROUP BY table_name, tableoid
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """The version of each table. `origin` is where they were counted: those of another origin say nothing."""

    origin: tuple[int | str, ...]
    by_table: Mapping[str, int]


class _OneOf(GenericFunction[Any]):
    """The condition that the first argument is among the texts of the second, a JSON list.

    Not of the type Boolean: SQLAlchemy would compare it with 1 on SQLite, and no index would serve it then.
    """

    type = NullType()
    inherit_cache = True
    name = "one_of_texts"


@compiles(_OneOf, "sqlite")
def _sqlite_one_of(element: _OneOf, compiler: SQLCompiler, **options: Any) -> str:
    tested, texts = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({tested} IN (SELECT value FROM json_each({texts})))"  # noqa: S608 (compiled clauses, no values)


@compiles(_OneOf, "postgresql")
def _postgresql_one_of(element: _OneOf, compiler: SQLCompiler, **options: Any) -> str:
    # An array, not IN (SELECT ...): it serves as an index condition, and without statistics the planner turned the
    # subquery into a nested loop over all pairs (1.9 s for 10,000 names instead of 0.02 s).
    tested, texts = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({tested} = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST({texts} AS jsonb)))))"


def in_values(tested: ColumnElement[Any], values: Iterable[str]) -> ColumnElement[bool]:
    """The condition that `tested` is one of `values`: one bound parameter, however many there are.

    Names that no store can hold (NUL, lone surrogates) match nothing.
    """
    storable = [value for value in values if _is_storable(value)]
    return _OneOf(tested, bindparam(None, json.dumps(storable), String(), unique=True))


def _is_storable(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


class ColumnReader:
    """The open store as a worker reads it."""

    def __init__(self, location: Location, *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> None:
        self.location = location
        self._busy_timeout_seconds = busy_timeout_seconds
        self._dialect = _dialect(location)
        self._open: tuple[adbc.AdbcDatabase, adbc.AdbcConnection] | None = None
        self._files: tuple[FileIdentity, ...] = ()
        self._connections = 0
        self._counted: tuple[tuple[int, int], Versions] | None = None  # with the commits they were read after

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def read(self, query: Select[Any]) -> Columns:
        """The rows of `query` as one numpy array per column, keyed by column name.

        Numbers are float64 with NaN for null, dates datetime64[D] and timestamps datetime64[us] UTC with NaT, text
        object arrays of `str | None`. Raises StoreUnavailable.
        """
        statement = query.compile(dialect=self._dialect, compile_kwargs={"render_postcompile": True})
        parameters = [statement.params[name] for name in statement.positiontup or ()]
        kinds = {column.name: _column_kind(column.type) for column in query.selected_columns}
        return self._read_reconnecting(str(statement), parameters, kinds)

    def versions(self) -> Versions:
        """The version of each table: where one is equal to an earlier one of its origin, so are the table's rows.

        Triggers raise it in the transaction that changes the rows, so whoever sees the one sees the other. A later read
        of one connection sees every commit that an earlier one saw: versions only grow, and one that did not grow had
        no commit in between. So what was read after a version was, is what the table holds for as long as that is its
        version; it may be newer than the version, never older. Raises StoreUnavailable.
        """
        if isinstance(self.location, PostgresLocation):
            return self._read_versions(POSTGRESQL_VERSIONS)
        # SQLite counts the commits of others for each connection, which is quicker to ask for than the table.
        found = self._read_reconnecting("PRAGMA data_version", (), {"commits": "number"})
        commits = (self._connections, found["commits"][0].item())
        if self._counted is None or self._counted[0] != commits:
            self._counted = commits, self._read_versions(SQLITE_VERSIONS)
        return self._counted[1]

    def _read_versions(self, sql: str) -> Versions:
        found = self._read_reconnecting(sql, (), {"table_name": "text", "version": "number", "origin": "text"})
        by_table = dict(zip(found["table_name"].tolist(), found["version"].tolist(), strict=True))
        return Versions(origin=(self._connections, *set(found["origin"].tolist())), by_table=by_table)

    def _read_reconnecting(self, sql: str, parameters: Sequence[Parameter], kinds: dict[str, ColumnKind]) -> Columns:
        """The rows, from a new connection where the kept one turns out to be broken."""
        kept = self._open is not None and self._files == self._files_now()
        try:
            return self._read(sql, parameters, kinds)
        except (adbc.Error, NanoarrowException) as error:
            self.close()
            if not kept or isinstance(error, adbc.ProgrammingError):
                raise self._unavailable(error) from error
        # A connection that was open before may just have been broken by a restart of the database.
        try:
            return self._read(sql, parameters, kinds)
        except (adbc.Error, NanoarrowException) as error:
            self.close()
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Close the connection; the next read opens another one."""
        opened, self._open = self._open, None
        for handle in reversed(opened or ()):
            try:
                handle.close()
            except adbc.Error:  # a broken connection is closed all the same
                pass

    def _read(self, sql: str, parameters: Sequence[Parameter], kinds: dict[str, ColumnKind]) -> Columns:
        with adbc.AdbcStatement(self._connection()) as statement:
            if isinstance(self.location, SqliteLocation):
                statement.set_options(**{"adbc.sqlite.query.batch_rows": str(SQLITE_BATCH_ROWS)})
            statement.set_sql_query(sql)
            if parameters:
                schema, row = parameter_row(parameters, dates_as_text=isinstance(self.location, SqliteLocation))
                statement.prepare()
                statement.bind(row, schema)
            stream, _ = statement.execute_query()
            return _columns(list(nanoarrow.c_array_stream(stream)), kinds)

    def _connection(self) -> adbc.AdbcConnection:
        """The kept connection, or a new one: the first, or one to the files that have taken the old ones' place."""
        if self._open is not None and self._files_now() != self._files:
            self.close()
        if self._open is None:
            database = _open_database(self.location)
            try:
                connection = adbc.AdbcConnection(database)
            except adbc.Error:
                database.close()
                raise
            self._open = (database, connection)
            self._connections += 1
            if isinstance(self.location, SqliteLocation):
                _execute(connection, f"PRAGMA busy_timeout = {round(self._busy_timeout_seconds * 1000)}")
                _execute(connection, "PRAGMA query_only = ON")
                _execute(connection, "SELECT 1 FROM sqlite_schema LIMIT 1")  # opens the log beside the file
            self._files = self._files_now()
        return self._open[1]

    def _files_now(self) -> tuple[FileIdentity, ...]:
        """Which SQLite file and log are at the path now: a rebuilt store is another file, and the old one, which this
        process still has open, must not be read on."""
        if not isinstance(self.location, SqliteLocation):
            return ()
        log = self.location.path.with_name(self.location.path.name + "-wal")
        return _file_identity(self.location.path), _file_identity(log)

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        is_missing = isinstance(self.location, SqliteLocation) and not self.location.path.exists()
        reason = "there is no such file" if is_missing else first_line(error)  # the driver's own word is "memory"
        return StoreUnavailable(f"the store {self.location} cannot be read: {reason}")


def _file_identity(path: Path) -> FileIdentity:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_reader(store_url: str, *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> ColumnReader:
    """A reader of the store at `store_url`. Connects at the first read. Raises ConfigError for a wrong URL."""
    return ColumnReader(parse_location(store_url), busy_timeout_seconds=busy_timeout_seconds)


def _dialect(location: Location) -> Dialect:
    """The dialect with the parameter style that the driver understands."""
    if isinstance(location, PostgresLocation):
        return postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    return sqlite.dialect(paramstyle="qmark")


def _open_database(location: Location) -> adbc.AdbcDatabase:
    if isinstance(location, PostgresLocation):
        return adbc.AdbcDatabase(driver=adbc_driver_postgresql._driver_path(), uri=location.libpq_uri())
    return adbc.AdbcDatabase(driver=adbc_driver_sqlite._driver_path(), uri=location.uri("rw"))


def _execute(connection: adbc.AdbcConnection, sql: str) -> None:
    with adbc.AdbcStatement(connection) as statement:
        statement.set_sql_query(sql)
        statement.execute_update()


def _column_kind(declared: TypeEngine[Any]) -> ColumnKind:
    """How a column of this SQLAlchemy type reads."""
    match declared:
        case UtcTimestamp() | DateTime():
            return "timestamp"
        case Date():
            return "date"
        case Boolean():
            raise TypeError("a boolean column cannot be read in bulk")
        case Float() | Numeric() | Integer():
            return "number"
        case String():
            return "text"
    raise TypeError(f"a column of type {declared!r} cannot be read in bulk")


def _columns(batches: list[Any], kinds: dict[str, ColumnKind]) -> Columns:
    """The batches as one array per column."""
    if not batches:
        return {name: empty_column(kind) for name, kind in kinds.items()}
    parts = {
        name: [column(kind, batch.child(index).view()) for batch in batches]
        for index, (name, kind) in enumerate(kinds.items())
    }
    return {name: arrays[0] if len(arrays) == 1 else np.concatenate(arrays) for name, arrays in parts.items()}
