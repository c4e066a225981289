"""Open-loop latency: requests leave on a schedule whether earlier ones were answered or not.

Latency counts from the moment a request was due, not from when a connection was free for it: a server that stalls is
charged for everybody who would have come meanwhile. Runs as a process of its own, pinned beside the server's core:
`python -m bench.open_loop --port 8888 --path /health/live --rate 500 --seconds 2 --connections 16` prints JSON.

It waits with select(2): epoll, and so uvloop, rounds waits to whole milliseconds, which is longer than an answer takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

from bench.lines import percentile
from bench.processes import REPOSITORY, BenchError, on_core

LAST_ANSWERS_SECONDS = 5.0
PERCENTS = (50, 90, 99, 99.9)


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from when a request was due to the last byte of its answer."""

    p50: float
    p90: float
    p99: float
    p99_9: float
    sent: int


class Answers:
    """Finds the ends of answers with Content-Length in a stream of bytes. Knows nothing of sockets."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def take(self, data: bytes) -> list[int]:
        """The statuses of the answers that end within these bytes."""
        ended: list[int] = []
        while data:
            if self._left:
                used = min(self._left, len(data))
                self._left -= used
                data = data[used:]
            else:
                self._head += data
                head, separator, data = self._head.partition(b"\r\n\r\n")
                if not separator:
                    return ended
                self._head = b""
                self._status, self._left = read_head(head)
            if not self._left:
                ended.append(self._status)
        return ended


def read_head(head: bytes) -> tuple[int, int]:
    """Status and length of the body. Raises BenchError where the answer does not say how long it is."""
    status = int(head[9:12])
    for field in head.split(b"\r\n")[1:]:
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            return status, int(value)
    if status in (204, 304):
        return status, 0
    raise BenchError("an answer without Content-Length")


class Connection(asyncio.Protocol):
    """One connection, which asks one thing at a time."""

    def __init__(self, client: OpenLoop) -> None:
        self._client = client
        self._answers = Answers()
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._client.idle.append(self)

    def ask(self, request: bytes, due: float) -> None:
        """Sends the request that was due at that time."""
        self._due = due
        self._transport.write(request)  # type: ignore[attr-defined]  # asyncio hands a Transport over

    def data_received(self, data: bytes) -> None:
        for status in self._answers.take(data):
            self._client.answered(self, status, self._due)

    def connection_lost(self, _: Exception | None) -> None:
        self._client.lost(self)


class OpenLoop:
    """The schedule: `rate` requests a second, in turn over `requests`, each on whichever connection is idle."""

    def __init__(self, requests: Sequence[bytes], rate: float, seconds: float) -> None:
        self._requests = requests
        self._rate = rate
        self._total = int(rate * seconds)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._done = asyncio.Event()
        self._sent = 0
        self.idle: deque[Connection] = deque()
        self.latencies_ms: list[float] = []
        self.errors = 0

    async def run(self, port: int, connections: int) -> None:
        """Opens the connections, sends everything, and waits for the last answers."""
        made = [
            await self._loop.create_connection(lambda: Connection(self), "127.0.0.1", port) for _ in range(connections)
        ]
        self._start = self._loop.time() + 0.05
        self._loop.call_at(self._start, self._tick)
        try:
            await asyncio.wait_for(self._done.wait(), self._total / self._rate + LAST_ANSWERS_SECONDS)
        except TimeoutError:
            self.errors += self._total - len(self.latencies_ms)
        for transport, _ in made:
            transport.abort()

    def _tick(self) -> None:
        now = self._loop.time()
        while self._sent < self._total and (due := self._start + self._sent / self._rate) <= now:
            self._waiting.append((self._requests[self._sent % len(self._requests)], due))
            self._sent += 1
        self._send()
        if self._sent < self._total:
            self._loop.call_at(self._start + self._sent / self._rate, self._tick)

    def _send(self) -> None:
        while self._waiting and self.idle:
            self.idle.popleft().ask(*self._waiting.popleft())

    def answered(self, connection: Connection, status: int, due: float) -> None:
        """Counts an answer and lets its connection ask again."""
        self.latencies_ms.append((self._loop.time() - due) * 1e3)
        self.errors += status not in (200, 304)
        self.idle.append(connection)
        self._send()
        if len(self.latencies_ms) == self._total:
            self._done.set()

    def lost(self, connection: Connection) -> None:
        """A connection that the server closed; its request, if any, stays unanswered."""
        if connection in self.idle:
            self.idle.remove(connection)


def summary(latencies_ms: Sequence[float]) -> Latency:
    """The percentiles."""
    p50, p90, p99, p99_9 = (percentile(latencies_ms, percent) for percent in PERCENTS)
    return Latency(p50, p90, p99, p99_9, len(latencies_ms))


def request(port: int, path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


def measure(
    port: int, paths: Sequence[str], *, rate: float, seconds: float, core: int, connections: int = 16
) -> Latency:
    """One run in a pinned process of its own. Raises BenchError where an answer failed or never came."""
    with NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("\n".join(paths))
        listed.flush()
        numbers = ["--port", port, "--rate", rate, "--seconds", seconds, "--connections", connections]
        command = [sys.executable, "-m", "bench.open_loop", "--paths", listed.name, *map(str, numbers)]
        done = subprocess.run(
            on_core(command, core), cwd=REPOSITORY, capture_output=True, text=True, timeout=seconds + 30, check=False
        )
    if done.returncode:
        raise BenchError(f"open loop: {done.stderr.strip().splitlines()[-1]}")
    return Latency(**json.loads(done.stdout))


async def _main(args: argparse.Namespace, paths: Sequence[str]) -> None:
    client = OpenLoop([request(args.port, path) for path in paths], args.rate, args.seconds)
    await client.run(args.port, args.connections)
    if client.errors:
        raise SystemExit(f"{client.errors} of {int(args.rate * args.seconds)} requests failed")
    found = summary(client.latencies_ms)
    print(json.dumps({name: getattr(found, name) for name in Latency.__slots__}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Open-loop latency of one server.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/", help="what to ask")
    parser.add_argument("--paths", help="a file with one path a line, asked in turn")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    asked = Path(arguments.paths).read_text().split("\n") if arguments.paths else [arguments.path]
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_main(arguments, asked))
