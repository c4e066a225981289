"""`batch symbols` on the demo desk as it is shipped: the command, its provider, and what it shows."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from position_server.settings import load_settings
from position_server.store.engine import Store, open_store
from tests.portfolio.desk import contents
from tests.portfolio.processes import DATA
from tests.servers import REPOSITORY

COMMAND = [sys.executable, "-m", "position_server", "batch", "symbols"]
FACTORS = ["IWM", "MTUM", "QUAL", "SPY", "TLT", "USMV", "VTV", "VUG"]


@pytest.fixture(scope="module")
def demo(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A copy of the demo's store, where the shipped config looks for it."""
    file = shutil.copy(demo_store, tmp_path_factory.mktemp("demo_night"))
    with open_store(f"sqlite:///{file}") as store:
        yield store


def folder(store: Store) -> str:
    return str(Path(str(store.location)).parent)


@pytest.fixture(scope="module")
def first(demo: Store) -> dict[str, Any]:
    """What the first night answers."""
    done = subprocess.run(
        [*COMMAND, "--json", "--data-dir", folder(demo)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "  stocks: " in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_night_takes_at_most_5_calls(first: dict[str, Any]) -> None:
    counts = first["counts"]
    assert (first["status"], first["batch_date"]) == ("completed", "2025-10-30")
    assert counts["calls"] <= 5
    assert (counts["histories"], counts["closes_inserted"], counts["closes_updated"]) == (0, 0, 0)
    assert counts["gaps"] == {"ZNEWCO": "no price of 2025-10-30"}
    assert set(counts["skipped"]) == {"BOND", "FUTURE", "PRIVATE", "SPOT"}
    assert counts["flags"] == {"too_little_history": ["ZNEWCO"]}


def test_every_equity_has_its_exposures_on_all_factors(first: dict[str, Any], demo: Store) -> None:
    with demo.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT instrument, factor FROM factor_exposures WHERE exposure_date = '2025-10-30' ORDER BY 1, 2"
        ).all()
        betas = dict(
            connection.exec_driver_sql("SELECT instrument, market_beta FROM factor_fits WHERE market_beta > 0").all()
        )
    fitted = first["counts"]["fits"] - 1  # all but ZNEWCO
    assert len(rows) == fitted * len(FACTORS)
    assert [factor for name, factor in rows if name == "AAPL"] == FACTORS
    assert betas["PEP"] < betas["NVDA"]


def test_a_second_night_on_a_terminal_changes_nothing_and_draws_a_bar_per_phase(
    first: dict[str, Any], demo: Store
) -> None:
    before = contents(demo, *DATA)
    shown, code = on_a_terminal([*COMMAND, "--data-dir", folder(demo)])
    assert code == 0, shown
    for phase in ("stocks", "factor exposures"):
        assert phase in shown
    assert "━" in shown
    assert "symbol_batch of 2025-10-30: completed" in shown
    assert f"supersedes run {first['run_id']}" in shown.replace("\r\n", "")
    assert "ZNEWCO" in shown
    assert contents(demo, *DATA) == before


def test_the_shipped_factors_are_the_demos_proxies() -> None:
    proxies = load_settings().portfolio.factor_symbols
    assert sorted(proxies) == FACTORS
    assert all(symbol.startswith("PX") for symbol in proxies.values())


def on_a_terminal(command: list[str]) -> tuple[str, int]:
    """What the command shows on a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "COLUMNS": "200"}
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:  # the terminal's other end is closed
        pass
    os.close(ours)
    return b"".join(parts).decode(), process.wait(60)
