"""kill -9 at random moments, again and again: whatever was going on, the next start serves the same data.

Each cycle starts a server, asks it questions from several threads, kills it at a
moment drawn from the cycle's seed, and holds what the next server answers against the truth.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.servers import REPOSITORY, TWO_WORKERS, ServerProcess, serving

EOD = {"env_date": "2025-10-30", "pos_date": "2025-10-30", "books": "CUPS,YCSO", "time_of_day": "EOD"}
SAMPLED, ALL = 1, 20
CYCLES = [pytest.param(seed, marks=[] if seed < SAMPLED else [pytest.mark.slow]) for seed in range(ALL)]


@pytest.fixture(scope="module")
def truth(demo_server: ServerProcess) -> dict[str, object]:
    sections = demo_server.environment(**EOD)["sections"]
    return {name: section["data"] for name, section in sections.items()}


def ask_until_it_dies(server: ServerProcess, seed: int) -> None:
    dice = random.Random(seed)
    with httpx.Client(base_url=server.client.base_url, timeout=60) as client:
        try:
            while True:
                books = dice.sample(["CUPS", "YCSO", "EXO"], dice.randint(1, 3))
                if dice.random() < 0.5:
                    client.get("/position-environment", params={**EOD, "books": ",".join(books)})
                else:
                    client.post("/position-environment", json={**EOD, "books": books})
        except httpx.HTTPError:
            return


@pytest.mark.parametrize("seed", CYCLES)
def test_a_server_killed_at_any_moment_serves_the_same_after_it(
    seed: int, tmp_path: Path, demo_store: Path, truth: dict[str, object]
) -> None:
    shutil.copy(demo_store, tmp_path)
    dice = random.Random(seed)
    with serving(tmp_path, env=TWO_WORKERS) as server, ThreadPoolExecutor(3) as threads:
        asking = [threads.submit(ask_until_it_dies, server, dice.randrange(2**32)) for _ in range(3)]
        time.sleep(dice.uniform(0, 2))
        server.process.kill()
        for one in asking:
            one.result(120)
    with serving(tmp_path) as server:
        answer = server.environment(**EOD)
        assert {name: section["data"] for name, section in answer["sections"].items()} == truth
        assert server.terminate() == 0


@pytest.mark.parametrize("seed", CYCLES)
def test_a_demo_build_killed_at_any_moment_leaves_no_half_store(seed: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "position_server", "demo", "--data-dir", str(tmp_path)]
    build = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    time.sleep(random.Random(seed).uniform(0.2, 1.8))
    build.kill()
    build.wait(60)
    store = tmp_path / "position_server.sqlite"
    if not store.exists():
        subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)
    with sqlite3.connect(store) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (positions,) = connection.execute("SELECT count(*) FROM positions").fetchone()
    connection.close()
    assert positions == 8_421
