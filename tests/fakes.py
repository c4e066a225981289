"""Stand-ins that obey the interfaces of the real parts: a clock that tests move, a pool and threads that they hold."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from typing import Any

from position_server.access import Guard
from position_server.compute import tasks
from position_server.compute.pool import Kind, Task
from position_server.errors import Busy
from position_server.outcomes import SectionCall, SectionInfo, SectionOutcome

NOON = datetime(2025, 10, 30, 16, 0, tzinfo=UTC)  # in New York


class VirtualClock:
    """A Clock whose `wait` moves time and returns; at `end` it sets the event that it is asked to wait on."""

    def __init__(self, start: datetime = NOON, end: datetime | None = None) -> None:
        self._wall = start
        self._monotonic = 1000.0
        self._end = end

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.advance(seconds)
        if self._end is not None and self._wall >= self._end:
            stop.set()
        return stop.is_set()

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._wall += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set_wall(self, moment: datetime) -> None:
        """Somebody sets the machine's clock; nothing else has happened."""
        self._wall = moment


class InlineExecutor(Executor):
    """Runs what is submitted at once, on the caller's thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 as an executor does
            future.set_exception(error)
        return future


def open_guard() -> Guard:
    """The guard of a server without API keys: whoever asks may do anything."""
    guard = Guard(InlineExecutor(), VirtualClock(), secret=b"of a test")
    guard.learn(())
    return guard


class FakePool:
    """ComputePool's interface without processes: `compute` answers, at once or when the test says `release`."""

    def __init__(
        self,
        sections: Sequence[str] = ("bonds", "futures"),
        compute: Callable[[SectionCall], SectionOutcome] | None = None,
        *,
        held: bool = False,
    ) -> None:
        self.workers = 2
        self.infos = [SectionInfo(name, f"{name}.", {"shift": {"type": "number"}}) for name in sections]
        self.compute = compute or (lambda call: outcome(call.section))
        self.held = held
        self.full = False
        self.listing_error: Exception | None = None
        self.calls: list[tuple[Kind, SectionCall]] = []
        self.timeouts: list[float] = []
        self._waiting: deque[tuple[Task, Future[Any]]] = deque()
        self._lock = threading.Lock()  # guards the queue: tests submit from several threads

    def submit(self, kind: Kind, work: Sequence[Task]) -> list[Future[Any]]:
        if self.full:
            raise Busy("64 computations wait already.")
        entries: list[tuple[Task, Future[Any]]] = [(task, Future()) for task in work]
        with self._lock:
            self.calls += [(kind, task.arguments[0]) for task in work if task.name == tasks.RUN_SECTION]
            self.timeouts += [task.timeout_seconds for task in work if task.name == tasks.RUN_SECTION]
            self._waiting.extend(entries)
        if not self.held:
            self.release()
        return [future for _, future in entries]

    def release(self, count: int | None = None) -> None:
        """Answers what waits, oldest first: all of it, or `count` tasks."""
        for _ in range(len(self._waiting) if count is None else count):
            with self._lock:
                task, future = self._waiting.popleft()
            self._answer(task, future)

    def stats(self) -> dict[str, Any]:
        queue = {kind.name.lower(): 0 for kind in Kind}
        return {"queue": {**queue, "miss": len(self._waiting)}, "busy": 1, "capacity": 64, "workers": self.workers}

    def _answer(self, task: Task, future: Future[Any]) -> None:
        try:
            future.set_result(self._list() if task.name == tasks.LIST_SECTIONS else self.compute(task.arguments[0]))
        except Exception as error:  # noqa: BLE001 as the pool does
            future.set_exception(error)

    def _list(self) -> list[SectionInfo]:
        if self.listing_error is not None:
            raise self.listing_error
        return self.infos


def outcome(section: str, data: bytes = b'{"positions":[]}', *, at: datetime = NOON, **other: Any) -> SectionOutcome:
    """A computation that went well."""
    return SectionOutcome(section, computed_at=at, duration_ms=5, data=data, **other)


def failure(section: str, why: str = "no curve", *, at: datetime = NOON) -> SectionOutcome:
    """A computation that the section's own code ended with ValueError."""
    stack = f"Traceback (most recent call last):\nValueError: {why}\n"
    line = f"ValueError: {why}"
    return SectionOutcome(section, computed_at=at, duration_ms=5, data=None, error_line=line, error_stack=stack)
