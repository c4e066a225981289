"""Idle connections against a real server: those that say nothing go, those that ask stay."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import NO_WARM_UPS, ServerProcess, serving, until

QUESTION = b"GET /health/live HTTP/1.1\r\nHost: desk\r\n\r\n"


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast path", "handlers only"])
def impatient(
    request: pytest.FixtureRequest, demo_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server that closes a connection after half a second without a request."""
    folder = tmp_path_factory.mktemp("idle")
    shutil.copy(demo_store, folder)
    variables = {
        **NO_WARM_UPS,
        "POSITION_SERVER_SERVER__IDLE_CONNECTION_SECONDS": "0.5",
        "POSITION_SERVER_SERVER__FAST_PATH": request.param,
    }
    with serving(folder, env=variables) as server:
        yield server


@pytest.mark.parametrize("said", [b"", b"GET /health/live HTTP/1.1\r\nHost:"], ids=["nothing", "half a request"])
def test_a_connection_without_a_whole_request_is_closed(impatient: ServerProcess, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        connection.sendall(said)
        assert connection.recv(100) == b""


def test_a_connection_is_closed_when_it_has_been_idle_after_its_last_answer(impatient: ServerProcess) -> None:
    until(lambda: is_closed_after_its_questions(impatient))


def is_closed_after_its_questions(server: ServerProcess) -> bool:
    """Whether it answered first: not so where this process is held up for longer than the server waits."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        for _ in range(20):
            connection.sendall(QUESTION)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                return False
        return connection.recv(4096) == b""
