"""Portfolio: the face of the room, for the application and HTTP: what the nights left, values by hand, onboarding.

`start` starts one thread, `onboarding`, which looks for queued symbols and works them off. What is asked reads the
store and blocks: call it from threads. Nothing is computed in this process; fits are the work of a worker that is
started when there is something to fit. Imports of SQLAlchemy come late, so that a server listens early.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from position_server import threads
from position_server.business_days import Calendar, last_completed_business_date
from position_server.clock import Clock
from position_server.compute import tasks
from position_server.compute.pool import ComputePool, Kind, Task
from position_server.errors import BadRequest, BatchStopped, NotFound, Problem, StoreUnavailable
from position_server.settings import Settings

if TYPE_CHECKING:
    from position_server.portfolio.prices import PriceSource
    from position_server.store.engine import Store

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0  # from one look at the queue to the next
FIT_SECONDS, FIT_POLL_SECONDS = 120.0, 0.1
JOIN_SECONDS = 15.0  # a call that is under way is not cut short
MOST_SYMBOLS = 1000  # of one request
MOST_RUNS = 1000
OpenSource = Callable[[], AbstractContextManager["PriceSource"]]
Answer = dict[str, Any]


class Portfolio:
    """The portfolio room of one server."""

    def __init__(self, settings: Settings, clock: Clock, open_source: OpenSource) -> None:
        self._settings, self._clock = settings, clock
        self._open_source = open_source
        self._calendar = Calendar.named(settings.calendar)
        self._zone = ZoneInfo(settings.timezone)
        self._opening = threading.Lock()  # guards the store, which all share
        self._opened: Store | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="onboarding", daemon=True)

    # --- its life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; a symbol that is being worked on goes back into the queue."""
        self._stop.set()

    def join(self) -> None:
        """Waits for the thread's end, says so where it does not, and closes the store."""
        if threads.join(self._thread, JOIN_SECONDS) and self._opened is not None:
            self._opened.close()

    def _work(self) -> None:
        """The life of the thread: a look at the queue, a wait. A store that is away is looked for again."""
        available = True
        while not self._clock.wait(self._stop, LOOK_SECONDS):
            try:
                self._work_off()
            except BatchStopped:
                return
            except StoreUnavailable as error:
                if available:
                    log.warning("onboarding waits for the store", extra={"error": error.message})
                available = False
            except Exception:  # the source cannot be opened, say; the symbols stay queued
                log.exception("onboarding was interrupted")
            else:
                available = True

    def _work_off(self) -> None:
        from position_server.portfolio.onboarding import Onboarding

        Onboarding(
            self._store(),
            self._settings.portfolio,
            self._calendar,
            self._clock,
            day=self.day,
            open_source=self._open_source,
            fit=self._fit,
        ).work_off(self._stop)

    def _fit(self, names: Sequence[str], day: date) -> None:
        """Has a worker compute and write fits."""
        compute = self._settings.compute
        arguments = (list(names), day, self._settings.portfolio, self._settings.calendar)
        with ComputePool(
            tasks.OPEN_FITTING,
            (self._settings.store_url,),
            workers=1,
            queue=1,
            niceness=compute.nice,
            memory_mb=compute.memory_mb,
        ) as pool:
            (future,) = pool.submit(Kind.WARMUP, [Task(tasks.FIT_SYMBOLS, arguments, FIT_SECONDS)])
            while not future.done():
                if self._clock.wait(self._stop, FIT_POLL_SECONDS):
                    raise BatchStopped
            future.result()

    def day(self) -> date:
        """The last completed business day."""
        now = self._clock.now()
        return last_completed_business_date(now, self._zone, self._calendar, self._settings.business_date)

    # --- what the nights left ------------------------------------------------------------------------------------

    def runs(self, batch_type: str | None, day: date | None, limit: int) -> list[Answer]:
        """The newest runs, newest first. Raises StoreUnavailable."""
        from position_server.portfolio import rows
        from position_server.portfolio.records import runs

        with self._store().read() as connection:
            return [rows.run_row(run) for run in runs.listed(connection, batch_type=batch_type, day=day, limit=limit)]

    def snapshots(self, book: str, first: date | None, last: date | None) -> Answer:
        """The book's snapshots of these days, oldest first. Raises StoreUnavailable."""
        from position_server.portfolio import rows
        from position_server.portfolio.records import snapshots

        with self._store().read() as connection:
            found = snapshots.listed(connection, book, first or date.min, last or date.max)
        return {"book": book, "snapshots": [rows.snapshot_row(one) for one in found]}

    def exposures(self, book: str, day: date | None) -> Answer:
        """The exposures of the book's snapshot of that day, or of its newest. Raises NotFound, StoreUnavailable."""
        from position_server.portfolio import rows

        return rows.exposures_row(self._snapshot(book, day))

    def tie_out(self, book: str, day: date, environment: Mapping[str, Mapping[str, Any]]) -> Answer:
        """The tie-out of the book's snapshot of that day with the environment's rows. Raises NotFound."""
        from position_server.portfolio.tie_out import Taken, tie_out

        snapshot = self._snapshot(book, day)
        with self._store().read() as connection:
            from position_server.portfolio.records import snapshots

            positions = snapshots.positions_of(connection, book, day)
            multipliers = snapshots.multipliers_of(connection, [one.instrument for one in positions])
            earlier = _earlier(connection, book, day)
        return tie_out(Taken(snapshot, positions, multipliers), environment, earlier)

    def snapshot_date(self, book: str, day: date | None) -> date:
        """The day of the book's snapshot of that day, or of its newest. Raises NotFound, StoreUnavailable."""
        found: date = self._snapshot(book, day).snapshot_date
        return found

    def _snapshot(self, book: str, day: date | None) -> Any:
        from position_server.portfolio.records import snapshots

        with self._store().read() as connection:
            found = snapshots.newest(connection, book, day or date.max)
        if found is None or (day is not None and found.snapshot_date != day):
            raise NotFound(f"There is no snapshot of {book!r}" + (f" on {day}." if day else "."))
        return found

    # --- what is entered -----------------------------------------------------------------------------------------

    def value(self, book: str, instrument: str, market_value: float, valued_on: date | None, who: str) -> Answer:
        """Writes down what a book's private position is worth. Raises NotFound, BadRequest, StoreUnavailable."""
        from position_server.portfolio import rows
        from position_server.portfolio.records import valuations

        now = self._clock.now()
        today = self._settings.business_date or now.astimezone(self._zone).date()
        if valued_on is not None and valued_on > today:
            raise BadRequest([Problem("valued_on", f"must not be after today ({today})")])
        valuation = valuations.Valuation(book, instrument, valued_on or self.day(), market_value, who, now)
        with self._store().write() as connection:
            held = valuations.kind_of_held(connection, book, instrument)
            if held is None:
                raise NotFound(f"{book!r} holds no {instrument!r}.")
            kind, currency = held
            if kind != "PRIVATE":
                raise BadRequest(
                    [Problem("instrument", f"{instrument} is a {kind}: only a PRIVATE one is valued by hand")]
                )
            replaced = valuations.put(connection, valuation)
        return rows.valuation_row(valuation, currency, replaced=replaced)

    def onboard(self, symbols: Sequence[str], who: str) -> Answer:
        """Queues symbols; those that no source of prices could know are BadRequest. Raises StoreUnavailable."""
        from position_server.portfolio import rows
        from position_server.portfolio.choice import new_instrument, store_name
        from position_server.portfolio.records import onboarding

        names, problems = [], []
        for place, symbol in enumerate(symbols):
            try:
                new_instrument(store_name(symbol))
            except ValueError as error:
                problems.append(Problem(f"symbols.{place}", str(error)))
            names.append(store_name(symbol))
        if problems:
            raise BadRequest(problems)
        with self._store().write() as connection:
            queued = onboarding.queue(connection, names, who, self._clock.now())
            jobs = [onboarding.by_symbol(connection, name) for name in dict.fromkeys(names)]
        return {"queued": queued, "jobs": [rows.job_row(job) for job in jobs if job is not None]}

    def job(self, symbol: str) -> Answer:
        """The onboarding of one symbol. Raises NotFound, StoreUnavailable."""
        from position_server.portfolio import rows
        from position_server.portfolio.choice import store_name
        from position_server.portfolio.records import onboarding

        with self._store().read() as connection:
            found = onboarding.by_symbol(connection, store_name(symbol))
        if found is None:
            raise NotFound(f"Nobody has asked for {symbol!r} to be onboarded.")
        return rows.job_row(found)

    def _store(self) -> Store:
        """The store, opened when it is first asked for."""
        with self._opening:
            if self._opened is None:
                from position_server.store.engine import open_store

                self._opened = open_store(self._settings.store_url)
            return self._opened


def _earlier(connection: Any, book: str, day: date) -> Any:
    """The book's last snapshot before `day`, with the trades since; None where there is none."""
    from position_server.portfolio.records import snapshots, trades
    from position_server.portfolio.tie_out import Earlier

    before = snapshots.newest(connection, book, date.fromordinal(day.toordinal() - 1))
    if before is None:
        return None
    positions = snapshots.positions_of(connection, book, before.snapshot_date)
    return Earlier(before.snapshot_date, positions, trades.between(connection, book, before.snapshot_date, day))
