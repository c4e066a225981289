"""Streams of progress: silence, other processes, a store that is away, readers who are stuck."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application

from position_server.clock import SystemClock
from position_server.errors import Busy, NotFound, StoreUnavailable
from position_server.logs import AccessLog
from position_server.metrics import Metrics
from position_server.web.base import InFlight, WebContext
from position_server.web.reads import Reads
from position_server.web.simulation import StreamHandler
from position_server.web.streams import COMMENT, Bounds, Streams
from tests.fakes import open_guard

JOB = "job-1"
QUICK = Bounds(least=0.001, look=0.01, silent=60.0)


class Simulated:
    """The simulation room as far as streams know it: one job, changed by the test, here or by another process."""

    def __init__(self, **first: Any) -> None:
        self._lock = threading.Lock()  # guards the two below: read on threads
        self._job = {"job_id": JOB, "status": "running", "completed_at": None, "done": 0, **first}
        self._trouble: Exception | None = None
        self.reads = 0
        self.receivers: list[Callable[[str], None]] = []

    def progress(self, job_id: str) -> dict[str, Any]:
        with self._lock:
            self.reads += 1
            if self._trouble is not None:
                raise self._trouble
            if job_id != JOB:
                raise NotFound(f"There is no job {job_id!r}.")
            return dict(self._job)

    def subscribe(self, receive: Callable[[str], None]) -> Callable[[], None]:
        self.receivers.append(receive)
        return lambda: self.receivers.remove(receive)

    def change(self, *, is_told: bool = True, **values: Any) -> None:
        """Another state of the job; by another process where nobody is told."""
        with self._lock:
            self._job |= values
        for receive in [*self.receivers] if is_told else []:
            receive(JOB)

    def fail(self, error: Exception | None) -> None:
        with self._lock:
            self._trouble = error


def run(scenario: Callable[[Simulated, Streams], Any], bounds: Bounds = QUICK) -> None:
    """Runs it on a loop of its own."""

    async def whole() -> None:
        with ThreadPoolExecutor(4) as threads:
            simulated = Simulated()
            await asyncio.wait_for(scenario(simulated, Streams(simulated, Reads(threads), bounds)), 60)
            assert simulated.receivers == [], "who hung up is told nothing any more"

    asyncio.run(whole())


def states(event: bytes) -> list[dict[str, Any]]:
    """The data of the events in these bytes."""
    return [orjson.loads(line[len("data: ") :]) for line in event.decode().splitlines() if line.startswith("data: ")]


async def upto(shown: AsyncIterator[bytes], done: int) -> list[int]:
    """What the events say up to the one that says `done`."""
    seen = []
    async for event in shown:
        seen += [state["done"] for state in states(event)]
        if seen[-1] == done:
            return seen
    raise AssertionError("the stream has ended")


# --- readers ---------------------------------------------------------------------------------------------------------


def test_a_reader_sees_the_state_at_once_each_change_and_the_end() -> None:
    async def scenario(simulated: Simulated, streams: Streams) -> None:
        async with await streams.open(JOB) as reader:
            shown = aiter(reader)
            assert [state["done"] for state in states(await anext(shown))] == [0]
            for done in range(1, 4):
                simulated.change(done=done)
                assert [state["done"] for state in states(await anext(shown))] == [done]
            simulated.change(status="completed", completed_at="now", done=4)
            last = await anext(shown)
            assert states(last)[1] == {"job_id": JOB, "status": "completed"}
            assert [event async for event in shown] == []

    run(scenario, Bounds(least=0.001, look=60.0, silent=60.0))  # it is told, not looking


def test_changes_of_another_process_are_found_by_looking() -> None:
    async def scenario(simulated: Simulated, streams: Streams) -> None:
        async with await streams.open(JOB) as reader:
            shown = aiter(reader)
            await anext(shown)
            simulated.change(is_told=False, done=7)
            assert await upto(shown, 7) == [7]

    run(scenario)


def test_silence_is_broken_by_comments() -> None:
    async def scenario(_: Simulated, streams: Streams) -> None:
        async with await streams.open(JOB) as reader:
            shown = aiter(reader)
            await anext(shown)
            assert [await anext(shown), await anext(shown)] == [COMMENT, COMMENT]

    run(scenario, Bounds(least=0.001, look=60.0, silent=0.02))


def test_readers_of_a_job_share_one_reading_of_it() -> None:
    async def scenario(simulated: Simulated, streams: Streams) -> None:
        readers = [await streams.open(JOB) for _ in range(50)]
        shown = [aiter(await reader.__aenter__()) for reader in readers]
        await asyncio.gather(*map(anext, shown))
        simulated.change(done=1)
        assert await asyncio.gather(*(upto(one, 1) for one in shown)) == [[1]] * 50
        assert simulated.reads < 50 + 10, "one for the first state of each, few for all of them together"
        for reader in readers:
            await reader.__aexit__(None, None, None)

    run(scenario, Bounds(least=0.001, look=60.0, silent=60.0))


def test_a_reader_that_comes_as_the_job_ends_sees_the_end() -> None:
    async def scenario(simulated: Simulated, streams: Streams) -> None:
        async with await streams.open(JOB) as first:
            late = await streams.open(JOB)  # it has read that the job runs
            simulated.change(status="failed", completed_at="now")
            assert len([event async for event in first]) == 2
            async with late:  # and enters when whoever watched has seen the end
                assert len([event async for event in late]) == 2

    run(scenario)


def test_a_store_that_is_away_for_a_moment_ends_no_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(simulated: Simulated, streams: Streams) -> None:
        async with await streams.open(JOB) as reader:
            shown = aiter(reader)
            await anext(shown)
            simulated.fail(StoreUnavailable("it is away"))
            before = simulated.reads
            while simulated.reads < before + 5:
                await asyncio.sleep(0.001)
            simulated.change(is_told=False, done=3)
            simulated.fail(None)
            assert await upto(shown, 3) == [3]
        assert [record.message for record in caplog.records] == ["progress cannot be read"], "said once"

    run(scenario)


def test_what_nobody_expects_ends_the_stream_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(simulated: Simulated, streams: Streams) -> None:
        async with await streams.open(JOB) as reader:
            shown = aiter(reader)
            await anext(shown)
            simulated.fail(ZeroDivisionError())
            assert [event async for event in shown] == []
        assert [record.message for record in caplog.records] == ["streams of a job are ended"]

    run(scenario)


def test_a_stopping_server_ends_every_stream_and_opens_none() -> None:
    async def scenario(_: Simulated, streams: Streams) -> None:
        late = await streams.open(JOB)
        async with await streams.open(JOB) as reader:
            shown = aiter(reader)
            await anext(shown)
            streams.end()
            assert [event async for event in shown] == []
            async with late:
                assert len([event async for event in late]) == 1, "its state, and no more"
            with pytest.raises(Busy, match="stopping"):
                await streams.open(JOB)

    run(scenario)


def test_there_is_a_bound_of_streams() -> None:
    async def scenario(_: Simulated, streams: Streams) -> None:
        async with await streams.open(JOB), await streams.open(JOB):
            with pytest.raises(Busy, match="2 streams are open"):
                await streams.open(JOB)
        async with await streams.open(JOB):
            pass

    run(scenario, Bounds(readers=2))


def test_a_job_that_nobody_knows_opens_no_stream() -> None:
    async def scenario(_: Simulated, streams: Streams) -> None:
        with pytest.raises(NotFound):
            await streams.open("another")

    run(scenario)


# --- connections -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(simulated: Simulated, bounds: Bounds) -> AsyncIterator[tuple[int, InFlight]]:
    """A server of the one route: its port, and the count of requests that are being answered."""
    with ThreadPoolExecutor(4) as threads:
        context = WebContext(
            clock=SystemClock(),
            metrics=Metrics.create(),
            threads=threads,
            in_flight=InFlight(),
            access=AccessLog(None),
            random_bits=lambda _: 0,
            max_body_bytes=1000,
            expose_tracebacks=True,
            guard=open_guard(),
        )
        reads = Reads(threads)
        parts = {"context": context, "route": "/", "simulation": simulated, "reads": reads}
        listening, port = bind_unused_port()
        http = HTTPServer(
            Application([("/([^/]+)", StreamHandler, {**parts, "streams": Streams(simulated, reads, bounds)})])
        )
        http.add_socket(listening)
        try:
            yield port, context.in_flight
        finally:
            http.stop()
            await http.close_all_connections()


def test_a_reader_that_takes_nothing_for_too_long_is_hung_up_on() -> None:
    async def scenario() -> None:
        simulated = Simulated(padding="x" * 3_000_000)  # more than the buffers between take
        async with served(simulated, Bounds(least=0.001, look=0.01, silent=60.0, stuck=0.2)) as (port, in_flight):
            with socket.socket() as stuck:
                stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                stuck.connect(("127.0.0.1", port))
                stuck.sendall(f"GET /{JOB} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                while not simulated.receivers:  # until it is being answered
                    await asyncio.sleep(0.01)
                await in_flight.none()
        assert simulated.receivers == []

    asyncio.run(asyncio.wait_for(scenario(), 60))
