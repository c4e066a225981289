"""The store's fixtures: every test of a store runs on a SQLite file and on PostgreSQL.

PostgreSQL tests share one schema of their own per session, emptied before each test and dropped at the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from position_server.store.columns import ColumnReader, open_reader
from position_server.store.engine import Store, open_store
from position_server.store.tables import table_versions
from tests.postgres import empty, fresh_schema
from tests.shared import migrated_file
from tests.store.writers import Writers, open_writers


@pytest.fixture(scope="session")
def postgres_schema_url() -> Iterator[str]:
    """The URL of a fresh schema, dropped at the end of the session."""
    with fresh_schema() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_store_url(postgres_schema_url: str) -> str:
    """The URL of a migrated PostgreSQL store."""
    with open_store(postgres_schema_url) as store:
        store.upgrade()
    return postgres_schema_url


@pytest.fixture(scope="session")
def migrated_store_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite store, to be copied: migrating takes ten times as long."""
    return migrated_file(tmp_path_factory)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated, empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_store_file'), tmp_path / 'store.sqlite')}"
    url: str = request.getfixturevalue("postgres_store_url")
    with open_store(url) as store:
        empty(store, but=table_versions)  # which only triggers write
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with open_store(store_url) as store:
        yield store


@pytest.fixture
def reader(store_url: str) -> Iterator[ColumnReader]:
    with open_reader(store_url) as reader:
        yield reader


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    """Processes that write to a store."""
    with open_writers() as writers:
        yield writers
