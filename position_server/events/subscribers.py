"""The subscribers of a bus in this process: a bounded mailbox and a thread for each, so that none can hold up another.

Knows nothing of where updates come from. Whoever brings one leaves it in every mailbox and goes on.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from position_server.events.bus import Missed, Notice, PriceUpdate, Sequences
from position_server.metrics import Metrics

log = logging.getLogger(__name__)
MOST_WAITING = 1_000  # notices in a mailbox; beyond it they become one Missed
JOIN_SECONDS = 5.0  # for a subscriber that is in the middle of a notice


class Mailbox:
    """One subscriber's notices, and the thread that hands them over one at a time."""

    def __init__(
        self,
        receive: Callable[[Notice], None],
        metrics: Metrics,
        on_close: Callable[[Mailbox], None],
        most_waiting: int,
    ) -> None:
        self._receive = receive
        self._metrics = metrics
        self._on_close = on_close
        self._most_waiting = most_waiting
        self._changed = threading.Condition()  # guards everything below but the thread; nothing is received under it
        self._sequences = Sequences()
        self._waiting: deque[Notice] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._hand_over, name="events-subscriber", daemon=True)
        self._thread.start()

    def put(self, update: PriceUpdate) -> None:
        """Leaves the update, or what became of it."""
        with self._changed:
            for notice in self._sequences.arrived(update):
                self._append(notice)

    def miss(self, symbols: frozenset[str] | None) -> None:
        """Leaves word that these symbols (None: any) may have changed unseen."""
        with self._changed:
            self._append(Missed(symbols))

    def close(self) -> None:
        """Ends the subscription; waits for the notice that is being received, unless its receiver asks."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        self._on_close(self)
        if threading.current_thread() is self._thread:
            return
        self._thread.join(JOIN_SECONDS)
        if self._thread.is_alive():
            log.warning("a subscriber did not end", extra={"subscriber": _name(self._receive)})

    def _append(self, notice: Notice) -> None:
        """Under the lock."""
        if self._closed:
            return
        self._waiting.append(notice)
        if isinstance(notice, Missed):
            self._metrics.events.labels("missed").inc()
        if len(self._waiting) > self._most_waiting:
            missed = Missed(_symbols_of(self._waiting, self._most_waiting))
            log.warning("a subscriber is too slow", extra={"subscriber": _name(self._receive)})
            self._metrics.events.labels("missed").inc()
            self._waiting.clear()
            self._waiting.append(missed)
        self._changed.notify()

    def _hand_over(self) -> None:
        while (notice := self._next()) is not None:
            try:
                self._receive(notice)
            except Exception:
                self._metrics.events.labels("failed").inc()
                log.exception("a subscriber failed", extra={"subscriber": _name(self._receive), "notice": notice})

    def _next(self) -> Notice | None:
        """The next notice, waited for; None when closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            return None if self._closed else self._waiting.popleft()


class Subscribers:
    """All mailboxes of a bus. Callable from any thread."""

    def __init__(self, metrics: Metrics, most_waiting: int = MOST_WAITING) -> None:
        self._metrics = metrics
        self._most_waiting = most_waiting
        self._lock = threading.Lock()  # guards the two below; the tuple is replaced whole, so readers take none
        self._mailboxes: tuple[Mailbox, ...] = ()
        self._closed = False

    def add(self, receive: Callable[[Notice], None]) -> Mailbox:
        """The mailbox of a new subscriber. Raises RuntimeError on a closed bus."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the bus is closed")
            mailbox = Mailbox(receive, self._metrics, self._remove, self._most_waiting)
            self._mailboxes = (*self._mailboxes, mailbox)
        return mailbox

    def put(self, update: PriceUpdate) -> None:
        """Leaves the update in every mailbox."""
        for mailbox in self._mailboxes:
            mailbox.put(update)

    def miss(self, symbols: frozenset[str] | None) -> None:
        """Leaves word in every mailbox that these symbols (None: any) may have changed unseen."""
        for mailbox in self._mailboxes:
            mailbox.miss(symbols)

    def close(self) -> None:
        """Ends every subscription, and allows no more."""
        with self._lock:
            self._closed = True
            mailboxes = self._mailboxes
        for mailbox in mailboxes:
            mailbox.close()

    def _remove(self, mailbox: Mailbox) -> None:
        with self._lock:
            self._mailboxes = tuple(other for other in self._mailboxes if other is not mailbox)


def _symbols_of(notices: deque[Notice], most: int) -> frozenset[str] | None:
    """Everything that the notices are about; None where that is anything, or too much to name."""
    symbols: set[str] = set()
    for notice in notices:
        if isinstance(notice, PriceUpdate):
            symbols.add(notice.symbol)
        elif notice.symbols is None:
            return None
        else:
            symbols |= notice.symbols
    return frozenset(symbols) if len(symbols) <= most else None


def _name(receive: Callable[[Notice], None]) -> str:
    """Who receives, for the log."""
    return getattr(receive, "__qualname__", repr(receive))
