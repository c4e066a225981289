"""A desk with a small market on a SQLite file, the same on PostgreSQL where a test wants both; the demo simulated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from position_server.settings import CONFIG_FILE
from position_server.store.engine import open_store
from tests.postgres import empty, fresh_schema
from tests.shared import made_once, migrated_file
from tests.simulation.desk import Desk, bars, config, fill

SIMULATED = (date(2025, 6, 2), date(2025, 7, 18))  # with a split, two ends of months, and enough history for all models


@pytest.fixture(scope="session")
def market_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with the small market, to be copied."""
    file = Path(shutil.copy(migrated_file(tmp_path_factory), tmp_path_factory.mktemp("market")))
    with open_store(f"sqlite:///{file}") as store:
        fill(store, bars())
    return file


@pytest.fixture
def desk(tmp_path: Path, market_file: Path) -> Iterator[Desk]:
    """The small market; one model that buys and holds."""
    url = f"sqlite:///{shutil.copy(market_file, tmp_path)}"
    with open_store(url) as store:
        desk = Desk(store, url, tmp_path)
        desk.configure(config())
        yield desk


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with fresh_schema() as url:
        with open_store(url) as store:
            store.upgrade()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def any_desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """The small market on either backend."""
    if request.param == "sqlite":
        yield request.getfixturevalue("desk")
        return
    url = request.getfixturevalue("postgres_url")
    with open_store(url) as store:
        empty(store)
        fill(store, bars())
        desk = Desk(store, url, tmp_path)
        desk.configure(config())
        yield desk


@pytest.fixture(scope="session")
def simulated(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The demo desk with the shipped configuration simulated over SIMULATED: read only."""

    def make(folder: Path) -> None:
        shutil.copy(demo_store, folder)
        shutil.copytree(CONFIG_FILE.parent / "configs", folder / "configs")
        with desk_in(folder) as desk:
            desk.simulate(*SIMULATED)

    @contextmanager
    def desk_in(folder: Path) -> Iterator[Desk]:
        url = f"sqlite:///{folder / demo_store.name}"
        with open_store(url) as store:
            yield Desk(store, url, folder)

    with desk_in(made_once(tmp_path_factory, "simulated", make)) as desk:
        yield desk
