"""Real servers for tests: `python -m position_server serve` as a child process on a free port."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from position_server.settings import load_settings

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 120.0
# Quotes that move, and a provider's process for each server, are for the tests that ask for them.
NO_MARKET_DATA = {"POSITION_SERVER_MARKET_DATA__ENABLED": "false"}
# A worker costs a second of the processor at every start: two are for the tests in which one is held up.
ONE_WORKER = {"POSITION_SERVER_COMPUTE__WORKERS": "1"}
TWO_WORKERS = {"POSITION_SERVER_COMPUTE__WORKERS": "2"}
NO_WARM_UPS = {"POSITION_SERVER_WARMUP_CONFIGS": "[]"}
LASTING = {"POSITION_SERVER_CACHE__TTL_SECONDS": json.dumps(dict.fromkeys(("SOD", "EOD", "LIVE"), 86_400.0))}


@dataclass
class ServerProcess:
    """A running server, its log, and a client to ask it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    client: httpx.Client

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        """A GET with these query arguments."""
        return self.client.get(path, params=arguments or None)

    def environment(self, **arguments: Any) -> dict[str, Any]:
        """The environment, which must be answered 200."""
        response = self.get("/position-environment", **arguments)
        assert response.status_code == 200, response.text
        return response.json()

    def status(self) -> dict[str, Any]:
        """`/status`."""
        return self.get("/status").json()

    def log_lines(self) -> list[dict[str, Any]]:
        """What it logged so far; lines that are no JSON object fail the test that asks."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.strip()]

    def wait_until_warm(self, seconds: float = 180.0) -> None:
        """Waits until every warm-up has run once."""
        until(lambda: self.status()["server_status"] == "warmed_up", seconds)

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def calm() -> dict[str, str]:
    """The shipped warm-ups, run once at the start and not again for hours, and what they computed lasts as long.

    Their beats are counted from the opening of a window, by the machine's clock: as shipped, two answers that a test
    compares may come before and after one. Here the windows opened an hour ago, for 22 hours.
    """
    shipped = load_settings(REPOSITORY / "config.py")
    opened = datetime.now(ZoneInfo(shipped.timezone)) - timedelta(hours=1)
    window = {"start_time": f"{opened:%H:%M}", "end_time": f"{opened - timedelta(hours=2):%H:%M}"}
    return {
        **LASTING,
        "POSITION_SERVER_WARMUP_CONFIGS": json.dumps(
            [{**one, **window, "interval_seconds": 86_400} for one in shipped.warmup_configs]
        ),
    }


def until(condition: Any, seconds: float = 60.0) -> Any:
    """Waits for a true value of `condition()` and returns it; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@contextmanager
def serving(
    data_dir: Path, *, root: Path = REPOSITORY, env: Mapping[str, str] | None = None, flags: tuple[str, ...] = ()
) -> Iterator[ServerProcess]:
    """A server on `data_dir`, from the sources at `root`; killed at the end if it still runs."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "server.log"
    command = [sys.executable, "-m", "position_server", "serve", "--port", "0", "--data-dir", str(data_dir), *flags]
    with log.open("wb") as sink:
        variables = {**os.environ, **NO_MARKET_DATA, **ONE_WORKER, **(env or {})}
        process = subprocess.Popen(command, cwd=root, env=variables, stderr=sink, stdout=sink)
    try:
        port = _listening_port(process, log)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield ServerProcess(process, port, log, client)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(60)


def _listening_port(process: subprocess.Popen[bytes], log: Path) -> int:
    def port() -> int | None:
        assert process.poll() is None, f"the server ended: {log.read_text()}"
        for line in log.read_text().splitlines():
            if '"message":"listening"' in line:
                return int(json.loads(line)["port"])
        return None

    return int(until(port, START_SECONDS))


def copy_of_the_project(target: Path) -> Path:
    """The package and its configurations in a folder of their own, to be changed by a test.

    What Python has compiled comes along, but for what it is just writing.
    """
    unfinished = shutil.ignore_patterns("*.pyc.*")
    shutil.copytree(REPOSITORY / "position_server", target / "position_server", ignore=unfinished)
    shutil.copy(REPOSITORY / "config.py", target / "config.py")
    shutil.copytree(REPOSITORY / "configs", target / "configs")
    return target
