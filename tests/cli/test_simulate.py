"""`simulate` as it is typed: a table at the end, the same one again, and refusals in one line."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from position_server.cli import main
from tests.house.sources import REPOSITORY

RANGE = ("--start", "2025-09-02", "--end", "2025-09-04")


@pytest.fixture(scope="module")
def folder(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("typed")
    shutil.copy(demo_store, folder)
    return folder


@pytest.fixture(scope="module")
def simulated(folder: Path) -> subprocess.CompletedProcess[str]:
    """The range, simulated by the command."""
    command = [sys.executable, "-m", "position_server", "simulate", "--data-dir", str(folder), *RANGE]
    models = ["--models", "momentum,buy_and_hold"]
    return subprocess.run([*command, *models], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True)


def typed(folder: Path, *arguments: str) -> int:
    return main(["simulate", "--data-dir", str(folder), *arguments])


def test_a_simulation_shows_its_progress_and_ends_with_a_table(simulated: subprocess.CompletedProcess[str]) -> None:
    assert "2025-09-02 to 2025-09-04: completed" in simulated.stdout
    rows = re.findall(r"│ (\w+) +│ +(\d+) │ +[\d,.]+ │", simulated.stdout)
    assert rows == [("buy_and_hold", "3"), ("momentum", "3")]
    assert "6/6" in simulated.stderr


def test_the_same_command_again_shows_the_same_table(
    folder: Path, simulated: subprocess.CompletedProcess[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(folder, *RANGE, "--models", "momentum", "buy_and_hold") == 0
    assert capsys.readouterr().out == simulated.stdout


def test_a_range_that_is_simulated_in_part_is_refused(
    folder: Path, simulated: subprocess.CompletedProcess[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(folder, "--start", "2025-09-03", "--models", "momentum") == 2
    assert "momentum has completed 2025-09-04 already; replace_existing (--replace)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--start", "2025-02-30"), "start_date: is not a date"),
        (("--start", "2026-01-05"), "The store's prices reach from 2025-06-02 to 2025-10-30"),
        (("--models", "nobody"), "'nobody' is not in the configuration"),
        (("--config-path", "../secret.json"), "config_path: must be inside configs/"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(
    folder: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(folder, *arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""


def test_a_plot_is_a_picture(folder: Path, simulated: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    file = tmp_path / "values.png"
    assert typed(folder, *RANGE, "--models", "momentum,buy_and_hold", "--plot", str(file)) == 0
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_three_months_of_all_models_take_less_than_ten_seconds_of_two_cores(demo_store: Path, tmp_path: Path) -> None:
    """By the processors' time, of which a busy machine does not take more."""
    shutil.copy(demo_store, tmp_path)
    command = [sys.executable, "-m", "position_server", "simulate", "--data-dir", str(tmp_path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--start", "2025-07-01", "--end", "2025-09-30"], cwd=REPOSITORY, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2 * 10
