"""Onboarding: new symbols get their prices and factor exposures, one after the other, from a queue in the store.

Whoever adds a symbol queues it; a thread of a server works the queue off; a job whose process has died is taken up by
the next one. The symbols that books wait for are known here too: a batch waits for them a while. Nothing is computed in
this process: fits come from whoever is handed in as `fit`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date, timedelta

from sqlalchemy import Connection

from position_server.business_days import Calendar
from position_server.clock import Clock
from position_server.errors import BatchStopped, ConfigError, StoreUnavailable
from position_server.portfolio.choice import CURRENCY, EQUITY, OPTION, new_instrument, store_name
from position_server.portfolio.coordination import BEATS_PER_TIMEOUT, JOIN_SECONDS, this_process
from position_server.portfolio.night import Night
from position_server.portfolio.prices import PriceSource, SourceError, UnknownSymbol, fetch_symbol, patiently
from position_server.portfolio.records import factors, onboarding, prices
from position_server.portfolio.records.onboarding import Job
from position_server.portfolio.records.prices import Terms
from position_server.portfolio.records.snapshots import HeldPosition
from position_server.settings import PortfolioSettings
from position_server.store.engine import Store
from position_server.symbols import SymbolKind, kind_of

log = logging.getLogger(__name__)
MOST_ATTEMPTS = 3  # after which a symbol that ends its process is given up
WAIT_POLL_SECONDS = 0.5
REQUESTED_BY = "load"
NAMES_AT_ONCE = 1000  # a statement takes some ten thousand parameters at most
OpenSource = Callable[[], AbstractContextManager[PriceSource]]
Fit = Callable[[Sequence[str], date], None]  # computes and writes the fits of equities on a day


class Onboarding:
    """Works the queue off. Belongs to one thread; the day is that of the newest prices."""

    def __init__(
        self,
        store: Store,
        settings: PortfolioSettings,
        calendar: Calendar,
        clock: Clock,
        *,
        day: Callable[[], date],
        open_source: OpenSource,
        fit: Fit,
        process: str | None = None,
    ) -> None:
        self._store, self._settings, self._calendar, self._clock = store, settings, calendar, clock
        self._day, self._open_source, self._fit = day, open_source, fit
        self._process = process or f"{this_process()}:{threading.get_ident()}"
        self._timeout = timedelta(seconds=settings.heartbeat_timeout_seconds)

    def work_off(self, stop: threading.Event) -> int:
        """Processes all jobs that wait; returns how many. Opens the source only where there is one.

        Raises StoreUnavailable, BatchStopped.
        """
        job = self._claim()
        if job is None:
            return 0
        count = 0
        try:
            with self._open_source() as source:
                while job is not None:
                    self._process_job(job, source, stop)
                    count += 1
                    job = self._claim()
        except ConfigError as error:  # the source is not what this process was set up for: it stays so
            if job is not None:
                self._end(job, error.message)
            return count + 1
        return count

    def _claim(self) -> Job | None:
        """The next job; those that were begun too often end here."""
        with self._store.read() as connection:  # mostly nothing waits, and a look should not lock out writers
            if not onboarding.is_waiting(connection, self._clock.now(), self._timeout):
                return None
        with self._store.write() as connection:
            while True:
                job = onboarding.claim(connection, self._process, self._clock.now(), self._timeout)
                if job is None or job.attempts <= MOST_ATTEMPTS:
                    return job
                told = f"{job.symbol}: its processing ended {MOST_ATTEMPTS} times without a result"
                onboarding.fail(connection, job, told, self._clock.now())

    def _process_job(self, job: Job, source: PriceSource, stop: threading.Event) -> None:
        try:
            with self._beating(job):
                self._onboard(job.symbol, source, stop)
        except BatchStopped:
            with self._store.write() as connection:
                onboarding.release(connection, job)
            raise
        except UnknownSymbol as error:
            self._end(job, f"no source of prices knows it: {error}")
        except SourceError as error:
            self._end(job, str(error))
        except StoreUnavailable:
            raise  # its heartbeat runs out, and somebody takes it up again
        except Exception as error:  # whatever one symbol brings about is that symbol's failure
            log.exception("onboarding failed", extra={"symbol": job.symbol})
            self._end(job, f"{type(error).__name__}: {error}")
        else:
            self._end(job, None)

    def _onboard(self, symbol: str, source: PriceSource, stop: threading.Event) -> None:
        day = self._day()
        name = patiently(
            lambda: fetch_symbol(self._store, source, symbol, day, self._settings, self._calendar, stop),
            self._clock,
            stop,
        )
        with self._store.read() as connection:
            is_equity = prices.known(connection, [name])[name].kind == EQUITY
        if is_equity:
            self._fit([name], day)

    def _end(self, job: Job, problem: str | None) -> None:
        with self._store.write() as connection:
            now = self._clock.now()
            if problem is None:
                onboarding.complete(connection, job, now)
            else:
                onboarding.fail(connection, job, problem, now)
        log.info("onboarded" if problem is None else "not onboarded", extra={"symbol": job.symbol, "error": problem})

    @contextmanager
    def _beating(self, job: Job) -> Iterator[None]:
        """While it lasts, a thread says that this process works on the job."""
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(job, done), name=f"onboarding-{job.symbol}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(JOIN_SECONDS)

    def _beat(self, job: Job, done: threading.Event) -> None:
        while not self._clock.wait(done, self._timeout.total_seconds() / BEATS_PER_TIMEOUT):
            try:
                with self._store.write() as connection:
                    onboarding.beat(connection, job, self._clock.now())
            except StoreUnavailable as error:
                log.warning("a heartbeat failed", extra={"symbol": job.symbol, "error": error.message})


class LoadedSymbols:
    """What `load` does with symbols that the store did not know: the Newcomers of `store.load`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.queued: list[str] = []

    def accepts(self, name: str) -> bool:
        """Whether positions may name it: where its text says what it is."""
        return is_symbol(name)

    def add(self, connection: Connection, names: Collection[str]) -> None:
        """Adds the instruments of these symbols, and queues them."""
        for name in names:
            prices.add_instrument(connection, new_instrument(name))
            self._queue(connection, [name])

    def added(self, connection: Connection, names: Collection[str]) -> None:
        """Queues the equities and options among new instruments, those that are priced in dollars."""
        listed = list(names)
        for first in range(0, len(listed), NAMES_AT_ONCE):
            some = listed[first : first + NAMES_AT_ONCE]
            known = prices.known(connection, some)
            self._queue(connection, [name for name in some if _is_priced(known[name]) and is_symbol(name)])

    def _queue(self, connection: Connection, names: Collection[str]) -> None:
        self.queued += onboarding.queue(connection, names, REQUESTED_BY, self._clock.now())


def _is_priced(terms: Terms) -> bool:
    return terms.kind in (EQUITY, OPTION) and terms.currency == CURRENCY


def is_symbol(name: str) -> bool:
    """Whether a name that the store does not know reads as an equity or an option, as the store would name it."""
    if kind_of(name) not in (SymbolKind.EQUITY, SymbolKind.OPTION) or store_name(name) != name:
        return False
    try:
        new_instrument(name)
    except ValueError:
        return False
    return True


def wait_for_held(night: Night, held: Collection[HeldPosition]) -> list[str]:
    """Waits until no symbol that the books lack data of is being onboarded, at most `onboarding_wait_seconds`.

    Returns those that still are. Raises BatchStopped, StoreUnavailable.
    """
    deadline = night.clock.monotonic() + night.settings.portfolio.onboarding_wait_seconds
    said = False
    while True:
        with night.store.read() as connection:
            awaited = _awaited(connection, night.day, held)
        left = deadline - night.clock.monotonic()
        if not awaited or left <= 0:
            return awaited
        if not said:
            night.progress.say(f"waiting for {len(awaited)} symbols being onboarded: {', '.join(awaited[:10])}")
        said = True
        if night.clock.wait(night.stop, min(WAIT_POLL_SECONDS, left)):
            raise BatchStopped


def _awaited(connection: Connection, day: date, held: Collection[HeldPosition]) -> list[str]:
    """The held symbols that are being onboarded and lack a price, or an equity its fit, of the day."""
    names = {one.instrument: one.kind for one in held if one.kind in (EQUITY, OPTION)}
    working = onboarding.active(connection, names)
    if not working:
        return []
    priced = prices.closes_on(connection, day, working)
    unfitted = factors.missing(connection, day, [name for name in working if names[name] == EQUITY])
    return sorted({*unfitted, *(set(working) - priced.keys())})
