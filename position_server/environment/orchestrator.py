"""THE FLOW: every section at once, each on a worker, collected into one dictionary.

A section's failure is a value in its own cell: a traceback, a timeout or a dead worker becomes that section's outcome
and nobody else's. Callable from any thread. Computes nothing: workers do, and the threads here take up their results.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import date

from position_server.clock import Clock
from position_server.compute import tasks
from position_server.compute.pool import ComputePool, Kind, Task
from position_server.environment.catalogue import Catalogue
from position_server.environment.section_statistics import SectionStatistics
from position_server.errors import PositionServerError
from position_server.outcomes import SectionCall, SectionOutcome
from position_server.params import BaseParams, SectionParams

Outcomes = dict[str, SectionOutcome]


class Orchestrator:
    """Asks the pool for all sections of an environment; `threads` take up what the workers send back."""

    def __init__(
        self,
        *,
        pool: ComputePool,
        threads: Executor,
        clock: Clock,
        timeout_of: Callable[[str], float],
        business_date: Callable[[], date],
        statistics: SectionStatistics,
    ) -> None:
        self._pool = pool
        self._threads = threads
        self._clock = clock
        self._timeout_of = timeout_of
        self._business_date = business_date
        self._statistics = statistics

    def fetch_all_sections(
        self, catalogue: Catalogue, base: BaseParams, section_params: SectionParams | None, kind: Kind
    ) -> Future[Outcomes]:
        """Starts every section now and returns at once; the future never fails. Raises Busy.

        The event loop awaits it (`asyncio.wrap_future`), a thread waits for its `result()`.
        """
        today = self._business_date()
        given = section_params or {}
        names = list(catalogue.sections)
        calls = [SectionCall(name, base, today, given.get(name)) for name in names]
        futures = self._pool.submit(
            kind,
            [Task(tasks.RUN_SECTION, (call,), self._timeout_of(call.section), lane=call.section) for call in calls],
        )
        gathering = _Gathering(len(names))
        for name, future in zip(names, futures, strict=True):
            # A thread is taken when there is something to do, not to wait: slow sections cannot use them up.
            future.add_done_callback(
                lambda done, name=name: self._threads.submit(self._collect, name, done, gathering)  # type: ignore[misc]
            )
        return gathering.whole

    def _collect(self, name: str, future: Future[SectionOutcome], gathering: _Gathering) -> None:
        error = future.exception()
        outcome = future.result() if error is None else self.failure(name, error)
        self._statistics.record(outcome, timed_out=isinstance(error, TimeoutError))
        gathering.add(outcome)

    def failure(self, name: str, error: BaseException) -> SectionOutcome:
        """The outcome of a section whose computation ended in `error` outside its own code."""
        message = error.message if isinstance(error, PositionServerError) else str(error)
        return SectionOutcome(
            section=name,
            computed_at=self._clock.now(),
            duration_ms=int(self._timeout_of(name) * 1000) if isinstance(error, TimeoutError) else 0,
            data=None,
            error_line=f"{type(error).__name__}: {message}",
            error_stack="".join(traceback.format_exception(error)),
        )


class _Gathering:
    """Outcomes that are still coming in; the last one completes `whole`."""

    def __init__(self, expected: int) -> None:
        self.whole: Future[Outcomes] = Future()
        self._expected = expected
        self._lock = threading.Lock()  # guards _outcomes
        self._outcomes: Outcomes = {}
        if not expected:
            self.whole.set_result({})

    def add(self, outcome: SectionOutcome) -> None:
        with self._lock:
            self._outcomes[outcome.section] = outcome
            complete = len(self._outcomes) == self._expected
        if complete:
            self.whole.set_result(self._outcomes)
