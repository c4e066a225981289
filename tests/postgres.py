"""PostgreSQL for tests: schemas of their own, dropped afterwards.

Where the server cannot be reached a test is skipped, or fails with REQUIRE_SERVICES=1.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Connection, Table

from position_server.store.engine import Store
from position_server.store.tables import METADATA

POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")


@contextmanager
def fresh_schema() -> Iterator[str]:
    """The URL of a fresh, empty schema."""
    schema = f"store_{uuid.uuid4().hex[:12]}"
    try:
        connection = psycopg.connect(POSTGRES_URL, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"PostgreSQL is not reachable: {error}")
    with connection:
        connection.execute(f'CREATE SCHEMA "{schema}"')
    try:
        yield f"{POSTGRES_URL}?schema={schema}"
    finally:
        with psycopg.connect(POSTGRES_URL, autocommit=True) as connection:
            connection.execute(f'DROP SCHEMA "{schema}" CASCADE')


def empty(store: Store, *, but: Table | None = None) -> None:
    """Deletes every row. A process that a test before this one has killed may still be at its last statement."""

    def delete(connection: Connection) -> None:
        for table in reversed(METADATA.sorted_tables):
            if table is not but:
                connection.execute(table.delete())

    store.write_retried(delete)
