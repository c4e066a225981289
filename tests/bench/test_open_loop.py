from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.open_loop import Answers, OpenLoop, read_head, summary
from bench.processes import BenchError

HIT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 5\r\n\r\nhello"
NOT_MODIFIED = b'HTTP/1.1 304 Not Modified\r\nEtag: W/"x"\r\n\r\n'
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
STALL_SECONDS = 0.2


@given(st.lists(st.sampled_from([HIT, NOT_MODIFIED, EMPTY]), max_size=6), st.integers(1, 40))
def test_answers_are_found_however_the_bytes_arrive(sent: list[bytes], piece: int) -> None:
    stream, answers = b"".join(sent), Answers()
    found = [status for at in range(0, len(stream), piece) for status in answers.take(stream[at : at + piece])]
    assert found == [304 if one is NOT_MODIFIED else 200 for one in sent]


def test_an_answer_that_does_not_say_how_long_it_is_is_refused() -> None:
    with pytest.raises(BenchError):
        read_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")


def test_the_summary_is_the_percentiles() -> None:
    found = summary([float(n) for n in range(1, 1001)])
    assert (found.p50, found.p90, found.p99, found.p99_9, found.sent) == (500, 900, 990, 999, 1000)


@contextmanager
def select_runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        yield runner


class StallsOnce(asyncio.Protocol):
    """Answers its first request after STALL_SECONDS, the others at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._stalled = False

    def data_received(self, data: bytes) -> None:
        wait = 0.0 if self._stalled else STALL_SECONDS
        self._stalled = True
        asyncio.get_running_loop().call_later(wait, self._transport.write, HIT)


async def _asked_while_it_stalls() -> OpenLoop:
    """50 requests in 0.1 s over one connection."""
    server = await asyncio.get_running_loop().create_server(StallsOnce, "127.0.0.1", 0)
    async with server:
        client = OpenLoop([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], rate=500, seconds=0.1)
        await client.run(server.sockets[0].getsockname()[1], connections=1)
        await asyncio.sleep(0.05)  # both ends of the connection learn that it is closed
    return client


def test_a_stall_is_charged_to_everybody_who_came_meanwhile() -> None:
    """A closed loop would count one slow answer in fifty; here every request was due while the server stalled."""
    with select_runner() as runner:
        client = runner.run(_asked_while_it_stalls())
    assert len(client.latencies_ms) == 50
    assert client.errors == 0
    assert min(client.latencies_ms) > 1000 * (STALL_SECONDS - 0.1) - 5
