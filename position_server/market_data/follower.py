"""Follower: tells this process's bus of quotes that other processes stored, where no Redis carries their events.

It looks at the store's sequence numbers at a fixed interval, on a thread of its own, and publishes what nobody on the
bus has told of. It fetches nothing and writes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from position_server import threads
from position_server.clock import Clock
from position_server.errors import StoreUnavailable
from position_server.events.bus import Bus, Notice, PriceUpdate, Subscription
from position_server.market_data.changes import Changes
from position_server.store.engine import Store

log = logging.getLogger(__name__)
INTERVAL_SECONDS = 0.75
OWN_EVENTS_SECONDS = 0.1  # from an updater's commit in this process to its event on the bus, and more than enough
JOIN_SECONDS = 10.0  # a store that does not answer holds a look up for as long as it takes to connect


class Follower:
    """Publishes on `bus` what others stored in `store`."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._changes = Changes(store)
        self._bus = bus
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._mark: tuple[Any, ...] | None = None  # this and the next are the thread's own
        self._store_was_down = False
        self._lock = threading.Lock()  # guards _told: the bus's thread notes what others publish
        self._told: dict[str, int] = {}
        self._stop = threading.Event()
        self._subscription: Subscription | None = None
        self._thread = threading.Thread(target=self._run, name="quote-follower", daemon=True)

    def start(self) -> None:
        """Subscribes, and starts the thread."""
        self._subscription = self._bus.subscribe(self.receive)
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end."""
        if self._subscription is not None:
            self._subscription.close()
        self._stop.set()

    def join(self) -> None:
        """Waits for the thread's end, and says so where it does not."""
        threads.join(self._thread, JOIN_SECONDS)

    def receive(self, notice: Notice) -> None:
        """Notes what the bus was told of; for the bus."""
        if isinstance(notice, PriceUpdate):
            self._note({notice.symbol: notice.sequence})

    def look(self) -> None:
        """Publishes what was stored since the last look. Raises StoreUnavailable.

        The first look publishes nothing: what was there before is no news. But where the store was down until then,
        nobody knows what was there before, and all of it is news.
        """
        numbers = self._changes.numbers(self._mark)
        if numbers is None:
            return
        if self._mark is None and not self._store_was_down:
            self._note(numbers.by_symbol)
        untold = self._untold(numbers.by_symbol)
        if untold:
            self._clock.wait(self._stop, OWN_EVENTS_SECONDS)
            for update in self._changes.updates(untold):
                if self._untold({update.symbol: update.sequence}):
                    self._note({update.symbol: update.sequence})
                    self._bus.publish(update)
        self._mark = numbers.mark

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except StoreUnavailable as error:
                if not self._store_was_down:
                    log.warning("quotes cannot be followed", extra={"error": error.message})
                self._store_was_down = True
            else:
                if self._store_was_down:
                    log.info("quotes are followed again")
                self._store_was_down = False
            self._clock.wait(self._stop, self._interval_seconds)

    def _untold(self, numbers: Mapping[str, int]) -> list[str]:
        """Symbols whose number is another than the bus was told: also a lower one, of a store that was built anew."""
        with self._lock:
            return [symbol for symbol, number in numbers.items() if self._told.get(symbol) != number]

    def _note(self, numbers: Mapping[str, int]) -> None:
        with self._lock:
            self._told.update(numbers)
