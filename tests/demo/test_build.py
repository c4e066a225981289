from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from position_server.demo.build import Demo, DemoExistsError, build_demo, load_files
from position_server.store.engine import open_store
from position_server.store.load import load_file

SLOW_BUILD = """
import os, sys
from position_server.demo import build
def halfway(store, kind, lines):
    result = load(store, kind, lines)
    if kind == "closes":
        os.kill(os.getpid(), 9)
    return result
load, build.load_file = build.load_file, halfway
build.build_demo(sys.argv[1], force=True)
"""


@dataclass(frozen=True)
class Built:
    """A store that nobody has opened since it was built, and what the build counted."""

    path: Path
    counts: Mapping[str, int]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    path = tmp_path_factory.mktemp("built") / "store.sqlite"
    return Built(path, build_demo(f"sqlite:///{path}"))


def test_two_builds_are_the_same_to_the_byte(demo_path: Path, built: Built):
    assert demo_path.read_bytes() == built.path.read_bytes()


def test_a_built_store_is_one_file(built: Built):
    assert [built.path] == list(built.path.parent.iterdir())


def test_a_build_that_is_killed_leaves_no_store_and_the_next_one_tidies_up(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    assert _killed_build(path) == -signal.SIGKILL
    assert not path.exists()
    build_demo(f"sqlite:///{path}")
    assert [path] == list(tmp_path.iterdir())


def test_a_build_that_is_killed_leaves_the_store_that_was_there(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"old")
    _killed_build(path)
    assert path.read_bytes() == b"old"


def test_a_build_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("position_server.demo.build.load_file", fail)
    with pytest.raises(OSError, match="disk full"):
        build_demo(f"sqlite:///{tmp_path / 'store.sqlite'}")
    assert list(tmp_path.iterdir()) == []


def test_the_unfinished_file_of_a_build_that_still_runs_is_left_alone(tmp_path: Path):
    running = tmp_path / f"store.sqlite.building-{os.getppid()}"
    running.write_bytes(b"")
    build_demo(f"sqlite:///{tmp_path / 'store.sqlite'}")
    assert running.exists()


def test_an_existing_store_is_refused_without_force(tmp_path: Path):
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"a desk's own data")
    with pytest.raises(DemoExistsError, match="--force"):
        build_demo(f"sqlite:///{path}")
    assert path.read_bytes() == b"a desk's own data"


def test_force_replaces_a_store_with_its_log(demo_path: Path, tmp_path: Path):
    path = tmp_path / "store.sqlite"
    for name in ("store.sqlite", "store.sqlite-wal", "store.sqlite-shm"):
        (tmp_path / name).write_bytes(b"old")
    build_demo(f"sqlite:///{path}", force=True)
    assert path.read_bytes() == demo_path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_loading_the_files_again_changes_nothing(demo: Demo, demo_path: Path, tmp_path: Path):
    path = tmp_path / "store.sqlite"
    path.write_bytes(demo_path.read_bytes())
    with open_store(f"sqlite:///{path}") as store:
        results = [load_file(store, kind, lines) for kind, lines in load_files(demo, 1).items()]
    assert all(result.changed_nothing for result in results)


def test_the_store_has_what_the_counts_say(built: Built):
    assert {name: _one(built.path, f"SELECT count(*) FROM {name}") for name in built.counts} == built.counts


def test_every_position_of_the_cash_books_has_a_price_on_every_day(demo_path: Path):
    unpriced = """
        SELECT count(*) FROM positions p JOIN instruments i USING (instrument)
        WHERE p.book IN ('CUPS', 'YCSO') AND i.kind <> 'BOND' AND NOT EXISTS
          (SELECT 1 FROM closes c WHERE c.instrument = p.instrument AND c.close_date <= p.pos_date)"""
    assert _one(demo_path, unpriced) == 0


def test_theoretical_and_invented_rows_say_so(demo_path: Path):
    kinds = "SELECT DISTINCT i.kind FROM closes c JOIN instruments i USING (instrument) WHERE c.source = ?"
    assert {kind for (kind,) in _all(demo_path, kinds, "model")} == {"FUTURE", "OPTION", "BOND"}
    assert {kind for (kind,) in _all(demo_path, kinds, "close")} == {"EQUITY", "SPOT"}
    assert {kind for (kind,) in _all(demo_path, kinds, "manual")} == {"PRIVATE"}
    assert _all(demo_path, "SELECT DISTINCT source FROM quotes") == [("invented",)]


def test_factor_proxies_have_their_history_and_no_book_holds_them(demo: Demo, demo_path: Path):
    closes = "SELECT count(*) FROM closes JOIN instruments USING (instrument) WHERE currency = 'XXX'"
    assert _one(demo_path, closes) == sum(len(bars) for bars in demo.proxies.values()) > 8 * 60
    held = "SELECT count(*) FROM positions JOIN instruments USING (instrument) WHERE currency = 'XXX'"
    assert _one(demo_path, held) == 0


def test_the_history_of_every_stock_with_closes_counts_as_fetched(demo_path: Path):
    lacking = """
        SELECT DISTINCT instrument FROM closes JOIN instruments USING (instrument)
        WHERE kind = 'EQUITY' AND instrument NOT IN (SELECT instrument FROM price_histories)"""
    assert _all(demo_path, lacking) == []


def test_curves_reach_back_before_the_first_day(demo_path: Path):
    assert _one(demo_path, "SELECT min(curve_date) FROM curves WHERE curve = 'UST_PAR'") == "2025-05-30"
    assert _one(demo_path, "SELECT rate FROM curves WHERE curve_date = '2025-10-30' AND tenor = '10Y'") == 0.0411


def test_nothing_is_dated_after_the_last_day(demo_path: Path):
    for table, column in (
        ("closes", "close_date"),
        ("curves", "curve_date"),
        ("fx", "fx_date"),
        ("quotes", "quote_date"),
    ):
        assert _one(demo_path, f"SELECT max({column}) FROM {table}") == "2025-10-30"


def test_scale_multiplies_instruments_and_positions(demo_path: Path, tmp_path: Path):
    path = tmp_path / "store.sqlite"
    build_demo(f"sqlite:///{path}", scale=3)
    for rows in ("instruments WHERE currency <> 'XXX'", "positions", "trades"):
        query = f"SELECT count(*) FROM {rows}"
        assert _one(path, query) == 3 * _one(demo_path, query)
    coupons = _all(path, "SELECT coupon FROM instruments WHERE instrument LIKE 'US91282CNT44%' ORDER BY instrument")
    assert len(set(coupons)) == 3


def test_a_large_scale_copies_the_last_days_only(demo_path: Path, tmp_path: Path):
    path = tmp_path / "store.sqlite"
    build_demo(f"sqlite:///{path}", scale=5)
    on = "SELECT count(*) FROM positions WHERE pos_date = ?"
    assert _one(path, on, "2025-10-24") == 5 * _one(demo_path, on, "2025-10-24")
    assert _one(path, on, "2025-10-23") == _one(demo_path, on, "2025-10-23")


def _killed_build(path: Path) -> int:
    command = [sys.executable, "-c", SLOW_BUILD, f"sqlite:///{path}"]
    return subprocess.run(command, check=False).returncode


def _all(path: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def _one(path: Path, query: str, *values: object) -> Any:
    return _all(path, query, *values)[0][0]
