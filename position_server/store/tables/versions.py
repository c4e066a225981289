"""How a reader tells that a table changed: a version for each table that sections read.

Nobody writes here but the triggers of those tables (`store/migrations/counting.py`), in the transaction that changes
them, whoever makes it: this program, psql or the sqlite3 shell. A table's version is the sum over its lanes. SQLite has
one writer at a time and needs one lane, 0; on PostgreSQL a writer takes a lane that no other one holds, so that
writers never wait for each other here, nor deadlock. `ColumnReader.versions` reads it, and says what it promises.
"""

from __future__ import annotations

from typing import Literal, get_args

from sqlalchemy import BigInteger, Column, Table

from position_server.store.tables.base import METADATA, TEXT

VersionedTable = Literal[
    "closes",
    "curves",
    "factor_exposures",
    "factor_fits",
    "fx",
    "instruments",
    "positions",
    "private_valuations",
    "quotes",
    "trades",
]
VERSIONED_TABLES: tuple[VersionedTable, ...] = get_args(VersionedTable)

table_versions = Table(
    "table_versions",
    METADATA,
    Column("table_name", TEXT, primary_key=True),
    Column("lane", BigInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
