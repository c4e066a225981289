"""A hundred clients that miss one key at the same moment: how often is it computed?"""

from __future__ import annotations

import socket
from contextlib import ExitStack

from bench.lab import DESK, Lab
from bench.lines import Line, exactly, line
from bench.processes import BenchError
from bench.subject import NO_WARM_UPS, Question, Subject, serving

CLIENTS = 100
QUESTION = Question(("CUPS", "YCSO"))
PATIENCE_SECONDS = 60.0


def measure(lab: Lab) -> list[Line]:
    """The one line."""
    with serving(lab, lab.demo_store(DESK), variables=NO_WARM_UPS) as subject:
        subject.ask(Question(("EXO",)))  # the workers are there, and have imported everything
        before = _runs(subject)
        _stampede(subject)
        computations = max(count - before.get(name, 0) for name, count in _runs(subject).items())
    return [
        line(f"{CLIENTS} clients miss one key at once: computations", computations, "", exactly(1), "all answered 200")
    ]


def _runs(subject: Subject) -> dict[str, int]:
    return {name: section["runs"] for name, section in subject.status()["sections"].items()}


def _stampede(subject: Subject) -> None:
    request = f"GET {QUESTION.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", subject.port), PATIENCE_SECONDS))
            for _ in range(CLIENTS)
        ]
        for client in clients:
            client.sendall(request)
        statuses = {_status(client) for client in clients}
    if statuses != {b"200"}:
        raise BenchError(f"not every client was answered 200: {statuses}")


def _status(client: socket.socket) -> bytes:
    """The status of the answer, read to its end."""
    start = b""
    while chunk := client.recv(1 << 20):
        start = start or chunk[:12]
    return start[9:12]
