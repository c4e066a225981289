"""Worker processes behind bounded queues: the serving process submits work by name and gets futures.

More urgent kinds go first; a full queue refuses at once; a task past its timeout is killed and its worker replaced; one
slow kind of task cannot take all workers.
Nothing here knows what the work is. Callable from any thread; a future completes on the thread that attends a worker.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

from position_server.compute.process import NeverStarted, WorkerProcess
from position_server.compute.worker import SetUp
from position_server.errors import Busy, WorkerDied

log = logging.getLogger(__name__)
MEGABYTE = 2**20


class Kind(IntEnum):
    """Why something is computed; the lower goes first."""

    MISS = 0  # somebody waits for an answer
    WHAT_IF = 1  # somebody waits for a POST
    REFRESH = 2  # behind an answer already given
    WARMUP = 3


@dataclass(frozen=True, slots=True)
class Task:
    """A function of a worker by its dotted name, its arguments, and the seconds it may take.

    Tasks of one `lane` (a section, say) leave at least one worker to others, however many and slow they are.
    """

    name: str
    arguments: tuple[Any, ...]
    timeout_seconds: float
    lane: str = ""  # none: no limit


@dataclass(order=True, frozen=True, slots=True)
class _Queued:
    kind: Kind
    number: int  # first come, first served within a kind
    task: Task = field(compare=False)
    future: Future[Any] = field(compare=False)


class ComputePool:
    """`workers` processes, each attended by a thread, and in front of them one bounded queue per kind.

    Every worker is set up by `open_workbench` (a dotted name) with `arguments`.
    """

    def __init__(
        self,
        open_workbench: str,
        arguments: tuple[Any, ...],
        *,
        workers: int,
        queue: int,
        niceness: int = 10,
        memory_mb: int = 4096,
    ) -> None:
        self.workers = workers
        self.queue = queue
        self._set_up = SetUp(open_workbench, arguments, niceness, memory_mb * MEGABYTE)
        # Guards everything below; nothing is computed, sent or spawned under it.
        self._changed = threading.Condition()
        self._waiting: list[_Queued] = []
        self._waiting_by_kind = dict.fromkeys(Kind, 0)
        self._numbers = itertools.count()
        self._lane_width = max(1, workers - 1)
        self._lanes: dict[int, str] = {}  # of the tasks that run, by worker
        self._busy: dict[int, WorkerProcess] = {}
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._attend, args=(number,), name=f"worker-{number}", daemon=True)
            for number in range(workers)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()

    def submit(self, kind: Kind, tasks: Sequence[Task]) -> list[Future[Any]]:
        """One future per task, all or none: raises Busy where the kind's queue has no room for all of them.

        A future raises what the task raised, SectionTimeout or WorkerDied. An empty queue takes any number of tasks.
        """
        with self._changed:
            if self._stopped:
                raise _stopping()
            waiting = self._waiting_by_kind[kind]
            if waiting and waiting + len(tasks) > self.queue:
                raise Busy(f"{waiting} computations wait already.")
            entries = [_Queued(kind, next(self._numbers), task, Future()) for task in tasks]
            for entry in entries:
                heapq.heappush(self._waiting, entry)
            self._waiting_by_kind[kind] += len(entries)
            self._changed.notify(len(entries))
        return [entry.future for entry in entries]

    def stats(self) -> dict[str, Any]:
        """`{queue: {kind: waiting}, busy, capacity, workers}`."""
        with self._changed:
            queue = {kind.name.lower(): count for kind, count in self._waiting_by_kind.items()}
            return {"queue": queue, "busy": len(self._lanes), "capacity": self.queue, "workers": self.workers}

    def stop(self) -> None:
        """Fails what waits, kills what runs, and returns when the worker processes have ended."""
        with self._changed:
            self._stopped = True
            waiting, self._waiting = self._waiting, []
            self._waiting_by_kind = dict.fromkeys(Kind, 0)
            busy = list(self._busy.values())
            self._changed.notify_all()
        for entry in waiting:
            entry.future.set_exception(_stopping())
        for process in busy:
            process.kill()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join()

    def _attend(self, number: int) -> None:
        """The life of one worker's thread: takes the most urgent task, hands it over, waits for what comes of it."""
        process = self._started(None)  # at once: the first task finds it warm
        while (entry := self._take(number)) is not None:
            if process is None or not process.alive:
                process = self._started(process)
            process = self._run(number, process, entry)
        if process is not None:
            process.close()

    def _started(self, old: WorkerProcess | None) -> WorkerProcess | None:
        """A new worker in the place of an old one; None at the end, and where the machine has no room for a process."""
        if old is not None:
            old.close()
        if self._stopped:
            return None
        try:
            return WorkerProcess(self._set_up)
        except OSError:
            log.exception("no worker process could be started")
            return None

    def _take(self, number: int) -> _Queued | None:
        with self._changed:
            while not self._stopped:
                entry = self._most_urgent()
                if entry is not None:
                    self._waiting_by_kind[entry.kind] -= 1
                    self._lanes[number] = entry.task.lane
                    return entry
                self._changed.wait()
            return None

    def _most_urgent(self) -> _Queued | None:
        """Under the lock: the first task whose lane has room, taken out of the queue."""
        full = {lane for lane, count in Counter(self._lanes.values()).items() if lane and count >= self._lane_width}
        skipped = []
        found = None
        while self._waiting and found is None:
            entry = heapq.heappop(self._waiting)
            if entry.task.lane in full:
                skipped.append(entry)
            else:
                found = entry
        for entry in skipped:
            heapq.heappush(self._waiting, entry)
        return found

    def _run(self, number: int, process: WorkerProcess | None, entry: _Queued) -> WorkerProcess | None:
        """Completes the entry's future; returns the process to go on with."""
        try:
            try:
                value = self._call(number, process, entry.task)
            except NeverStarted:
                process = self._started(process)
                value = self._call(number, process, entry.task)
        except NeverStarted as error:  # twice: workers cannot start here, or the task's arguments end them
            self._done(number)
            entry.future.set_exception(_stopping() if self._stopped else WorkerDied(str(error)))
        except BaseException as error:  # noqa: BLE001 whatever it is belongs to who asked, and the thread goes on
            self._done(number)
            entry.future.set_exception(_stopping() if self._stopped else error)
        else:
            self._done(number)
            entry.future.set_result(value)
        return process

    def _call(self, number: int, process: WorkerProcess | None, task: Task) -> Any:
        if process is None:
            raise WorkerDied("No worker process could be started.")
        with self._changed:
            if self._stopped:
                raise _stopping()
            self._busy[number] = process
        return process.call(task.name, task.arguments, task.timeout_seconds)

    def _done(self, number: int) -> None:
        with self._changed:
            self._busy.pop(number, None)
            del self._lanes[number]


def _stopping() -> Busy:
    return Busy("The server is stopping.")
