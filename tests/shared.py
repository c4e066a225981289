"""Files that take seconds to make and that tests only read: made once a run, also where xdist runs several workers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from position_server.store.engine import open_store


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of this run, which `make` filled: by the worker that came first, while the others wait.

    A worker that fails in it leaves it to the next one.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # that of the whole run
    made = root / f"shared-{name}"
    with (root / f"shared-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            beside = factory.mktemp(name)
            make(beside)
            beside.rename(made)
    return made


def migrated_file(factory: pytest.TempPathFactory) -> Path:
    """A SQLite store of this run, migrated and empty, to be copied."""

    def make(folder: Path) -> None:
        with open_store(f"sqlite:///{folder / 'store.sqlite'}") as store:
            store.upgrade()

    return made_once(factory, "migrated", make) / "store.sqlite"
