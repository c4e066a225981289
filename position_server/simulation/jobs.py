"""The simulation service: triggers, jobs, their progress and results, and the threads that run them.

The face of this room for `app`, `web` and `cli`. Everything is in the store: two servers on one store share jobs and
see each other's. Methods block on the store and on workers: call them from a thread, never on the event loop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection

from position_server.business_days import Calendar
from position_server.clock import Clock
from position_server.errors import NotFound, StoreUnavailable
from position_server.settings import SimulationSettings
from position_server.simulation.audit import AuditLog
from position_server.simulation.creation import CheckModels, Created, Creation, Existing, UpToDate
from position_server.simulation.decision import final_status
from position_server.simulation.ownership import LEASE, Owner
from position_server.simulation.records import details, jobs
from position_server.simulation.records.jobs import Job
from position_server.simulation.requests import ResultsQuery, TriggerRequest
from position_server.simulation.results import results
from position_server.simulation.runner import JobRun, OpenPool, Surroundings
from position_server.simulation.status import job_status
from position_server.store.engine import Store

log = logging.getLogger(__name__)
LOOK_SECONDS = 5.0  # between two looks for jobs that nobody runs any more
FOLDER = "simulation"  # of the data folder: locks of owners, logs of model-days

Receive = Callable[[str], None]  # takes the id of a job that has changed


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is made of. `root` has the folder `configs`; `new_id` makes an id that nothing else has."""

    store: Store
    settings: SimulationSettings
    calendar: Calendar
    currency: str
    clock: Clock
    data_dir: Path
    root: Path
    open_pool: OpenPool
    check_models: CheckModels
    new_id: Callable[[], str]


class JobService:
    """Simulations. Entered (`with`), it creates jobs and runs those it is told to; `start` has it find them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store, self._clock, self._settings = parts.store, parts.clock, parts.settings
        self._owner = Owner(parts.data_dir / FOLDER, parts.new_id())
        self._audit = AuditLog(parts.data_dir, parts.clock)
        self._creation = Creation(
            store=parts.store,
            root=parts.root,
            settings=parts.settings,
            calendar=parts.calendar,
            currency=parts.currency,
            clock=parts.clock,
            owner=self._owner.name,
            check_models=parts.check_models,
            new_id=parts.new_id,
        )
        self._stop = threading.Event()
        self._wake = threading.Event()  # something may have to be run
        # Guards the two below; nothing is read, written or called under it.
        self._lock = threading.Lock()
        self._running: dict[str, JobRun | None] = {}
        self._receivers: list[Receive] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._owner.__enter__()
        self._owner.sweep(self._clock.now())
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()
        try:
            with self._store.write() as connection:
                jobs.release(connection, self._owner.name)
        except StoreUnavailable as error:  # then whoever comes next waits for the leases
            log.warning("jobs could not be released", extra={"error": error.message})
        self._owner.__exit__(None, None, None)

    def start(self) -> None:
        """Starts the threads that run jobs: what was triggered here, and what a process that died has left."""
        for number in range(self._settings.max_concurrent_jobs):
            thread = threading.Thread(target=self._serve, name=f"simulation-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Ends the threads: running model-days have a few seconds to complete, jobs are left to whoever comes next."""
        self._stop.set()
        self._wake.set()
        for run in self._runs():
            run.look()
        for thread in self._threads:
            thread.join()

    # --- what clients ask ----------------------------------------------------------------------------------------

    def trigger(self, request: TriggerRequest) -> Created | Existing | UpToDate:
        """Creates the job that is asked for, or says which one it is. Raises as `Creation.trigger`."""
        outcome = self._creation.trigger(request)
        if isinstance(outcome, Created):
            job = outcome.job
            days = [day.isoformat() for day in job.date_range]
            self._audit.write("pending", job.job_id, request.user, date_range=days, models=job.models)
            self._changed(job.job_id)
            self._wake.set()
        return outcome

    def status(self, job_id: str) -> dict[str, Any]:
        """The job with every model-day. Raises NotFound."""
        with self._store.read() as connection:
            job = _known(connection, job_id)
            return job_status(job, details.tally(connection, job_id), details.of_job(connection, job_id))

    def progress(self, job_id: str) -> dict[str, Any]:
        """The job without its model-days. Raises NotFound."""
        with self._store.read() as connection:
            return job_status(_known(connection, job_id), details.tally(connection, job_id))

    def current(self) -> dict[str, Any]:
        """The newest job, without its model-days. Raises NotFound where there is none."""
        with self._store.read() as connection:
            job = jobs.newest(connection)
            if job is None:
                raise NotFound("Nothing was simulated yet.")
            return job_status(job, details.tally(connection, job.job_id))

    def cancel(self, job_id: str, user: str = "anonymous") -> dict[str, Any]:
        """Asks the job to stop after the model-days that run, and returns it; one that is over stays so. NotFound."""
        with self._store.write() as connection:
            asked = jobs.request_cancel(connection, _known(connection, job_id).job_id, self._clock.now())
        if asked:
            self._audit.write("cancel_requested", job_id, user)
            for run in self._runs():
                run.look()
            self._changed(job_id)
        return self.progress(job_id)

    def results(self, query: ResultsQuery) -> dict[str, Any]:
        """What the models did. Raises NoData."""
        with self._store.read() as connection:
            return results(connection, query)

    def subscribe(self, receive: Receive) -> Callable[[], None]:
        """Has `receive` called with a job's id after each change that this process made; returns how to end that.

        Called on the thread that made the change: it returns at once. A job that another process runs changes
        without a call: look at `progress` now and then.
        """
        with self._lock:
            self._receivers.append(receive)

        def end() -> None:
            with self._lock:
                self._receivers.remove(receive)

        return end

    # --- running jobs --------------------------------------------------------------------------------------------

    def run(self, job_id: str) -> str | None:
        """Runs the job on this thread, from where it stands.

        Returns its last status, None where somebody else runs it or it is over. Raises NotFound and StoreUnavailable.
        """
        with self._store.read() as connection:
            job = _known(connection, job_id)
        return self._run(job) if self._claim(job) else None

    def _serve(self) -> None:
        """The life of a thread: looks for a job to run, runs it, waits for the next one."""
        while not self._stop.is_set():
            self._wake.clear()
            try:
                job = self._next()
                if job is not None:
                    self._run(job)
                    continue
            except StoreUnavailable as error:
                log.warning("simulations wait for the store", extra={"error": error.message})
            self._clock.wait(self._wake, LOOK_SECONDS)

    def _next(self) -> Job | None:
        """A job that this process is to run, claimed."""
        with self._store.read() as connection:
            active = jobs.active(connection)
        return next((job for job in active if self._claim(job)), None)

    def _claim(self, job: Job) -> bool:
        """Makes the job ours, where it is nobody's, or its owner is dead, or it was created here and not begun."""
        now = self._clock.now()
        ours = job.owner == self._owner.name
        if not job.is_active or not (ours or self._owner.is_dead(job.owner, job.lease_until, now)):
            return False
        with self._lock:
            if job.job_id in self._running:
                return False
            self._running[job.job_id] = None
        claimed = False
        try:
            with self._store.write() as connection:
                claimed = jobs.claim(connection, job, self._owner.name, now + LEASE)
        finally:
            if not claimed:
                self._forget(job.job_id)
        return claimed

    def _run(self, job: Job) -> str | None:
        """Runs a claimed job. Raises StoreUnavailable; any other error ends the job as failed."""
        try:
            was_left = job.started_at is not None and job.owner != self._owner.name
            if was_left and not self._settings.resume_jobs:
                return self._close(job, "The server ended while it ran, and jobs are not resumed.")
            run = JobRun(job, self._surroundings())
            with self._lock:
                self._running[job.job_id] = run
            return run.run()
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("a simulation broke", extra={"job_id": job.job_id})
            return self._close(job, f"{type(error).__name__}: {error}".splitlines()[0])
        finally:
            self._forget(job.job_id)

    def _close(self, job: Job, reason: str) -> str:
        """Ends a job that is not run to its end: what is unfinished has failed."""
        now = self._clock.now()
        with self._store.write() as connection:
            details.end_unfinished(connection, job.job_id, "failed", reason, now)
            outcome = final_status(details.tally(connection, job.job_id).counts)
            jobs.finish(connection, job.job_id, outcome, now)
        self._audit.write(outcome, job.job_id, job.triggered_by, reason=reason)
        self._changed(job.job_id)
        return outcome

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            store=self._store,
            clock=self._clock,
            settings=self._settings,
            owner=self._owner.name,
            open_pool=self._parts.open_pool,
            data_dir=self._parts.data_dir,
            root=self._parts.root,
            audit=self._audit,
            changed=self._changed,
            stop=self._stop,
        )

    def _runs(self) -> list[JobRun]:
        with self._lock:
            return [run for run in self._running.values() if run is not None]

    def _forget(self, job_id: str) -> None:
        with self._lock:
            self._running.pop(job_id, None)

    def _changed(self, job_id: str) -> None:
        with self._lock:
            receivers = list(self._receivers)
        for receive in receivers:
            try:
                receive(job_id)
            except Exception:
                log.exception("a subscriber failed", extra={"job_id": job_id})


def _known(connection: Connection, job_id: str) -> Job:
    """The job of that id. Raises NotFound."""
    job = None if "\0" in job_id else jobs.by_id(connection, job_id)  # PostgreSQL takes no text with a zero byte
    if job is None:
        raise NotFound(f"There is no job {job_id!r:.80}.")
    return job
