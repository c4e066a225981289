"""Runs one job: its dates in order, within a date its models side by side, each model-day in a worker process.

What is done is in the store before the next thing begins, so that whoever takes the job up later goes on at the first
unfinished model-day. Runs on the thread that claimed the job; only `look` is called from others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from position_server.clock import Clock
from position_server.compute import tasks
from position_server.compute.pool import ComputePool, Kind, Task
from position_server.errors import AgentFailed, PositionServerError, StoreUnavailable, WorkerDied
from position_server.settings import SimulationSettings
from position_server.simulation.audit import AuditLog
from position_server.simulation.calls import ModelDayCall, Superseded, TransientFailure
from position_server.simulation.config import parse_config
from position_server.simulation.decision import final_status
from position_server.simulation.ownership import LEASE, RENEW_SECONDS
from position_server.simulation.records import details, jobs
from position_server.simulation.records.jobs import Job
from position_server.store.engine import Store

log = logging.getLogger(__name__)
TRANSIENT = (TransientFailure, StoreUnavailable, WorkerDied, ConnectionError)
LONGEST_PAUSE_SECONDS = 60.0  # that a service may ask for
STOP_SECONDS = 5.0  # for model-days that run when the process is told to end

OpenPool = Callable[[], AbstractContextManager[ComputePool]]


class Ending(Enum):
    """Why no further model-day is begun."""

    CANCELLED = "cancelled"
    STOPPED = "stopped"  # the process ends; the job is taken up again
    LOST = "lost"  # another process has taken the job over


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What running a job needs, given by the service. `changed` is told a job's id after each change in the store."""

    store: Store
    clock: Clock
    settings: SimulationSettings
    owner: str
    open_pool: OpenPool
    data_dir: Path
    root: Path
    audit: AuditLog
    changed: Callable[[str], None]
    stop: threading.Event
    retry_seconds: float = 1.0  # before the second try, twice as long before the third


@dataclass(frozen=True, slots=True)
class Try:
    """A model-day to be tried: which try it is, and when (by the monotonic clock) it may begin."""

    model: str
    number: int
    not_before: float


Running = dict[Future[Any], tuple[Try, float]]  # with when it began


class JobRun:
    """One job, from where it stands to its end."""

    def __init__(self, job: Job, surroundings: Surroundings) -> None:
        self.job = job
        self._around = surroundings
        self._clock = surroundings.clock
        self._config = parse_config(job.config)
        self._ending: Ending | None = None
        self._renewed_at = self._clock.monotonic()
        self._happened = threading.Event()  # a model-day ended, or somebody asked to look
        self._look = False

    def run(self) -> str | None:
        """Runs what is unfinished; returns the job's last status, None if it is not over. Raises StoreUnavailable."""
        with self._around.store.write() as connection:
            jobs.start(connection, self.job.job_id, self._clock.now())
            todo = details.take_up(connection, self.job.job_id)
        self._audit("resumed" if self.job.status == "running" else "running", model_days=len(todo))
        if todo:
            with self._around.open_pool() as pool:
                for day, models in details.days_of(todo).items():
                    self._run_date(pool, day, models)
                    if self._ending is not None:
                        break
        return self._finish()

    def look(self) -> None:
        """The store has something new for this job (a cancellation), or the process is to end. Any thread."""
        self._look = True
        self._happened.set()

    # --- one date ------------------------------------------------------------------------------------------------

    def _run_date(self, pool: ComputePool, day: date, models: list[str]) -> None:
        """Runs the date's model-days, as many at a time as there are workers, until all of them are finished."""
        waiting = [Try(model, 1, 0.0) for model in models]
        running: Running = {}
        deadline = float("inf")
        while waiting or running:
            self._look_around()
            now = self._clock.monotonic()
            if self._ending is None:
                ready = [one for one in waiting if one.not_before <= now][: pool.workers - len(running)]
                for one in ready:
                    waiting.remove(one)
                    self._begin(pool, day, one, running)
            else:
                deadline = min(deadline, now + STOP_SECONDS)
                if not running or self._ending is Ending.LOST or self._is_too_late(now, deadline):
                    return
            self._wait(waiting, running)
            for future in [future for future in running if future.done()]:
                again = self._ended(day, *running.pop(future), future)
                waiting += [again] if again else []

    def _begin(self, pool: ComputePool, day: date, one: Try, running: Running) -> None:
        """Marks the model-day as running and hands it to a worker, unless it is over or the job is not ours to run."""
        job_id, owner = self.job.job_id, self._around.owner
        with self._around.store.write() as connection:
            attempt = details.begin(connection, job_id, owner, day, one.model, self._clock.now())
            if attempt is None:
                self._renew(connection)
        if attempt is None:  # cancelled, lost, or completed by an attempt whose answer did not arrive
            return
        self._around.changed(self.job.job_id)
        call = ModelDayCall(
            job_id=self.job.job_id,
            model=one.model,
            day=day,
            attempt=attempt,
            config=self._config,
            tool_servers=self._around.settings.tool_servers,
            root=self._around.root,
            log_file=self._around.data_dir / "simulation" / one.model / f"{day}.jsonl",
        )
        task = Task(tasks.RUN_MODEL_DAY, (call,), self._around.settings.model_day_timeout_seconds)
        (future,) = pool.submit(Kind.WARMUP, [task])
        running[future] = (one, self._clock.monotonic())
        future.add_done_callback(lambda _: self._happened.set())

    def _ended(self, day: date, one: Try, began: float, future: Future[Any]) -> Try | None:
        """Takes note of what a model-day came to; returns the next try of one that failed for the moment."""
        error = future.exception()
        now = self._clock.monotonic()
        where = {"job_id": self.job.job_id, "date": day.isoformat(), "model": one.model}
        if error is None:
            log.info("model-day completed", extra={**where, "duration_seconds": round(future.result(), 3)})
        elif isinstance(error, Superseded):
            self._look = True
        elif isinstance(error, TRANSIENT) and one.number < self._around.settings.retries:
            log.warning("model-day is tried again", extra={**where, "error": _one_line(error), "try": one.number})
            return Try(one.model, one.number + 1, now + self._pause(one, error))
        else:
            with self._around.store.write() as connection:
                seconds, at = now - began, self._clock.now()
                details.fail(connection, self.job.job_id, day, one.model, _one_line(error), seconds, at)
            foreseen = isinstance(error, AgentFailed | TransientFailure)  # who raised it says nothing more
            what = {"error": _one_line(error)} if foreseen else {}
            log.error("model-day failed", extra={**where, **what}, exc_info=None if foreseen else error)
        self._around.changed(self.job.job_id)
        return None

    def _pause(self, one: Try, error: BaseException) -> float:
        """Seconds until the next try: each time twice as long, or what the service asked for, within bounds."""
        asked_for = error.retry_after_seconds if isinstance(error, TransientFailure) else 0.0
        return max(self._around.retry_seconds * float(2 ** (one.number - 1)), min(asked_for, LONGEST_PAUSE_SECONDS))

    def _wait(self, waiting: list[Try], running: Running) -> None:
        """Until something happens, the next try may begin, or the lease is to be renewed."""
        now = self._clock.monotonic()
        can_begin = not running and any(one.not_before <= now for one in waiting)
        if can_begin or not (running or waiting) or any(future.done() for future in running):
            return
        moments = [self._renewed_at + RENEW_SECONDS, *(one.not_before for one in waiting)]
        seconds = min((moment - now for moment in moments if moment > now), default=0.0)
        self._clock.wait(self._happened, seconds if self._ending is None else min(seconds, STOP_SECONDS))
        self._happened.clear()

    def _is_too_late(self, now: float, deadline: float) -> bool:
        return self._ending is Ending.STOPPED and now >= deadline

    # --- the job -------------------------------------------------------------------------------------------------

    def _look_around(self) -> None:
        if self._around.stop.is_set():
            self._ending = Ending.STOPPED
        elif self._look or self._clock.monotonic() >= self._renewed_at + RENEW_SECONDS:
            self._look = False
            with self._around.store.write() as connection:
                self._renew(connection)

    def _renew(self, connection: Connection) -> None:
        until = self._clock.now() + LEASE
        cancelled = jobs.renew(connection, self.job.job_id, self._around.owner, until)
        self._renewed_at = self._clock.monotonic()
        if cancelled is None:
            self._ending = Ending.LOST
        elif cancelled:
            self._ending = Ending.CANCELLED

    def _finish(self) -> str | None:
        if self._ending in (Ending.STOPPED, Ending.LOST):
            return None
        job_id, now = self.job.job_id, self._clock.now()
        with self._around.store.write() as connection:
            if jobs.renew(connection, job_id, self._around.owner, now + LEASE) is None:
                return None
            if self._ending is Ending.CANCELLED:
                details.end_unfinished(connection, job_id, "cancelled", None, now)
            counts = details.tally(connection, job_id).counts
            status = final_status(counts)
            jobs.finish(connection, job_id, status, now)
        self._audit(status, **counts)
        self._around.changed(job_id)
        return status

    def _audit(self, event: str, **what: Any) -> None:
        log.info("simulation", extra={"event": event, "job_id": self.job.job_id, **what})
        self._around.audit.write(event, self.job.job_id, self.job.triggered_by, **what)


def _one_line(error: BaseException) -> str:
    text = error.message if isinstance(error, PositionServerError) else f"{type(error).__name__}: {error}"
    return text.splitlines()[0]
