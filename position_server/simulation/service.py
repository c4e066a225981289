"""Simulation: the face of the room for a server: a job service that a thread opens, and what it answers.

The thread `simulation` opens the store (and waits for one that is away), has the job service take up what other
processes have left, and closes both at the end; the imports of SQLAlchemy are its. What is asked reads the store and
blocks: call it from threads. Model-days run in workers of their own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from position_server import threads
from position_server.clock import Clock
from position_server.compute.pool import ComputePool
from position_server.errors import PositionServerError, Starting, StoreUnavailable
from position_server.settings import Settings
from position_server.simulation.requests import ResultsQuery, TriggerRequest

if TYPE_CHECKING:
    from position_server.simulation.jobs import JobService

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0  # from one look for the store to the next, until it is there
JOIN_SECONDS = 20.0  # model-days that run get a few seconds, then their workers end
Answer = dict[str, Any]


class Simulation:
    """The simulation room of one server."""

    def __init__(self, settings: Settings, clock: Clock, pool: ComputePool) -> None:
        """`pool` checks the parameters of models; model-days are no work for it."""
        self._settings, self._clock, self._pool = settings, clock, pool
        # Both are set by the thread and only read by others.
        self._jobs: JobService | None = None
        self._trouble: PositionServerError = Starting("Simulations are not there yet.")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, name="simulation", daemon=True)

    # --- its life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Asks everything to end: jobs that run are left to whoever comes next."""
        self._stop.set()

    def join(self) -> None:
        """Waits for the thread's end, and says so where it does not."""
        threads.join(self._thread, JOIN_SECONDS)

    def _live(self) -> None:
        try:
            with ExitStack() as up:
                jobs = self._opened(up)
                if jobs is not None:
                    jobs.start()
                    self._jobs = jobs
                    self._stop.wait()
        except Exception:
            log.exception("simulations have ended")
            self._trouble = PositionServerError("Simulations have ended; the log says why.")
            self._jobs = None

    def _opened(self, up: ExitStack) -> JobService | None:
        """The job service on a store of this version; None where it is time to stop first."""
        from position_server.simulation.assembly import checked_by, job_service
        from position_server.store.engine import open_store

        store = up.enter_context(open_store(self._settings.store_url))
        while True:
            try:
                if not store.is_current():  # it raises where there is no store: `upgrade` would make one
                    store.upgrade()
                return up.enter_context(job_service(self._settings, store, self._clock, checked_by(self._pool)))
            except StoreUnavailable as error:
                self._waits(error)
            except OSError as error:
                self._waits(StoreUnavailable(f"the data folder cannot be used: {error.strerror or error}"))
            if self._clock.wait(self._stop, LOOK_SECONDS):
                return None

    def _waits(self, error: StoreUnavailable) -> None:
        if not isinstance(self._trouble, StoreUnavailable):  # said once
            log.warning("simulations wait for the store", extra={"error": error.message})
        self._trouble = error

    def _service(self) -> JobService:
        """Raises Starting in the first seconds, StoreUnavailable as long as there is no store to open."""
        if self._jobs is None:
            raise self._trouble
        return self._jobs

    # --- what is asked -------------------------------------------------------------------------------------------

    def trigger(self, request: TriggerRequest) -> tuple[bool, Answer]:
        """Whether a job was created, and what to answer.

        Raises InvalidConfig, InvalidDate, Conflict, NoPrices, Busy, Starting, StoreUnavailable.
        """
        from position_server.simulation.creation import Created, UpToDate

        service = self._service()
        outcome = service.trigger(request)
        if isinstance(outcome, UpToDate):
            last, due = outcome.last_simulation_date, outcome.next_trading_day.isoformat()
            return False, {
                "status": "current",
                "message": f"Nothing is due before prices of {due}.",
                "last_simulation_date": last and last.isoformat(),
                "next_trading_day": due,
            }
        there = service.progress(outcome.job.job_id)
        if not isinstance(outcome, Created):
            return False, {**there, "message": f"This simulation is there already; it is {there['status']}."}
        days, models = len(there["date_range"]), len(there["models"])
        told = {name: there[name] for name in ("job_id", "date_range", "models", "created_at")}
        return True, {**told, "status": "accepted", "message": f"{days} days will be simulated by {models} models."}

    def status(self, job_id: str) -> Answer:
        """The job with every model-day. Raises NotFound, Starting, StoreUnavailable."""
        return self._service().status(job_id)

    def progress(self, job_id: str) -> Answer:
        """The job without its model-days. Raises NotFound, Starting, StoreUnavailable."""
        return self._service().progress(job_id)

    def current(self) -> Answer:
        """The newest job, without its model-days. Raises NotFound, Starting, StoreUnavailable."""
        return self._service().current()

    def cancel(self, job_id: str, user: str) -> Answer:
        """Has the job stop after the model-days that run. Raises NotFound, Starting, StoreUnavailable."""
        return self._service().cancel(job_id, user)

    def results(self, query: ResultsQuery) -> Answer:
        """What the models did. Raises NoData, Starting, StoreUnavailable."""
        return self._service().results(query)

    def subscribe(self, receive: Callable[[str], None]) -> Callable[[], None]:
        """As `JobService.subscribe`; calls nothing and does not block. Raises Starting, StoreUnavailable."""
        return self._service().subscribe(receive)
