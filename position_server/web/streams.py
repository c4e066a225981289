"""Progress as Server-Sent Events: every watched job is read once per change, however many watch it.

HTML Living Standard, section 9.2. Belongs to the event loop; the store is read, and events are encoded, on threads. A
reader is handed the newest event when it comes for one: who reads slowly misses what was between, holds up nobody and
costs one event of memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import orjson

from position_server.errors import Busy, StoreUnavailable
from position_server.simulation.service import Simulation
from position_server.web.reads import Reads

log = logging.getLogger(__name__)
END_ID = "end"  # of the last event; a browser that connects again says that it has seen it
BEGINNING = b"retry: 2000\n\n"  # milliseconds until a browser connects again
COMMENT = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How quick streams are, in seconds, and how many."""

    least: float = 0.05  # between two events of a job
    look: float = 1.0  # between two looks at a job that another process may run
    silent: float = 15.0  # then a comment shows everyone between here and the reader that the connection lives
    stuck: float = 60.0  # a reader that takes nothing for so long is hung up on
    readers: int = 1000


class Streams:
    """The jobs that are watched, and by whom."""

    def __init__(self, simulation: Simulation, reads: Reads, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._simulation, self._reads = simulation, reads
        self._watches: dict[str, _Watch] = {}
        self._readers: set[Reader] = set()
        self._ended = False

    async def open(self, job_id: str) -> Reader:
        """A reader of the job, to be entered. Raises NotFound, Busy, Starting, StoreUnavailable."""
        if self._ended or len(self._readers) >= self.bounds.readers:
            raise Busy("The server is stopping." if self._ended else f"{self.bounds.readers} streams are open.")
        now = await self._reads.run(partial(_event, self._simulation, job_id))
        return Reader(self, job_id, now)

    def end(self) -> None:
        """Ends every stream, and opens none any more: the server stops."""
        self._ended = True
        for reader in list(self._readers):
            reader.end()

    def enter(self, reader: Reader, job_id: str) -> _Watch:
        """Counts the reader among those of the job's watch, which its first one begins."""
        self._readers.add(reader)
        if self._ended:
            reader.end()
        watch = self._watches.get(job_id)
        if watch is None:
            watch = self._watches[job_id] = _Watch(partial(_event, self._simulation, job_id), self._reads, self.bounds)
            watch.begin(partial(self._subscribe, job_id))
        watch.readers.add(reader)
        return watch

    def leave(self, reader: Reader, job_id: str) -> None:
        """The last reader ends the watch."""
        self._readers.discard(reader)
        watch = self._watches[job_id]
        watch.readers.discard(reader)
        if not watch.readers:
            watch.end()
            del self._watches[job_id]

    def _subscribe(self, job_id: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Has `changed` called on the loop after each change of the job that this process makes."""
        loop = asyncio.get_running_loop()

        def receive(changed_id: str) -> None:  # on the thread that made the change
            if changed_id == job_id:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(changed)

        return self._simulation.subscribe(receive)


class Reader:
    """One stream: `async with` it, then `async for` the bytes to send, comments where nothing happens."""

    def __init__(self, streams: Streams, job_id: str, now: tuple[bytes, bool]) -> None:
        self._streams, self._job_id = streams, job_id
        self._now = now
        self._ended = False
        self._wake = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._watch = self._streams.enter(self, self._job_id)
        self.wake()  # the watch may have seen a later event than ours, and may see no other
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._streams.leave(self, self._job_id)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._events()

    def end(self) -> None:
        """No further event."""
        self._ended = True
        self._wake.set()

    def wake(self) -> None:
        """There is a new event."""
        self._wake.set()

    async def _events(self) -> AsyncIterator[bytes]:
        event, is_over = self._now
        yield BEGINNING + event
        while not is_over and not self._ended:
            try:
                await asyncio.wait_for(self._wake.wait(), self._streams.bounds.silent)
            except TimeoutError:
                yield COMMENT
                continue
            self._wake.clear()
            newest, is_over = self._watch.newest or (event, False)
            if newest != event:
                event = newest
                yield event


class _Watch:
    """A job as of its last change, for all who read it: `newest` is its event, and whether that is the last one."""

    def __init__(self, read: Callable[[], tuple[bytes, bool]], reads: Reads, bounds: Bounds) -> None:
        self.readers: set[Reader] = set()
        self.newest: tuple[bytes, bool] | None = None
        self._read, self._reads, self._bounds = read, reads, bounds
        self._changed = asyncio.Event()

    def begin(self, subscribe: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        """Follows the job from now on."""
        self._unsubscribe = subscribe(self._changed.set)
        self._task = asyncio.create_task(self._follow())

    def end(self) -> None:
        """Follows it no longer."""
        self._unsubscribe()
        self._task.cancel()

    async def _follow(self) -> None:
        is_known = True  # how the job is: a store that is away for the moment is asked again
        while self.newest is None or not self.newest[1]:
            self._changed.clear()
            try:
                self.newest = await self._reads.run(self._read)
                is_known = True
            except (Busy, StoreUnavailable) as error:
                if is_known:
                    log.warning("progress cannot be read", extra={"error": error.message})
                is_known = False
            except Exception:
                log.exception("streams of a job are ended")
                for reader in self.readers:
                    reader.end()
                return
            for reader in self.readers:
                reader.wake()
            await asyncio.sleep(self._bounds.least)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._bounds.look)


def _event(simulation: Simulation, job_id: str) -> tuple[bytes, bool]:
    """The job's progress as an event, and whether it is the last one: then an event `end` follows in the same bytes."""
    job = simulation.progress(job_id)
    event = _encoded("progress", job)
    if job["completed_at"] is None:
        return event, False
    last: dict[str, Any] = {"job_id": job_id, "status": job["status"]}
    return event + f"id: {END_ID}\n".encode() + _encoded("end", last), True


def _encoded(name: str, value: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(value))
