"""Redis for tests: a server of the test's own on a free port, which it may kill and start again.

Where the program is not installed a test is skipped, or fails with REQUIRE_SERVICES=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.ports import reserved_port
from tests.servers import until

START_SECONDS = 60.0


class RedisServer:
    """A Redis that keeps nothing, always on the same port."""

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.url = f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Its process's id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it, and returns when it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self._folder}
        command = [self._program, *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, START_SECONDS)

    def kill(self) -> None:
        """kill -9, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)

    def start_again(self) -> None:
        """Starts it unless it runs."""
        if self._process is None or self._process.poll() is not None:
            self.start()

    def client(self) -> redis.Redis:
        """A plain client."""
        return redis.Redis.from_url(self.url)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "redis.log").read_text()
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


@contextmanager
def own_redis(folder: Path) -> Iterator[RedisServer]:
    """A running server, killed at the end."""
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    with reserved_port() as port:
        server = RedisServer(program, folder, port)
        try:
            server.start()
            yield server
        finally:
            server.kill()
