"""kill -9 at random moments of a simulation: it goes on where it stood and comes to what it would have come to."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from position_server.compute import tasks
from position_server.compute.pool import ComputePool, Kind
from position_server.simulation.calls import ModelDayCall
from position_server.simulation.model_day import Workbench, run_model_day
from position_server.store.engine import open_store
from tests.house.sources import REPOSITORY
from tests.servers import until
from tests.simulation import run_job
from tests.simulation.clients import ONE_WEEK, WEEK
from tests.simulation.conftest import desk, market_file  # noqa: F401 fixtures
from tests.simulation.desk import CALENDAR, Desk, bars, config, fill

KILLS = 5  # of one job
JOBS = [pytest.param(seed, marks=[] if seed == 0 else [pytest.mark.slow]) for seed in range(7)]  # 5 kills, and 30 more
SUMMER = CALENDAR.between(date(2025, 6, 2), date(2025, 8, 29))
MODELS = [
    {"name": "equal", "kind": "equal_weight", "rebalance": "daily"},
    {"name": "winners", "kind": "momentum", "lookback_days": 5, "hold": 2, "rebalance": "daily"},
]


@dataclass(frozen=True)
class Undisturbed:
    """A folder to begin from, what a job in it comes to when nothing happens, and how long it takes."""

    folder: Path
    outcome: dict[str, list[Any]]
    seconds: float


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.sqlite'}"


def outcome_in(folder: Path) -> dict[str, list[Any]]:
    with open_store(url_in(folder)) as store:
        return Desk(store, url_in(folder), folder).outcome()


def start_job(folder: Path) -> subprocess.Popen[str]:
    """The job in a process of its own; returns when it has begun."""
    command = [sys.executable, run_job.__file__, url_in(folder), str(folder)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() in ("running\n", "completed\n")
    return process


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    empty, folder = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("undisturbed")
    with open_store(url_in(empty)) as store:
        store.upgrade()
        fill(store, bars(days=SUMMER))
        Desk(store, url_in(empty), empty).configure(config(*MODELS, costs={"bps": 3, "per_trade": 1}))
    shutil.copytree(empty, folder, dirs_exist_ok=True)
    job = start_job(folder)
    since = time.monotonic()
    output, _ = job.communicate()
    assert output.splitlines()[-1] == "completed"
    return Undisturbed(empty, outcome_in(folder), time.monotonic() - since)


@pytest.mark.parametrize("seed", JOBS)
def test_a_job_killed_again_and_again_ends_as_if_nothing_had_been(
    seed: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    shutil.copytree(undisturbed.folder, tmp_path, dirs_exist_ok=True)
    before = 0
    for _ in range(KILLS):
        job = start_job(tmp_path)
        time.sleep(dice.uniform(0, 0.3) * undisturbed.seconds)
        job.kill()
        job.communicate()
        after = len(outcome_in(tmp_path)["sim_positions"])
        assert after >= before, "a finished model-day is lost"
        before = after
    last = start_job(tmp_path)
    output, _ = last.communicate()
    assert output.splitlines()[-1:] in (["completed"], []), "it was completed now, or before"
    assert outcome_in(tmp_path) == undisturbed.outcome


# --- real workers ----------------------------------------------------------------------------------------------------


def slow_model_day(bench: Workbench, call: ModelDayCall) -> float:
    """A model-day that takes a while, in the worker."""
    time.sleep(0.2)
    return run_model_day(bench, call)


def hanging_model_day(bench: Workbench, call: ModelDayCall) -> float:
    """A model-day that never ends, on the second day."""
    if call.day == WEEK[1]:
        time.sleep(600)
    return run_model_day(bench, call)


class OtherFunction(ComputePool):
    """One worker, which runs model-days by another function."""

    def __init__(self, url: str, function: str) -> None:
        super().__init__(tasks.OPEN_SIMULATION, (url, "USD"), workers=1, queue=8, niceness=0)
        self._function = f"tests.faults.test_simulation:{function}"

    def submit(self, kind: Kind, work: Any) -> Any:
        return super().submit(kind, [replace(task, name=self._function) for task in work])


def test_a_worker_killed_in_the_middle_of_a_model_day_costs_that_try_alone(desk: Desk) -> None:  # noqa: F811
    with desk.service(open_pool=lambda: OtherFunction(desk.url, "slow_model_day")) as service:
        job_id = service.trigger(ONE_WEEK).job.job_id  # type: ignore[union-attr]
        running = threading.Thread(target=service.run, args=(job_id,))
        running.start()
        until(lambda: service.progress(job_id)["progress"]["completed"] >= 1, 60)
        for worker in multiprocessing.active_children():
            worker.kill()
        running.join(60)
        assert service.progress(job_id)["status"] == "completed"
    assert len(desk.rows("sim_positions")) == len(WEEK)


@pytest.mark.slow
def test_a_model_day_that_hangs_is_ended_at_its_timeout_and_the_others_go_on(desk: Desk) -> None:  # noqa: F811
    pool = OtherFunction(desk.url, "hanging_model_day")
    with desk.service(open_pool=lambda: pool, model_day_timeout_seconds=15.0) as service:
        job_id = service.trigger(ONE_WEEK).job.job_id  # type: ignore[union-attr]
        assert service.run(job_id) == "partial"
        found = [(one["status"], one["error"]) for one in service.status(job_id)["progress"]["details"]]
    assert found[1] == ("failed", "It did not finish within 15 s and was ended.")
    assert [status for status, _ in found].count("completed") == len(WEEK) - 1
