"""The store as writers and migrations see it: transactions over SQLAlchemy Core.

It never reads in bulk (that is `store.columns`, in the workers) and never creates a SQLite file except in `upgrade`.
A store may be shared by threads: each transaction takes a connection of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from position_server.errors import StoreUnavailable
from position_server.store.location import Location, PostgresLocation, SqliteLocation, parse_location

T = TypeVar("T")

SWITCH_ATTEMPTS = 10
MOST_RETRIES = 3
RETRIED_STATES = ("40001", "40P01")  # PostgreSQL's serialization failure and deadlock
BUSY_TIMEOUT_SECONDS = 5.0  # how long anybody waits for a free connection, and on SQLite a writer for another's lock


class Store:
    """The open store: `write` and `read` are one transaction each."""

    def __init__(self, location: Location, *, read_only: bool, busy_timeout_seconds: float) -> None:
        self.location = location
        self.read_only = read_only
        self._busy_timeout_seconds = busy_timeout_seconds
        self._connected_to: object = None  # the identity of the store behind the connections that are open
        self._engine = self._new_engine()
        self._writer = self._engine.execution_options(takes_write_lock=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def upgrade(self) -> None:
        """Bring the tables up to date, creating what is missing: the file and its folder, too. Safe to call twice."""
        from position_server.store import migrate  # not at the top: Alembic costs 0.1 s of the server's start

        if isinstance(self.location, SqliteLocation):
            self._create_file(self.location)
        with self.write() as connection:
            migrate.upgrade(connection)

    def is_current(self) -> bool:
        """Whether the tables are those of this version of the program."""
        from position_server.store import migrate

        with self.read() as connection:
            return migrate.is_current(connection)

    def identity(self) -> object:
        """What differs where another store has taken this one's place. Raises StoreUnavailable without a file."""
        if not isinstance(self.location, SqliteLocation):
            return self.location
        try:
            found = self.location.path.stat()
        except OSError as error:
            raise StoreUnavailable(f"the store {self.location} is unavailable: {error.strerror}") from error
        return found.st_dev, found.st_ino

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One writing transaction: committed at the end, rolled back where an exception leaves it.

        On SQLite it takes the write lock at once (BEGIN IMMEDIATE): a transaction that began reading could not get it
        later. Raises StoreUnavailable.
        """
        if self.read_only:
            raise StoreUnavailable(f"the store {self.location} was opened for reading only")
        self._let_go_of_another_file()
        with self._translated(), self._writer.begin() as connection:
            yield connection

    def write_retried(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns from one writing transaction, tried again where PostgreSQL ended it in favour of another.

        A deadlock ends one of the two, and none was at fault: whoever else works on the database (psql, a backup, a
        killed process whose statement still runs) takes locks in an order of its own. Raises StoreUnavailable.
        """
        for _ in range(MOST_RETRIES):
            try:
                with self.write() as connection:
                    return work(connection)
            except StoreUnavailable as error:
                if not _is_worth_a_retry(error.__cause__):
                    raise
        with self.write() as connection:
            return work(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction. Raises StoreUnavailable."""
        self._let_go_of_another_file()
        with self._translated(), self._engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _let_go_of_another_file(self) -> None:
        """An open connection to a SQLite file that was replaced or removed would go on with the old one.

        Two threads may both find it so, and both let go: that harms neither.
        """
        identity = self.identity()
        if identity != self._connected_to:
            self._engine.dispose()
            self._connected_to = identity

    def _new_engine(self) -> Engine:
        if isinstance(self.location, SqliteLocation):
            return _sqlite_engine(self.location, self.read_only, self._busy_timeout_seconds)
        return _postgres_engine(self.location, self.read_only, self._busy_timeout_seconds)

    def _create_file(self, location: SqliteLocation) -> None:
        try:
            location.path.parent.mkdir(parents=True, exist_ok=True)
            sqlite3.connect(location.uri("rwc"), uri=True).close()
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(f"the store {location} cannot be created: {error}") from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the database's failures into StoreUnavailable; broken constraints stay what they are: wrong data."""
        try:
            yield
        except (IntegrityError, DataError):
            raise
        except DBAPIError as error:
            raise StoreUnavailable(f"the store {self.location} is unavailable: {first_line(error.orig)}") from error
        except NoConnectionLeft as error:
            raise StoreUnavailable(f"the store {self.location} is busy: all its connections are in use") from error


def open_store(store_url: str, *, read_only: bool = False, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> Store:
    """The store at `store_url` (see `location`). Connects only when used. Raises ConfigError for a wrong URL."""
    return Store(parse_location(store_url), read_only=read_only, busy_timeout_seconds=busy_timeout_seconds)


def _is_worth_a_retry(error: BaseException | None) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in RETRIED_STATES


def first_line(error: BaseException | None) -> str:
    """The first line of an error's message that says something."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


def _sqlite_engine(location: SqliteLocation, read_only: bool, busy_timeout_seconds: float) -> Engine:
    def connect() -> sqlite3.Connection:
        # isolation_level None: Python's own implicit BEGIN is off, the "begin" event below decides.
        connection = sqlite3.connect(
            location.uri("rw"), uri=True, isolation_level=None, check_same_thread=False, timeout=busy_timeout_seconds
        )
        try:
            _prepare(connection, read_only)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite+pysqlite:///store", creator=connect, pool_timeout=busy_timeout_seconds)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare(connection: sqlite3.Connection, read_only: bool) -> None:
    if read_only:
        connection.execute("PRAGMA query_only = ON")
        return
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch the file to the write-ahead log, for good: readers and a writer do not wait for each other then."""
    for _ in range(SWITCH_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            # Another process is at a new file, too. The switch does not wait for its lock; a transaction does.
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        else:
            return
    raise sqlite3.OperationalError("database is locked")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("takes_write_lock", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgres_engine(location: PostgresLocation, read_only: bool, busy_timeout_seconds: float) -> Engine:
    options: dict[str, Any] = {"postgresql_readonly": True} if read_only else {}
    return create_engine(
        location.url.set(drivername="postgresql+psycopg", query={}),
        connect_args=dict(location.libpq_arguments()),
        pool_timeout=busy_timeout_seconds,
        pool_pre_ping=True,  # a restarted server costs one reconnect, not one failure
        execution_options=options,
    )
