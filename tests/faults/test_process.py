"""The server as a process: starting wrong, stopping right, being killed, and losing its store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import NO_WARM_UPS, REPOSITORY, ServerProcess, serving, until

SOD = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS", "time_of_day": "SOD"}
SHORT_LIVES = {
    "POSITION_SERVER_CACHE__TTL_SECONDS": json.dumps({"SOD": 0.05, "EOD": 0.05, "LIVE": 0.05}),
    "POSITION_SERVER_CACHE__GRACE_SECONDS": json.dumps({"SOD": 0, "EOD": 0, "LIVE": 0}),
    "POSITION_SERVER_CACHE__ERROR_TTL_SECONDS": "0.05",
}


def command(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "position_server", *words],
        cwd=REPOSITORY,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of a start that was refused."""
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("env", "key"),
    [
        ({"POSITION_SERVER_SERVER__PORT": "eighty"}, 'SERVER["port"]'),
        ({"POSITION_SERVER_SERVER__PROT": "80"}, 'SERVER["prot"]'),
        ({"POSITION_SERVER_TIMEZONE": "Mars/Olympus"}, "TIMEZONE"),
        ({"POSITION_SERVER_CALENDAR": "MARS"}, "CALENDAR"),
        ({"POSITION_SERVER_BUSINESS_DATE": "2025-02-30"}, "BUSINESS_DATE"),
        ({"POSITION_SERVER_STORE__URL": "oracle://x"}, 'STORE["url"]'),
    ],
)
def test_a_bad_setting_is_one_line_naming_its_key(tmp_path: Path, env: dict[str, str], key: str) -> None:
    assert key in refused(command("serve", "--data-dir", str(tmp_path), **env))


@pytest.mark.parametrize("text", ["SERVER = {", "COLOUR = 'red'", "SERVER = {'port': 70000}", "raise OSError('no')"])
def test_a_bad_config_file_is_one_line(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.py"
    config.write_text(text + "\n")
    assert "position-server: " in refused(command("serve", "--config", str(config), "--data-dir", str(tmp_path)))


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = command("serve", "--port", port, "--data-dir", str(tmp_path), POSITION_SERVER_STORE__DEMO="false")
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr.splitlines()[-1]


def test_an_address_that_others_reach_is_refused_unless_allowed(tmp_path: Path) -> None:
    line = refused(command("serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path)))
    assert "ALLOW_ANONYMOUS" in line


def test_a_data_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "--data-dir" in refused(command("serve", "--data-dir", str(tmp_path / "file" / "var")))


def test_a_missing_demo_store_is_built_at_start(tmp_path: Path) -> None:
    with serving(tmp_path / "var") as server:
        until(lambda: server.status()["cache"]["size"] == 3)
        assert (tmp_path / "var" / "position_server.sqlite").exists()
        assert server.environment(**SOD)["sections"]["bonds"]["metadata"]["status"] == "ok"
        assert server.terminate() == 0


def test_a_server_killed_while_its_demo_is_built_leaves_no_child_and_no_store(tmp_path: Path) -> None:
    until(lambda: killed_in_time(tmp_path))
    assert not (tmp_path / "position_server.sqlite").exists()


def killed_in_time(data_dir: Path) -> bool:
    """Whether a server was killed before its demo was built; it leaves no child in either case."""
    command = [sys.executable, "-m", "position_server", "serve", "--port", "0", "--data-dir", str(data_dir)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    builder = until(lambda: children.read_text().split())[0]
    process.kill()
    built = (data_dir / "position_server.sqlite").exists()  # this process was held up for as long
    process.wait(60)
    until(lambda: not Path(f"/proc/{builder}/exe").exists())
    if built:
        (data_dir / "position_server.sqlite").unlink()
    return not built


def test_the_demos_warm_ups_make_it_warm(demo_store: Path, tmp_path: Path) -> None:
    shutil.copy(demo_store, tmp_path)
    with serving(tmp_path) as server:
        server.wait_until_warm()
        assert server.get("/health/ready").json() == {"status": "ready", "mode": "cache", "cache_entries": 3}


def test_a_second_sigterm_ends_at_once(demo_store: Path, tmp_path: Path) -> None:
    shutil.copy(demo_store, tmp_path)
    with serving(tmp_path, env=NO_WARM_UPS) as server:
        os.kill(server.process.pid, signal.SIGSTOP)  # both signals wait for it
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        os.kill(server.process.pid, signal.SIGCONT)
        assert server.process.wait(60) in {0, 1}


@pytest.fixture
def short_lived(demo_store: Path, tmp_path: Path) -> Path:
    shutil.copy(demo_store, tmp_path)
    return tmp_path


def test_cached_answers_outlive_the_store_and_recover_with_it(short_lived: Path) -> None:
    store, away = short_lived / "position_server.sqlite", short_lived / "away.sqlite"
    with serving(short_lived, env={**NO_WARM_UPS, **SHORT_LIVES}) as server:
        good = server.environment(**SOD)
        store.rename(away)
        time.sleep(0.1)
        stale = server.environment(**SOD)
        for name, section in stale["sections"].items():
            assert section["metadata"]["status"] == "stale"
            assert section["data"] == good["sections"][name]["data"]
            assert "StoreUnavailable" in section["error_stack"]
        never_seen = server.environment(**{**SOD, "books": "EXO"})
        assert {s["metadata"]["status"] for s in never_seen["sections"].values()} == {"error"}
        assert server.get("/position-environment", **SOD, require="fresh").status_code == 503
        assert not store.exists(), "reading must not make an empty store"
        away.rename(store)
        time.sleep(0.1)
        again = server.environment(**SOD)
        assert {s["metadata"]["status"] for s in again["sections"].values()} == {"ok"}


def test_a_killed_server_starts_again_on_its_store(short_lived: Path) -> None:
    with serving(short_lived, env=NO_WARM_UPS) as server:
        before = server.environment(**SOD)["sections"]["futures"]["data"]
        server.process.kill()
        server.process.wait(60)
    with serving(short_lived, env=NO_WARM_UPS) as server:
        assert server.environment(**SOD)["sections"]["futures"]["data"] == before


def test_a_broken_warm_up_entry_harms_no_other(short_lived: Path) -> None:
    good = {
        "name": "GOOD",
        "params": {**SOD, "books": ["CUPS"]},
        "start_time": "00:00",
        "end_time": "00:00",
        "interval_seconds": 60,
        "days": "all",
    }
    entries = [good, {**good, "name": "BAD", "interval_seconds": -1}, {**good, "name": "WORSE", "params": {}}]
    with serving(short_lived, env={"POSITION_SERVER_WARMUP_CONFIGS": json.dumps(entries)}) as server:
        server.wait_until_warm()
        threads = server.status()["warmup_threads"]
        assert {name: state["status"] for name, state in threads.items()} == {
            "GOOD": "idle",
            "BAD": "config_error",
            "WORSE": "config_error",
        }
        assert "interval_seconds" in threads["BAD"]["last_error"]


def test_the_log_is_json_lines(short_lived: Path) -> None:
    with serving(short_lived, env=NO_WARM_UPS) as server:
        server.environment(**SOD)
        assert server.terminate() == 0
        lines = server.log_lines()
    assert all(line.keys() >= {"timestamp", "level", "logger", "message"} for line in lines)
    assert [line["message"] for line in lines][-1] == "stopped"


def test_the_serving_process_never_imports_what_computes(demo_server: ServerProcess) -> None:
    """What is mapped into the process tells of every compiled library it ever loaded, static imports or not."""
    demo_server.client.post("/position-environment", json={**SOD, "books": ["CUPS"]})
    maps = Path(f"/proc/{demo_server.process.pid}/maps").read_text()
    assert "orjson" in maps
    for library in ("numpy", "QuantLib", "scipy", "nanoarrow", "adbc"):
        assert library not in maps
