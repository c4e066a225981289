"""Stores for the tests of market data: each test of records runs on a SQLite file and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from position_server.store.engine import Store, open_store
from tests import shared
from tests.postgres import empty, fresh_schema


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite store, to be copied."""
    return shared.migrated_file(tmp_path_factory)


@pytest.fixture(scope="session")
def migrated_schema() -> Iterator[str]:
    """The URL of a store of PostgreSQL, for tests that empty it first."""
    with fresh_schema() as url:
        with open_store(url) as store:
            store.upgrade()
        yield url


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """The URL of an empty SQLite store of the test's own."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'position_server.sqlite')}"


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    with open_store(sqlite_url) as store:
        yield store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of either kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_store")
        return
    with open_store(request.getfixturevalue("migrated_schema")) as store:
        empty(store)
        yield store
