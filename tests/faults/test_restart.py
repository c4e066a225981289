"""Restarts: what was cached is served again at once, marked stale, whatever happened to the server or to its file."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from position_server.environment.disk_format import FORMAT, MAGIC, NUMBER
from tests.faults.gate import Gate, add_gate
from tests.servers import NO_WARM_UPS, ServerProcess, copy_of_the_project, serving, until

SOD = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS,YCSO", "time_of_day": "SOD"}  # a warm-up's
OTHER = {"env_date": "2025-10-29", "pos_date": "2025-10-29", "books": "EXO", "time_of_day": "EOD"}  # nobody's
CONSTANTLY = {"POSITION_SERVER_CACHE__SNAPSHOT_SECONDS": "0.01"}
FILE, UNFINISHED = "environments.cache", "environments.cache.*.tmp"


def statuses(answer: Mapping[str, Any]) -> set[str]:
    return {section["metadata"]["status"] for section in answer["sections"].values()}


def data_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {name: section["data"] for name, section in answer["sections"].items() if name != "gate"}


def said(server: ServerProcess, message: str) -> list[dict[str, Any]]:
    return [line for line in server.log_lines() if line["message"] == message]


@pytest.fixture
def folder(tmp_path: Path, demo_store: Path) -> Path:
    (tmp_path / "var").mkdir()
    shutil.copy(demo_store, tmp_path / "var")
    return tmp_path / "var"


def test_a_restart_serves_old_environments_before_the_first_warm_up_ends(tmp_path: Path, folder: Path) -> None:
    root = copy_of_the_project(tmp_path / "project")
    add_gate(root)
    gate = Gate(tmp_path)

    def started() -> AbstractContextManager[ServerProcess]:
        return serving(folder, root=root, env=gate.env)

    with started() as server:
        server.wait_until_warm()
        before = {"warm": server.environment(**SOD), "asked": server.environment(**OTHER)}
        assert server.terminate() == 0

    gate.set("shut")  # no warm-up ends before it is opened
    with started() as server:
        after = {"warm": server.environment(**SOD), "asked": server.environment(**OTHER)}
        assert server.get("/health/ready").json()["entries_loaded"] == 4
        check_restored(before, after)
        check_recomputed(server, gate, after)


def check_restored(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for name, answer in after.items():
        assert data_of(answer) == data_of(before[name])
        assert answer["server_status"] == "warming_up"
        assert answer["cache_hit"] is True
        for section, old in zip(answer["sections"].values(), before[name]["sections"].values(), strict=True):
            receipt = section["metadata"]
            assert receipt["status"] == "stale"
            assert receipt["last_updated"] == old["metadata"]["last_updated"]
            assert receipt["stale_reason"] == "restored after a restart and not yet recomputed"
            assert section["error_stack"] == ""
        computed = min(datetime.fromisoformat(s["metadata"]["last_updated"]) for s in answer["sections"].values())
        age = (datetime.fromisoformat(answer["request_timestamp"]) - computed).total_seconds()
        assert answer["age_seconds"] == pytest.approx(age, abs=60.0)  # computed, and then encoded, sent, taken up
        assert answer["environment_id"] != before[name]["environment_id"]


def check_recomputed(server: ServerProcess, gate: Gate, restored: Mapping[str, Any]) -> None:
    with pytest.raises(httpx.TimeoutException):  # it waits for a computation, which the gate holds
        server.client.get("/position-environment", params={**SOD, "require": "fresh"}, timeout=0.3)
    assert server.environment(**SOD, max_age="3600")["cache_hit"]
    gate.set("open")
    until(lambda: server.get("/health/ready").json().get("mode") == "cache")
    for name, query in (("warm", SOD), ("asked", OTHER)):
        answer = until(lambda query=query: (a := server.environment(**query)) and statuses(a) == {"ok"} and a)
        assert data_of(answer) == data_of(restored[name])
        versions = {section["metadata"]["version"] for section in answer["sections"].values()}
        assert min(versions) > 1


def test_kill_9_in_the_middle_of_a_write_leaves_the_old_copy(folder: Path) -> None:
    with serving(folder, env=CONSTANTLY) as server:
        server.wait_until_warm()
        for _ in range(2):  # the second copy was begun after the first, and holds what was warm then
            wait_for_another_copy(server, folder)
        until(lambda: stopped_while_writing(server, folder))
        server.process.kill()
        server.process.wait(60)
    assert list(folder.glob(UNFINISHED)), "it was killed before it could rename"
    with serving(folder, env=NO_WARM_UPS) as server:
        assert statuses(server.environment(**SOD)) == {"stale"}
        assert said(server, "environments restored")[0]["environments"] >= 3
        assert not list(folder.glob(UNFINISHED))
        assert not (folder / f"{FILE}.bad").exists()


def wait_for_another_copy(server: ServerProcess, folder: Path) -> None:
    """Asks for something new, and waits until a copy has been written."""

    def written() -> int:
        return (folder / FILE).stat().st_mtime_ns if (folder / FILE).exists() else 0

    before = written()
    ask_for_something_new(server)
    until(lambda: written() != before)


def ask_for_something_new(server: ServerProcess) -> None:
    server.client.get("/position-environment", params={**SOD, "books": os.urandom(4).hex()})


def stopped_while_writing(server: ServerProcess, folder: Path) -> bool:
    """Whether the server, asked anew all the time, now stands still with a half-written file."""
    ask_for_something_new(server)
    if not any(folder.glob(UNFINISHED)):
        return False
    os.kill(server.process.pid, signal.SIGSTOP)
    until(lambda: "(stopped)" in Path(f"/proc/{server.process.pid}/status").read_text())
    if any(folder.glob(UNFINISHED)):
        return True
    os.kill(server.process.pid, signal.SIGCONT)
    return False


def test_a_damaged_copy_is_set_aside_and_the_start_is_a_cold_one(folder: Path) -> None:
    copy = MAGIC + NUMBER.pack(FORMAT) + os.urandom(1000)
    (folder / FILE).write_bytes(copy)
    with serving(folder, env=NO_WARM_UPS) as server:
        answer = server.environment(**SOD)
        assert (answer["cache_hit"], statuses(answer)) == (False, {"ok"})
        (line,) = said(server, "the cache on disk cannot be used")
        assert (line["level"], line["error"]) == ("warning", "its checksum is wrong")
        assert (folder / f"{FILE}.bad").read_bytes() == copy


def test_a_disk_that_takes_no_more_is_one_line_in_the_log_and_no_crash(folder: Path) -> None:
    with serving(folder, env={**NO_WARM_UPS, **CONSTANTLY}) as server:
        server.environment(**SOD)
        old = until(lambda: (folder / FILE).exists() and (folder / FILE).read_bytes())
        # Files of this process cannot grow beyond this: the log is far below, the copy above.
        _, most = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (100_000, most))
        server.environment(**OTHER)
        until(lambda: said(server, "the cache cannot be kept on disk"))
        for number in range(5):
            server.environment(**{**OTHER, "books": f"B{number}"})
        (line,) = said(server, "the cache cannot be kept on disk")
        assert (line["level"], line["error"]) == ("error", "File too large")
        assert "free some space" in line["cure"]
        assert (folder / FILE).read_bytes() == old
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (most, most))
        server.environment(**{**OTHER, "books": "YCSO"})
        until(lambda: said(server, "the cache is kept on disk again"))
        assert server.terminate() == 0
    assert not list(folder.glob(UNFINISHED))
