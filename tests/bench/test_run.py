"""The benchmark runs as a whole: the measurements of seconds, on real servers. Slow."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import wrk
from bench.lab import Cores, Lab
from bench.lines import Line
from bench.measurements import hits, live, stampede
from bench.measurements.busy import INTERVAL_SECONDS, without_pause
from bench.processes import BenchError
from bench.run import MEASUREMENTS, QUICK, measured
from tests.house.sources import REPOSITORY


def lab(folder: Path) -> Lab:
    return Lab(folder, Cores(0, 0), rounds=1, quick=True, say=lambda _: None)


def test_a_measurement_that_fails_is_a_line_and_harms_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Lab) -> list[Line]:
        raise BenchError("no such luck")

    monkeypatch.setattr("bench.run.MEASUREMENTS", {"unlucky": fails, "price-age": MEASUREMENTS["price-age"]})
    lines, failed = measured(lab(tmp_path), ["unlucky", "price-age"])
    assert failed == ["unlucky"]
    assert lines[0].note == "could not be measured: no such luck"
    assert len(lines) > 2


def test_the_quick_run_is_part_of_the_whole_one() -> None:
    assert set(QUICK) < set(MEASUREMENTS)


def test_the_warm_ups_without_pause_are_the_shipped_ones() -> None:
    assert {one["interval_seconds"] for one in without_pause()} == {INTERVAL_SECONDS}
    assert len(without_pause()) >= 3


def test_every_file_says_what_it_is() -> None:
    files = sorted((REPOSITORY / "bench").rglob("*.py"))
    assert [file.name for file in files if not ast.get_docstring(ast.parse(file.read_text()))] == []
    assert [file.name for file in files if len(file.read_text().splitlines()) > 300] == []


def test_an_unknown_measurement_is_refused_with_the_names() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.run", "--only", "everything"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "choose from" in done.stderr or "wrk" in done.stderr


@pytest.mark.slow
def test_a_hundred_clients_make_one_computation(tmp_path: Path) -> None:
    (found,) = stampede.measure(lab(tmp_path))
    assert found.met


def test_of_a_hundred_refreshes_the_second_slowest_counts() -> None:
    milliseconds = [float(number) for number in range(1, 101)]
    p99, p50 = live.lines_of({"rounds_ms": [milliseconds, milliseconds], "positions": 1083, "workers": 2})
    assert (p99.value, p50.value, p99.met) == (99.0, 50.0, True)


@pytest.mark.slow
@pytest.mark.skipif(not wrk.installed(), reason="wrk is not installed")
def test_hits_are_measured_at_every_size_against_both_peers(tmp_path: Path) -> None:
    lines = hits.measure(lab(tmp_path))
    named = {one.name for one in lines}
    assert {f"GET hit over straightforward, {size}" for size in ("7 KB", "120 KB", "1.2 MB")} <= named
    assert all(one.value is None or one.value > 0 for one in lines)
    assert json.dumps([one.to_dict() for one in lines])
