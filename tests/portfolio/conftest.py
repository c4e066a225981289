"""The stores that the nightly batch is tried on, migrated, with the desk in them or empty.

SQLite files are copies of one that was made once. PostgreSQL is one schema, emptied before each test; it is tried where
SQL or locks matter.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from position_server.store.engine import Store, open_store
from tests.portfolio import books, desk
from tests.postgres import empty
from tests.shared import made_once, migrated_file
from tests.store.conftest import postgres_schema_url, postgres_store_url  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite store, to be copied."""
    return migrated_file(tmp_path_factory)


@pytest.fixture(scope="session")
def desk_file(empty_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the small desk."""
    file = Path(shutil.copy(empty_file, tmp_path_factory.mktemp("desk")))
    with open_store(f"sqlite:///{file}") as store:
        desk.fill(store)
    return _alone(file)


@pytest.fixture
def empty_postgres_url(postgres_store_url: str) -> str:  # noqa: F811
    """The URL of the migrated schema, emptied."""
    with open_store(postgres_store_url) as store:
        empty(store)
    return postgres_store_url


@pytest.fixture(params=["sqlite", "postgresql"])
def each_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copy(request.getfixturevalue('empty_file'), tmp_path)}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


@pytest.fixture
def store(each_url: str) -> Iterator[Store]:
    """An empty store of either kind."""
    with open_store(each_url) as store:
        yield store


@pytest.fixture
def desk_store(desk_file: Path, tmp_path: Path) -> Iterator[Store]:
    """A SQLite store with the small desk."""
    with open_store(f"sqlite:///{shutil.copy(desk_file, tmp_path / 'desk.sqlite')}") as store:
        yield store


@pytest.fixture
def each_desk_store(store: Store) -> Store:
    """A store of either kind with the small desk."""
    desk.fill(store)
    return store


@pytest.fixture(scope="session")
def two_nights_file(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's store after the nights of its last two days, to be read or copied."""

    def make(folder: Path) -> None:
        file = Path(shutil.copy(demo_store, folder))
        books.two_nights(file)
        _alone(file)

    return made_once(tmp_path_factory, "nights", make) / demo_store.name


def _alone(file: Path) -> Path:
    """The file without its log, so that a copy of it is whole."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file
