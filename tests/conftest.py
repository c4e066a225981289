"""What many tests need: settings without the machine's environment, and a clock that they move."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from position_server.settings import ENV_PREFIX, Settings, load_settings
from tests.fakes import VirtualClock

pytest_plugins = ["tests.desk"]

# A busy machine may take its time over one example; that is no failure. Examples are the same in every run: what fails
# then is what was changed. `--hypothesis-profile search` looks for new ones.
PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("project", derandomize=True, **PATIENT)
hypothesis.settings.register_profile("search", derandomize=False, print_blob=True, **PATIENT)
hypothesis.settings.load_profile("project")


# Files of minutes come first: one that begins last would leave the other workers without work.
LONGEST = (
    "faults",
    "portfolio",
    "simulation/agents",
    "market_data/test_real_updaters.py",
    "sections/test_reading_again.py",
    "web",
    "demo",
)


def pytest_configure() -> None:
    """Workers of processes under test need not give way: beside the tests of other files they would get nothing."""
    os.environ.setdefault(ENV_PREFIX + "COMPUTE__NICE", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the files; within one nothing changes."""
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        path = item.path.relative_to(here).as_posix()
        return next((n for n, start in enumerate(LONGEST) if path.startswith(start)), len(LONGEST))

    items.sort(key=rank)


@pytest.fixture
def clock() -> VirtualClock:
    """Noon in New York on 2025-10-30."""
    return VirtualClock()


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of this shell that would win over the settings of a test."""
    for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def load(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """`load(text, variables, flags)`: the settings of a config file with that text."""

    def loaded(
        text: str = "", variables: dict[str, str] | None = None, flags: dict[str, object] | None = None
    ) -> Settings:
        file = tmp_path / "config.py"
        file.write_text(text)
        for name, value in (variables or {}).items():
            clean_environment.setenv(ENV_PREFIX + name, value)
        return load_settings(file, flags)

    return loaded


@pytest.fixture
def settings(load: Callable[..., Settings], tmp_path: Path) -> Settings:
    """The defaults, with a data folder of the test's own."""
    return load("", {}, {"data_dir": tmp_path / "data"})
