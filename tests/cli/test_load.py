"""The `load` command: exit codes and what is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from position_server.cli import main

FX = "fx_date,pair,rate\n2025-10-30,EURUSD,1.25\n"


def run(store_url: str, *words: str) -> int:
    os.environ["POSITION_SERVER_STORE__URL"] = store_url
    return main(["load", *words])


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> None:
    """A current directory and settings of the test's own."""
    clean_environment.chdir(tmp_path)
    clean_environment.setenv("POSITION_SERVER_STORE__URL", "")


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'desk' / 'store.sqlite'}"


@pytest.fixture
def fx_file(tmp_path: Path) -> Path:
    path = tmp_path / "fx.csv"
    path.write_text(FX)
    return path


def test_file_is_loaded_into_a_new_store(store_url: str, fx_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store_url, "fx", str(fx_file)) == 0
    assert capsys.readouterr().out == "fx: 1 rows: 1 inserted, 0 updated, 0 unchanged\n"
    assert run(store_url, "fx", str(fx_file)) == 0
    assert capsys.readouterr().out == "fx: 1 rows, nothing changed\n"


def test_refused_file_names_every_bad_line(store_url: str, fx_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fx_file.write_text(FX + "2025-10-30,USDJPY,x\nyesterday,GBPUSD,1\n")
    assert run(store_url, "fx", str(fx_file)) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{fx_file}:3: rate: not a number: 'x'",
        f"{fx_file}:4: fx_date: not a date (YYYY-MM-DD): 'yesterday'",
        f"{fx_file}: 2 problems, nothing loaded",
    ]


def test_date_is_given_by_a_flag(store_url: str, fx_file: Path) -> None:
    fx_file.write_text("pair,rate\nEURUSD,1.25\n")
    assert run(store_url, "fx", str(fx_file)) == 2
    assert run(store_url, "fx", str(fx_file), "--date", "2025-10-30") == 0


@pytest.mark.parametrize("word", ["2025-02-30", "today"])
def test_date_that_is_none_is_a_usage_error(store_url: str, fx_file: Path, word: str) -> None:
    with pytest.raises(SystemExit) as caught:
        run(store_url, "fx", str(fx_file), "--date", word)
    assert caught.value.code == 2


def test_missing_file_exits_2_and_makes_no_store(
    store_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(store_url, "fx", str(tmp_path / "missing.csv")) == 2
    assert "No such file" in capsys.readouterr().err
    assert not (tmp_path / "desk").exists()


def test_unavailable_store_exits_1_in_one_line(fx_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("postgresql://desk@127.0.0.1:1/desk", "fx", str(fx_file)) == 1
    assert capsys.readouterr().err.count("\n") == 1
