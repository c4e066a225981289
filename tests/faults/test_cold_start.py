"""Cold starts: when a load balancer may send traffic, whatever becomes of the first warm-ups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.gate import Gate, add_gate
from tests.servers import ServerProcess, copy_of_the_project, serving, until

SOD = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS", "time_of_day": "SOD"}
WARM_UP = {
    "name": "SOD_MAIN",
    "params": {**SOD, "books": ["CUPS"]},
    "start_time": "00:00",
    "end_time": "00:00",
    "interval_seconds": 0.1,
    "days": "all",
}
SETTINGS = {
    "POSITION_SERVER_STORE__DEMO": "false",
    "POSITION_SERVER_WARMUP_CONFIGS": json.dumps([WARM_UP]),
    "POSITION_SERVER_COMPUTE__WORKERS": "2",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the gate as its only section."""
    root = copy_of_the_project(tmp_path_factory.mktemp("gate") / "project")
    add_gate(root, alone=True)
    return root


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def cold(
    project: Path, gate: Gate, data: Path, env: Mapping[str, str] | None = None
) -> AbstractContextManager[ServerProcess]:
    """A server that starts on an empty folder."""
    return serving(data / "var", root=project, env={**SETTINGS, **gate.env, **(env or {})})


def ready(server: ServerProcess) -> tuple[int, dict[str, Any]]:
    response = server.get("/health/ready")
    return response.status_code, response.json()


def test_slow_warm_ups_make_it_wait_and_then_it_is_ready_by_its_cache(
    project: Path, gate: Gate, tmp_path: Path
) -> None:
    gate.set("shut")
    with cold(project, gate, tmp_path, {"POSITION_SERVER_SERVER__READY_AFTER_SECONDS": "600"}) as server:
        for _ in range(3):
            code, answer = ready(server)
            assert (code, answer.pop("status")) == (503, "initializing")
            assert 0 < answer.pop("elapsed_seconds") < 600
            assert answer == {"entries_loaded": 0, "cache_entries": 0}
            assert server.get("/health/live").json() == {"status": "alive"}
        gate.set("open")
        until(lambda: ready(server)[0] == 200)
        assert ready(server)[1] == {"status": "ready", "mode": "cache", "cache_entries": 1}
        assert server.environment(**SOD)["cache_hit"]


def test_failing_warm_ups_make_it_ready_by_the_store_until_one_succeeds(
    project: Path, gate: Gate, tmp_path: Path
) -> None:
    gate.set("broken")
    with cold(project, gate, tmp_path) as server:
        until(lambda: ready(server)[0] == 200)
        answer = ready(server)[1]
        assert (answer["mode"], answer["error"]) == ("db_fallback", "warm-ups failed: SOD_MAIN")
        assert server.environment(**SOD)["sections"]["gate"]["metadata"]["status"] == "error"
        gate.set("open")
        until(lambda: ready(server)[1]["mode"] == "cache")
        gate.set("broken")
        until(lambda: server.status()["warmup_threads"]["SOD_MAIN"]["last_error"])
        assert ready(server)[1]["mode"] == "cache", "its last good data are cached"


def test_after_its_patience_it_is_ready_by_the_store_and_computes_within_the_queue_s_bound(
    project: Path, gate: Gate, tmp_path: Path
) -> None:
    gate.set("shut")
    env = {"POSITION_SERVER_SERVER__READY_AFTER_SECONDS": "0.5", "POSITION_SERVER_COMPUTE__QUEUE": "4"}
    with cold(project, gate, tmp_path, env) as server, ThreadPoolExecutor(20) as threads:
        until(lambda: ready(server)[0] == 200)
        assert ready(server)[1] == {
            "status": "ready",
            "mode": "db_fallback",
            "message": "not warm after 0.5 s",
            "cache_entries": 0,
        }
        until(lambda: "gate" in server.status()["sections"])
        asked = [threads.submit(ask, server, f"BOOK{number}") for number in range(20)]
        until(lambda: sum(one.done() for one in asked) == 16)
        assert server.status()["compute"]["queue"]["miss"] == 4
        gate.set("open")
        codes = sorted(one.result(120).status_code for one in asked)
    assert codes == [200] * 4 + [503] * 16


def ask(server: ServerProcess, book: str) -> httpx.Response:
    response = httpx.get(f"{server.client.base_url}/position-environment", params={**SOD, "books": book}, timeout=120)
    if response.status_code == 503:
        assert response.json()["error_code"] == "busy"
        assert response.headers["Retry-After"] == "1"
    return response


def test_a_store_that_is_down_makes_it_ready_by_the_store_and_unhealthy(tmp_path: Path, demo_store: Path) -> None:
    store = tmp_path / "position_server.sqlite"
    env = {
        "POSITION_SERVER_STORE__DEMO": "false",
        "POSITION_SERVER_CACHE__ERROR_TTL_SECONDS": "0.1",
        "POSITION_SERVER_REDIS_URL": "redis://:geheim@127.0.0.1:1/0",  # nobody is there, and nobody is missed
    }
    with serving(tmp_path, env=env) as server:
        until(lambda: ready(server)[0] == 200)
        assert ready(server)[1]["mode"] == "db_fallback"
        assert "SOD_MAIN" in ready(server)[1]["error"]
        health = server.get("/health")
        assert (health.status_code, health.json()["database"]["status"]) == (503, "down")
        sections = server.environment(**SOD)["sections"].values()
        assert {section["metadata"]["status"] for section in sections} == {"error"}
        beside = tmp_path / "beside.sqlite"
        beside.write_bytes(demo_store.read_bytes())
        beside.rename(store)
        until(lambda: server.get("/health").status_code == 200)
        health = server.get("/health")
        assert health.json()["services"]["redis"]["status"] == "down"
        assert "geheim" not in health.text + server.log.read_text()
        until(lambda: {s["metadata"]["status"] for s in server.environment(**SOD)["sections"].values()} == {"ok"})
