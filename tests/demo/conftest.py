"""The demo desk in memory and as a SQLite store, built once per session."""

from __future__ import annotations

from pathlib import Path

import pytest

from position_server.demo.build import Demo, make_demo


@pytest.fixture(scope="session")
def demo() -> Demo:
    """The desk before it is stored."""
    return make_demo()


@pytest.fixture(scope="session")
def demo_path(demo_store: Path) -> Path:
    """The file of the store at scale 1. For reading only."""
    return demo_store
