"""The face of the room: simulations before their store is there, without one, and after a fault that nobody foresaw."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from position_server.clock import Clock, SystemClock
from position_server.errors import NotFound, PositionServerError, Starting, StoreUnavailable
from position_server.settings import Settings
from position_server.simulation.service import Simulation
from tests.servers import until
from tests.simulation.desk import InlinePool

Load = Callable[..., Settings]


class BrokenClock(SystemClock):
    """A clock that cannot wait."""

    def wait(self, *_: Any) -> bool:
        raise RuntimeError("nobody foresaw it")


@contextmanager
def simulation(settings: Settings, clock: Clock | None = None) -> Iterator[Simulation]:
    """The room, started, and ended with the test."""
    pool: Any = InlinePool(settings.store_url)
    made = Simulation(settings, clock or SystemClock(), pool)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        made.join()
        pool.close()


@pytest.fixture
def settings(load: Load, tmp_path: Path) -> Settings:
    """A data folder without a store."""
    return load('STORE = {"demo": False}', {}, {"data_dir": tmp_path / "data"})


def put_store(market_file: Path, settings: Settings) -> None:
    settings.data_dir.mkdir(exist_ok=True)
    shutil.copy(market_file, settings.store_url.removeprefix("sqlite:///"))


def raised(room: Simulation) -> PositionServerError:
    """Why nothing can be asked now."""
    with pytest.raises(PositionServerError) as error:
        room.current()
    return error.value


def test_before_its_start_it_is_starting(settings: Settings) -> None:
    pool: Any = InlinePool(settings.store_url)
    assert type(raised(Simulation(settings, SystemClock(), pool))) is Starting
    pool.close()


def test_it_waits_for_a_store_and_makes_none(
    market_file: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with simulation(settings) as room:
        until(lambda: isinstance(raised(room), StoreUnavailable))
        put_store(market_file, settings)
        until(lambda: isinstance(raised(room), NotFound))  # it is there, and nothing was simulated yet
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == ["simulations wait for the store"]


def test_a_data_folder_that_is_a_file_is_named(market_file: Path, settings: Settings) -> None:
    put_store(market_file, settings)
    (settings.data_dir / "simulation").write_text("in the way")
    with simulation(settings) as room:
        until(lambda: "the data folder cannot be used: " in raised(room).message)


def test_what_nobody_foresaw_is_logged_and_said(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with simulation(settings, BrokenClock()) as room:
        until(lambda: raised(room).message == "Simulations have ended; the log says why.")
    assert [r.message for r in caplog.records if r.exc_info] == ["simulations have ended"]
