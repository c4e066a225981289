"""The demo desk in memory and as a SQLite store, built once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from position_server.demo.build import Demo, build_demo, make_demo


@pytest.fixture(scope="session")
def demo() -> Demo:
    """The desk before it is stored."""
    return make_demo()


@pytest.fixture(scope="session")
def demo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the store at scale 1. For reading only."""
    path = tmp_path_factory.mktemp("demo") / "store.sqlite"
    build_demo(f"sqlite:///{path}")
    return path
