"""The limit on calls to the provider: at most N in any W seconds, in order of arrival, in all processes together.

It calls nobody and keeps nothing itself: the ledger holds the book of calls, `call_book` says what a change of it is,
and this file waits. Threads share a limiter. While one waits it holds no lock, no transaction and no connection.

What it does when things go wrong:

- The stop event is set: the waiter gives its place up, and those behind move up.
- A process dies: its calls count until they are a window old. Its places in line are dropped 10 s after the first of
  them was due. A process that was only slow gets its place back when it looks again.
- The wall clock is set: nothing changes among the processes of one machine, they count by its monotonic clock. Between
  machines see `call_book`: nobody waits longer than a window for a moment that cannot be.
- The ledger cannot be reached: StoreUnavailable, and no permit. The place is given up when the ledger is back.
- The ledger lost what it held (a restart of a Redis that keeps nothing): every limiter puts back the calls and the
  pause that it has seen there.
- The ledger is slow: a permit counts from when it is handed out, not from when it was written down. One that is handed
  out more than a window late is void, and another is waited for.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import socket
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from position_server.clock import Clock
from position_server.errors import StoreUnavailable
from position_server.market_data.call_book import (
    FUTURE_SECONDS,
    Answer,
    Book,
    Booking,
    Limit,
    Moment,
    Pause,
    asked,
    called_at,
    differ_by_more_than_time,
    left,
    longest,
    restored,
    tidied,
)

T = TypeVar("T")

log = logging.getLogger(__name__)
GUARD_SECONDS = 0.2  # calls take their time to the provider, some more than others
PATIENCE_SECONDS = 10.0  # who is due and does not come for this long has died; longer than a wait for a lock
LEAST_LATENESS_SECONDS = 0.02  # writing a permit down takes this long at least, on a busy machine
HAND_OUT_ATTEMPTS = 5
LONGEST_PAUSE_SECONDS = 86_400.0  # whoever names a year has made a mistake
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Stopped(Exception):
    """The stop event was set before the turn came."""


class Ledger(Protocol):
    """Where the book of a budget is kept for all processes. Both raise StoreUnavailable."""

    def look(self) -> Book:
        """The book as it is now."""
        ...

    def change(self, step: Callable[[Book], tuple[Book, T]]) -> T:
        """Put the book that `step` makes of the present one in its place; returns what else `step` returned.

        Nobody else changes the book in between. `step` may be called more than once; the last call counts.
        """
        ...


class RateLimiter:
    """Permits to call: at most `calls` in any `window_seconds`, for all limiters that share the ledger.

    They must agree on the limit. `guard_seconds` is added to the window, for the way to the provider.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        calls: int,
        window_seconds: float,
        clock: Clock,
        guard_seconds: float = GUARD_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        machine: str | None = None,
    ) -> None:
        if calls < 1:
            raise ValueError(f"calls must be at least 1, not {calls}")
        if not (0 < window_seconds < math.inf and 0 <= guard_seconds < math.inf):
            raise ValueError(f"no window: {window_seconds} s with a guard of {guard_seconds} s")
        self._ledger = ledger
        self._clock = clock
        self._window_seconds = window_seconds
        self._limit = Limit(calls, window_seconds + guard_seconds, patience_seconds)
        self._lateness_seconds = max(guard_seconds / 2, LEAST_LATENESS_SECONDS)
        self._machine = machine or this_machine()
        self._holder = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # guards changes of what follows; it is replaced whole, so reading takes no lock
        self._seen = Book()  # the newest of the ledger, in case that it loses it
        self._pause: Pause | None = None  # the last one asked for here, in case that the ledger could not be told
        self._abandoned: frozenset[str] = frozenset()  # places to give up once the ledger can be reached

    def acquire(self, stop: threading.Event) -> float:
        """Wait for a permit to make one call, now; returns the seconds waited, 0.0 where it was free at once.

        Raises Stopped once `stop` is set, and StoreUnavailable where the ledger cannot be reached: no permit then, and
        the place in line is given up.
        """
        if stop.is_set():
            raise Stopped("stopped before a permit to call was asked for")
        began = self._clock.monotonic()
        waited = self._next(stop)
        while waited is None:
            waited = self._next(stop)
        return self._clock.monotonic() - began if waited else 0.0

    def _next(self, stop: threading.Event) -> bool | None:
        """Whether there was a wait for the next permit; None where it was handed out too late to be used."""
        key = f"{self._holder}:{next(self._numbers)}"
        try:
            answer = self._ask(key, None)
            waited = answer.call is None
            while answer.call is None:
                if self._clock.wait(stop, answer.look_in_seconds):
                    raise Stopped("stopped while waiting for a permit to call")
                answer = self._ask(key, answer.number)
            return waited if self._hand_out(answer.call) else None
        except StoreUnavailable:
            self._abandon(key)
            raise
        except BaseException:
            self._give_up(key)
            raise

    def pause(self, seconds: float) -> None:
        """Let nobody call for so many seconds from now, in any process: the provider said so (429).

        A longer pause stands; one of more than a day is taken for a day. Raises StoreUnavailable; this process keeps to
        the pause even then, and writes it down as soon as it can.
        """
        if not seconds >= 0:  # or no number
            raise ValueError(f"a pause cannot last {seconds} s")
        seconds = min(seconds, LONGEST_PAUSE_SECONDS)
        pause = Pause(self._now(), seconds)
        with self._lock:
            self._pause = longest([self._pause, pause], pause.since)
        self._change(lambda book, _: (book, None))
        log.info("calls to the provider are paused", extra={"seconds": seconds})

    def get_remaining(self) -> int:
        """How many calls would be permitted at once now. Raises StoreUnavailable."""
        return int(self.get_stats()["remaining"])

    def get_reset_time(self) -> datetime:
        """When the oldest call leaves the window, or the pause ends if that is later; now where there is neither.

        Raises StoreUnavailable.
        """
        reset_at: datetime = self.get_stats()["reset_at"]
        return reset_at

    def get_stats(self) -> dict[str, Any]:
        """The budget in numbers, of all processes together; times are datetimes. Raises StoreUnavailable."""
        wall, now = self._clock.now(), self._now()
        book = tidied(self._complete(self._ledger.look(), now), self._limit, now, self._holder)
        ages = [age for call in book.calls if (age := now.since(call.at)) < self._limit.span_seconds]
        pause_left = 0.0 if book.pause is None else max(0.0, book.pause.left(now))
        oldest_leaves = self._limit.span_seconds - max(ages) if ages else 0.0
        free = 0 if pause_left else max(0, self._limit.calls - len(ages) - len(book.line))
        return {
            "limit": self._limit.calls,
            "window_seconds": self._window_seconds,
            "current_calls": len(ages),
            "remaining": free,
            "reset_at": wall + timedelta(seconds=max(oldest_leaves, pause_left)),
            "total_calls": book.total_calls,
            "total_waits": book.total_waits,
            "waiting": len(book.line),
            "paused_until": wall + timedelta(seconds=pause_left) if pause_left else None,
        }

    def _ask(self, key: str, number: int | None) -> Answer:
        """Ask the ledger; where only time has passed since the last time, without writing to it."""

        def step(book: Book, now: Moment) -> tuple[Book, Answer]:
            return asked(book, self._limit, now, key, number)

        if number is not None and not self._abandoned:
            now, book = self._now(), self._ledger.look()
            after, answer = step(self._complete(book, now), now)
            if answer.call is None and not differ_by_more_than_time(book, after):
                self._remember(after)
                return answer
        return self._change(step)

    def _hand_out(self, call: Booking) -> bool:
        """See to it that the call counts from now on, or later: writing it down may have taken long.

        False where it took so long (a process that was held, say) that others have been given the place in the window.
        """
        for _ in range(HAND_OUT_ATTEMPTS):
            late = self._clock.monotonic() - call.at.monotonic
            if late <= self._lateness_seconds:
                return True
            if late >= self._limit.span_seconds:
                log.warning("a permit to call is void", extra={"late_seconds": round(late, 3)})
                return False
            at = self._now().later(min(2 * late, FUTURE_SECONDS))  # it takes as long again, and a reserve
            call = self._change(partial(_called_at, replace(call, at=at)))
        raise StoreUnavailable(f"the ledger of calls is too slow: a permit took {late:.1f} s to be written down")

    def _give_up(self, key: str) -> None:
        """Leave the line; where the ledger cannot be reached now, with the next change."""
        self._abandon(key)
        try:
            self._change(lambda book, _: (book, None))
        except StoreUnavailable as error:
            log.warning("a place in line is given up later", extra={"error": error.message})

    def _abandon(self, key: str) -> None:
        with self._lock:
            self._abandoned |= {key}

    def _change(self, step: Callable[[Book, Moment], tuple[Book, T]]) -> T:
        """Change the ledger's book by `step`, and by what this limiter still has to tell it."""
        abandoned = self._abandoned

        def whole_step(book: Book) -> tuple[Book, tuple[Book, T]]:
            now = self._now()  # read when nobody else can change the book any more
            after, result = step(left(self._complete(book, now), abandoned, now), now)
            return after, (after, result)

        after, result = self._ledger.change(whole_step)
        with self._lock:
            self._abandoned -= abandoned
        self._remember(after)
        return result

    def _complete(self, book: Book, now: Moment) -> Book:
        """The ledger's book, and what it does not hold and should."""
        book = restored(book, self._seen, now)
        return replace(book, pause=longest([book.pause, self._pause], now))

    def _remember(self, book: Book) -> None:
        with self._lock:
            if book.total_calls >= self._seen.total_calls:
                self._seen = book

    def _now(self) -> Moment:
        return Moment(self._clock.now().timestamp(), self._clock.monotonic(), self._machine)


def _called_at(call: Booking, book: Book, _: Moment) -> tuple[Book, Booking]:
    return called_at(book, call.key, call.at), call


def this_machine() -> str:
    """What is the same for all processes whose monotonic clocks show the same: this start of this machine."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:  # not Linux: only this process is sure to share its clock
        return f"{socket.gethostname()}-{os.getpid()}"
