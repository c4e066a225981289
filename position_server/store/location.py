"""Where a store is: its URL taken apart once, for SQLAlchemy and for ADBC.

`sqlite:////absolute/path.sqlite`, or `postgresql://user:password@host:port/database` with an optional `?schema=NAME`
(the search path; other query arguments go to libpq). Opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from position_server.errors import ConfigError

CONNECT_TIMEOUT_SECONDS = 5
SQLITE_PREFIX = "sqlite:///"
SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class SqliteLocation:
    """A SQLite file, by absolute path."""

    path: Path

    backend: Literal["sqlite"] = "sqlite"

    def __str__(self) -> str:
        return str(self.path)

    def uri(self, mode: Literal["ro", "rw", "rwc"]) -> str:
        """The SQLite URI that opens the file; only `rwc` creates it."""
        return f"file:{quote(str(self.path))}?mode={mode}"


@dataclass(frozen=True, slots=True)
class PostgresLocation:
    """A PostgreSQL database, and the schema in it where one was named."""

    url: URL
    schema: str | None

    backend: Literal["postgresql"] = "postgresql"

    def __str__(self) -> str:
        """For messages: never with the password."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    def libpq_uri(self) -> str:
        """The URI that libpq opens, password included."""
        bare = self.url.set(query={}).render_as_string(hide_password=False)
        return f"{bare}?{urlencode(self.libpq_arguments(), quote_via=quote)}"

    def libpq_arguments(self) -> Mapping[str, str]:
        """The connection's arguments besides the address: UTC, the schema, and those of the URL."""
        given = {key: value if isinstance(value, str) else value[-1] for key, value in self.url.query.items()}
        options = [given.pop("options", ""), "-cTimeZone=UTC", f"-csearch_path={self.schema}" if self.schema else ""]
        return {
            "connect_timeout": str(CONNECT_TIMEOUT_SECONDS),
            **given,
            "options": " ".join(option for option in options if option),
        }


Location = SqliteLocation | PostgresLocation


def parse_location(store_url: str) -> Location:
    """The location a store URL names. Raises ConfigError for anything but the two kinds above."""
    if store_url.startswith(SQLITE_PREFIX):
        return _sqlite_location(store_url.removeprefix(SQLITE_PREFIX))
    try:
        url = make_url(store_url)
    except ArgumentError as error:
        raise ConfigError("STORE", "not a database URL (sqlite:////path.sqlite or postgresql://...)") from error
    if url.drivername != "postgresql":
        raise ConfigError("STORE", f"no store of the kind {url.drivername!r} (known: sqlite, postgresql)")
    return _postgres_location(url)


def _sqlite_location(path: str) -> SqliteLocation:
    """The path is taken as it is written: a file name may hold any character, `%` and `?` too."""
    if path in ("", ":memory:"):
        raise ConfigError("STORE", "a SQLite store is a file: workers could not see one in memory")
    return SqliteLocation(Path(path).absolute())


def _postgres_location(url: URL) -> PostgresLocation:
    schema = url.query.get("schema")
    if schema is not None and not (isinstance(schema, str) and SCHEMA_NAME.fullmatch(schema)):
        raise ConfigError("STORE", f"not a schema name in lower case: {schema!r}")
    return PostgresLocation(url.set(drivername="postgresql").difference_update_query(["schema"]), schema)
