"""The demo desk for tests: its store built once a run, and one server on it that tests only read from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from position_server.demo.build import build_demo
from position_server.outcomes import SectionCall, SectionOutcome
from position_server.params import BaseParams
from position_server.sections.base.wrapper import Workbench, open_workbench, run_section
from tests.servers import TWO_WORKERS, ServerProcess, calm, serving
from tests.shared import made_once

BUSINESS_DATE = date(2025, 10, 30)


@pytest.fixture(scope="session")
def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's SQLite file, for reading and copying."""
    name = "position_server.sqlite"
    return made_once(tmp_path_factory, "demo", lambda folder: build_demo(f"sqlite:///{folder / name}")) / name


@pytest.fixture(scope="session")
def demo_server(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on a copy of the demo's store, with the shipped config, warm; nothing is computed again by itself."""
    data_dir = tmp_path_factory.mktemp("served")
    shutil.copy(demo_store, data_dir)
    with serving(data_dir, env={**calm(), **TWO_WORKERS}) as server:
        server.wait_until_warm()
        yield server


@pytest.fixture(scope="session")
def workbench(demo_store: Path) -> Workbench:
    """A worker's workbench on the demo's store, in this process."""
    return open_workbench(f"sqlite:///{demo_store}", "XNYS", "USD")


Compute = Callable[..., dict[str, Any]]


@pytest.fixture
def compute(workbench: Workbench) -> Compute:
    """`compute(section, overrides, books=..., time_of_day=..., env_date=..., pos_date=...)`: the section's data."""

    def data(section: str, overrides: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
        outcome = outcome_of(workbench, section, overrides, **given)
        assert outcome.data is not None, outcome.error_stack
        return orjson.loads(outcome.data)

    return data


def outcome_of(
    workbench: Workbench, section: str, overrides: dict[str, Any] | None = None, **given: Any
) -> SectionOutcome:
    """What a worker answers for the section on the demo's desk."""
    fields = {
        "env_date": BUSINESS_DATE,
        "pos_date": date(2025, 10, 29),
        "books": ("CUPS", "YCSO"),
        "time_of_day": "EOD",
        **given,
    }
    return run_section(workbench, SectionCall(section, BaseParams(**fields), BUSINESS_DATE, overrides))
