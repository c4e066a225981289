"""The same server on PostgreSQL: the demo desk loaded there answers what it answers on SQLite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import fresh_schema
from tests.servers import REPOSITORY, ServerProcess, calm, serving

ASKED = {"pos_date": "2025-10-29", "books": "CUPS,YCSO,EXO"}


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("postgres")
    with fresh_schema() as url:
        env = {"POSITION_SERVER_STORE__URL": url}
        command = [sys.executable, "-m", "position_server", "demo", "--data-dir", str(folder)]
        subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **env}, check=True)
        with serving(folder, env={**env, **calm()}) as server:
            server.wait_until_warm()
            yield server


def close_to(expected: Any) -> Any:
    """The same value, floats to 12 digits: sums over rows may run in another order."""
    if isinstance(expected, dict):
        return {key: close_to(value) for key, value in expected.items()}
    if isinstance(expected, list):
        return [close_to(value) for value in expected]
    return pytest.approx(expected, rel=1e-12, abs=1e-9) if isinstance(expected, float) else expected


@pytest.mark.parametrize(
    ("env_date", "time_of_day"), [("2025-10-30", "SOD"), ("2025-10-30", "LIVE"), ("2025-10-13", "EOD")]
)
def test_answers_are_those_of_sqlite(
    postgres_server: ServerProcess, demo_server: ServerProcess, env_date: str, time_of_day: str
) -> None:
    asked = {**ASKED, "env_date": env_date, "time_of_day": time_of_day}
    ours, theirs = (server.environment(**asked)["sections"] for server in (demo_server, postgres_server))
    for name, section in ours.items():
        assert theirs[name]["metadata"]["status"] == "ok"
        for document in (section, theirs[name]):
            for row in document["data"]["positions"]:
                row.pop("quote_age_seconds", None)  # to the moment of the computation
        assert theirs[name]["data"] == close_to(section["data"])


@pytest.mark.parametrize("name", ["it's", 'say "hi"', "ünï-코드", "'; DROP TABLE positions; --", "%s", "\\"])
def test_books_of_any_name_are_answered(postgres_server: ServerProcess, name: str) -> None:
    answer = postgres_server.environment(env_date="2025-10-30", pos_date="2025-10-29", time_of_day="SOD", books=name)
    assert answer["sections"]["equities"]["data"]["warnings"] == [f"no positions on 2025-10-29 in {name}"]


def test_no_data_are_written_beside_the_database(postgres_server: ServerProcess) -> None:
    files = [path for path in Path(postgres_server.log).parent.rglob("*") if path.is_file() and path.stat().st_size]
    assert [path.name for path in files] == ["server.log"]
