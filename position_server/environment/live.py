"""Live refreshes: a quote event has the LIVE environments that hold the symbol computed anew, and only those.

Knows no prices: a computation that begins after the event reads the quote from the store. Of each environment at most
one computation runs and one waits, whatever number of events comes. One thread decides all of it; buses and landing
computations only leave word. A refresh that fails is tried again until it works or nobody keeps the environment.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import date

from position_server import threads
from position_server.clock import Clock
from position_server.environment.cache import Entry, Key
from position_server.environment.news import News
from position_server.environment.service import EnvironmentService
from position_server.errors import Retryable, Starting
from position_server.events.bus import Bus, Missed, Notice, PriceUpdate, Subscription
from position_server.metrics import Metrics
from position_server.params import BaseParams

log = logging.getLogger(__name__)
MOST_AT_ONCE = 4  # refreshes that run; more would only wait in the pool's queue, whose room others need
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 8.0  # between two attempts at a refresh that fails
IDLE_SECONDS = 3600.0  # whatever happens wakes the thread
JOIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Mark:
    """An environment to be computed anew, from the monotonic time `due` on, for some news."""

    base: BaseParams
    news: News
    due: float
    failures: int = 0


@dataclass(slots=True)
class _Flight:
    """A computation under way: the mark it was started for (None: others started it), and what came since."""

    key: Key
    entry: Future[Entry]
    mark: _Mark | None
    news: News | None = None


@dataclass(slots=True)
class _Word:
    """What was left for the thread."""

    news: News | None = None
    landed: list[_Flight] = field(default_factory=list)


class LiveRefresh:
    """Refreshes LIVE environments of the business date. `refreshed` hears of each new entry, on the thread of this."""

    def __init__(
        self,
        *,
        service: EnvironmentService,
        bus: Bus,
        clock: Clock,
        business_date: Callable[[], date],
        metrics: Metrics,
        refreshed: Callable[[Entry], None] | None = None,
    ) -> None:
        self._service = service
        self._bus = bus
        self._clock = clock
        self._business_date = business_date
        self._metrics = metrics
        self._refreshed = refreshed
        self._marks: dict[Key, _Mark] = {}  # this and the next are the thread's own
        self._flights: dict[Key, _Flight] = {}
        self._lock = threading.Lock()  # guards _word
        self._word = _Word()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._subscription: Subscription | None = None
        self._thread = threading.Thread(target=self._run, name="live-refresh", daemon=True)

    def start(self) -> None:
        """Subscribes, and starts the thread."""
        self._subscription = self._bus.subscribe(self.receive)
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; nothing is received any more."""
        if self._subscription is not None:
            self._subscription.close()
        self._stopped.set()
        self._wake.set()

    def join(self) -> None:
        """Waits for the thread's end, and says so where it does not."""
        threads.join(self._thread, JOIN_SECONDS)

    def receive(self, notice: Notice) -> None:
        """Leaves word of a notice; for the bus."""
        is_update = isinstance(notice, PriceUpdate)
        self._metrics.live_events.labels("update" if is_update else "missed").inc()
        symbols = frozenset({notice.symbol}) if isinstance(notice, PriceUpdate) else notice.symbols
        news = News(symbols, self._clock.monotonic())
        with self._lock:
            self._word.news = news.joined(self._word.news)
        self._wake.set()

    def step(self) -> float:
        """Takes up what was left, starts what is due; the seconds after which something else will be."""
        with self._lock:
            word, self._word = self._word, _Word()
        for flight in word.landed:
            self._take_landed(flight)
        if word.news is not None:
            self._spread(word.news)
        return self._start_due()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                wait = self.step()
            except Exception:
                log.exception("live refreshes broke off: all will be computed anew")
                self._clock.wait(self._stopped, LONGEST_WAIT_SECONDS)
                self.receive(Missed(None))
            else:
                self._clock.wait(self._wake, wait)

    # --- what happened -----------------------------------------------------------------------------------------

    def _spread(self, news: News) -> None:
        """Marks every environment that the news concern, or has them wait for its computation to land.

        A computation under way may have read the store before the event, and what it brings may not be known yet. They
        are listed before the entries: one that lands in between is in the first list, in the cache, or in both.
        """
        under_way = self._service.under_way()
        for key, entry in under_way.items():
            flight = self._flights.get(key)
            if flight is None or flight.entry is not entry:
                flight = self._watch(_Flight(key, entry, None))
            flight.news = news.joined(flight.news)
        for kept in self._service.cache.entries():
            if kept.key not in under_way:
                self._mark(kept, news)

    def _mark(self, entry: Entry, news: News) -> None:
        """Has the environment computed anew if it is LIVE now and the news concern it."""
        if entry.base.time_of_day != "LIVE" or entry.base.env_date != self._business_date():
            return
        concerned = news.used_by(entry)
        if concerned is None:
            return
        mark = self._marks.get(entry.key)
        taken_along = len(concerned.symbols) if concerned.symbols else 1
        self._metrics.live_coalesced.inc(taken_along - (mark is None))
        if mark is None:
            mark = _Mark(entry.base, concerned, self._clock.monotonic())
        self._marks[entry.key] = replace(mark, news=concerned.joined(mark.news))

    def _watch(self, flight: _Flight) -> _Flight:
        """Has the thread told when it lands."""
        self._flights[flight.key] = flight
        flight.entry.add_done_callback(lambda _: self._leave_landed(flight))
        return flight

    def _leave_landed(self, flight: _Flight) -> None:
        """Runs on the thread that lands it."""
        with self._lock:
            self._word.landed.append(flight)
        self._wake.set()

    def _take_landed(self, flight: _Flight) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        if flight.mark is not None:
            self._end_refresh(flight.mark, flight)
        kept = self._service.cache.peek(flight.key)
        if kept is not None and flight.news is not None:
            self._mark(kept, flight.news)

    # --- refreshing --------------------------------------------------------------------------------------------

    def _start_due(self) -> float:
        now, running = self._clock.monotonic(), sum(flight.mark is not None for flight in self._flights.values())
        for key, mark in list(self._marks.items()):
            if running >= MOST_AT_ONCE:
                break
            if mark.due <= now:
                del self._marks[key]
                running += self._begin(key, mark)
        waiting = [mark.due for key, mark in self._marks.items() if mark.due > now]
        return max(0.0, min(waiting, default=now + IDLE_SECONDS) - now)

    def _begin(self, key: Key, mark: _Mark) -> bool:
        """Whether a refresh runs now: none is for what nobody keeps any more, and a refusal leaves the mark."""
        if self._service.cache.peek(key) is None:
            return False
        try:
            entry = self._service.begin_refresh(mark.base)
        except Starting:  # an environment of before the restart: no failure, it is only too early
            self._marks[key] = replace(mark, due=self._clock.monotonic() + FIRST_WAIT_SECONDS)
            return False
        except Retryable as error:  # the queue is full
            self._metrics.live_refreshes.labels("refused").inc()
            self._try_again(key, mark, error.message)
            return False
        # Where others began it meanwhile, it will do: none was under way when the mark got its news.
        self._watch(_Flight(key, entry, mark))
        return True

    def _end_refresh(self, mark: _Mark, flight: _Flight) -> None:
        error = flight.entry.exception()
        entry = flight.entry.result() if error is None else None
        if entry is None or mark.news.missing_in(entry):
            self._metrics.live_refreshes.labels("failed").inc()
            self._try_again(flight.key, mark, str(error) if error else "a section failed")
        else:
            self._metrics.live_refreshes.labels("ok").inc()
            self._metrics.live_seconds.observe(self._clock.monotonic() - mark.news.since)
            if mark.failures:
                log.info("live refresh works again", extra={"key": mark.base.to_dict(), "failures": mark.failures})
        if entry is not None:
            self._tell(entry)

    def _try_again(self, key: Key, mark: _Mark, why: str) -> None:
        if not mark.failures:
            log.warning("live refresh failed", extra={"key": mark.base.to_dict(), "error": why})
        wait = min(FIRST_WAIT_SECONDS * float(2 ** min(mark.failures, 10)), LONGEST_WAIT_SECONDS)
        self._marks[key] = replace(mark, due=self._clock.monotonic() + wait, failures=mark.failures + 1)

    def _tell(self, entry: Entry) -> None:
        if self._refreshed is None:
            return
        try:
            self._refreshed(entry)
        except Exception:
            log.exception("a listener to refreshed environments failed", extra={"key": entry.base.to_dict()})
