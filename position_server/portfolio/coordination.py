"""Who runs a batch: one run per type and date, whichever process it is.

A second start waits for the first. Where that completes, the second has nothing to do; where it fails, or its process
has not been heard of for the heartbeat timeout, the second takes its place. A run that was superseded, because its
process was silent for too long, finds out in its next transaction and writes nothing: so nothing is ever done twice
or by two.

Nothing here knows what a batch does. Timestamps are of the wall clock, as several machines see it; waits are the
clock's.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from position_server import threads
from position_server.clock import Clock
from position_server.errors import BatchAborted, BatchStopped, PositionServerError, RunSuperseded, StoreUnavailable
from position_server.portfolio.records import runs
from position_server.portfolio.records.runs import BatchRun
from position_server.settings import PortfolioSettings
from position_server.store.engine import Store

log = logging.getLogger(__name__)
BEATS_PER_TIMEOUT = 4
JOIN_SECONDS = 10.0  # for the thread of the heartbeat, which may be waiting for the store
Say = Callable[[str], None]


class Coordinator:
    """Begins runs and waits for those of others. `say` is told, in words for people, whenever it has to wait."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: PortfolioSettings,
        *,
        say: Say,
        process: str | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._store, self._clock, self._settings = store, clock, settings
        self._say = say
        self._process = process or this_process()
        self._new_id = new_id
        self._timeout = timedelta(seconds=settings.heartbeat_timeout_seconds)

    def begin(self, batch_type: str, day: date, stop: threading.Event) -> Run | BatchRun:
        """A run of this process, to be entered; or the run of another one that completed while this waited for it.

        Raises BatchAborted where the other one runs for longer than `max_wait_seconds`, BatchStopped once `stop` is
        set, StoreUnavailable.
        """
        deadline = self._clock.monotonic() + self._settings.max_wait_seconds
        waited = False
        while True:
            with self._store.read() as connection:
                current = runs.current(connection, batch_type, day)
            if current is None or not self._is_alive(current):
                if waited and current is not None and current.status == runs.COMPLETED:
                    return current
                record = self._insert(current, batch_type, day)
                if record is not None:
                    self._tell_of(current)
                    return Run(record, self._store, self._clock, self._timeout / BEATS_PER_TIMEOUT)
                continue  # another process was faster
            if not waited:
                self._say(f"{current.batch_type} of {day} runs already ({current.process}): waiting for it")
            waited = True
            self._pause(f"{batch_type} of {day} by {current.process} did not end", current, deadline, stop)

    def wait_for(self, batch_type: str, day: date, stop: threading.Event) -> BatchRun:
        """The completed run of that type and date, waited for.

        Raises BatchAborted at once where it failed or its process is gone, and where it has not completed within
        `max_wait_seconds`; BatchStopped once `stop` is set; StoreUnavailable.
        """
        deadline = self._clock.monotonic() + self._settings.max_wait_seconds
        said = False
        while True:
            with self._store.read() as connection:
                current = runs.current(connection, batch_type, day)
            if current is not None and current.status == runs.COMPLETED:
                return current
            if current is not None and current.status == runs.FAILED:
                raise BatchAborted(f"{batch_type} of {day} failed: {current.error_message}")
            if current is not None and not self._is_alive(current) and self._bury(current):
                raise BatchAborted(f"{batch_type} of {day} failed: {_silence(current)}")
            if not said:
                self._say(f"waiting for {batch_type} of {day}, which {'runs' if current else 'has not begun'}")
            said = True
            self._pause(f"{batch_type} of {day} did not complete", current, deadline, stop)

    def _is_alive(self, run: BatchRun) -> bool:
        return run.status == runs.RUNNING and self._clock.now() - run.heartbeat_at <= self._timeout

    def _insert(self, current: BatchRun | None, batch_type: str, day: date) -> BatchRun | None:
        """The new run; None where the current one is another one by now."""
        try:
            with self._store.write() as connection:
                now = self._clock.now()
                if current is None:
                    return runs.begin(connection, self._new_id(), batch_type, day, self._process, now)
                return runs.replace(connection, current, self._new_id(), self._process, now)
        except IntegrityError:
            return None

    def _bury(self, run: BatchRun) -> bool:
        """Records that a silent run has failed; False where it has been heard of after all."""
        with self._store.write() as connection:
            return runs.fail_silent(connection, run, _silence(run), self._clock.now())

    def _tell_of(self, replaced: BatchRun | None) -> None:
        if replaced is None:
            return
        how = {runs.COMPLETED: f"completed at {_shown(replaced.completed_at)}", runs.FAILED: "failed"}
        self._say(f"supersedes run {replaced.run_id}, which {how.get(replaced.status, 'ended: ' + _silence(replaced))}")

    def _pause(self, problem: str, current: BatchRun | None, deadline: float, stop: threading.Event) -> None:
        """Waits until the next look: after the poll interval, or when the run would be taken for dead."""
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise BatchAborted(f"{problem} within {self._settings.max_wait_seconds:g} s")
        seconds = min(self._settings.poll_seconds, left)
        if current is not None:
            dead_at = current.heartbeat_at + self._timeout
            silent_for = max(0.0, (dead_at - self._clock.now()).total_seconds())
            seconds = min(seconds, silent_for + self._timeout.total_seconds() / BEATS_PER_TIMEOUT)
        if self._clock.wait(stop, seconds):
            raise BatchStopped


class Run:
    """A run of this process. A context manager: while it is entered, a thread says that the process lives.

    Left by an exception it is recorded as failed; left without, it must have been completed.
    """

    def __init__(self, record: BatchRun, store: Store, clock: Clock, beat_every: timedelta) -> None:
        self.record = record
        self._store, self._clock = store, clock
        self._beat_seconds = beat_every.total_seconds()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_beating, name=f"heartbeat-{record.batch_type}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._stop.set()
        if error is not None and not isinstance(error, RunSuperseded):
            self._fail(error)
        threads.join(self._thread, JOIN_SECONDS)

    def check(self, connection: Connection) -> None:
        """To be called first in every writing transaction of the run: nobody takes its place until that ends.

        Raises RunSuperseded where somebody has.
        """
        if not runs.is_running(connection, self.record.run_id):
            raise RunSuperseded(f"run {self.record.run_id} was silent for too long and has been superseded")

    def complete(self, connection: Connection, *, input_hash: str, counts: Mapping[str, Any]) -> BatchRun:
        """Completes the run, in the transaction of its last rows. Raises RunSuperseded."""
        now = self._clock.now()
        done = runs.complete(connection, self.record.run_id, now=now, input_hash=input_hash, counts=counts)
        if done is None:
            raise RunSuperseded(f"run {self.record.run_id} was silent for too long and has been superseded")
        self.record = done
        return done

    def _keep_beating(self) -> None:
        """The life of the thread: a heartbeat, a wait. One that the store does not take is made up for by the next."""
        while not self._clock.wait(self._stop, self._beat_seconds):
            try:
                with self._store.write() as connection:
                    lives = runs.beat(connection, self.record.run_id, self._clock.now())
            except StoreUnavailable as error:
                log.warning("a heartbeat failed", extra={"run_id": self.record.run_id, "error": error.message})
                continue
            if not lives:
                return

    def _fail(self, error: BaseException) -> None:
        message = error.message if isinstance(error, PositionServerError) else f"{type(error).__name__}: {error}"
        try:
            with self._store.write() as connection:
                runs.fail(connection, self.record.run_id, message, self._clock.now())
        except StoreUnavailable as unavailable:  # then its heartbeat runs out
            log.warning(
                "a failure was not recorded", extra={"run_id": self.record.run_id, "error": unavailable.message}
            )


def this_process() -> str:
    """This process, for people: `host:pid`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _silence(run: BatchRun) -> str:
    return f"its process ({run.process}) has not been heard of since {_shown(run.heartbeat_at)}"


def _shown(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else moment.isoformat(timespec="seconds")
