"""The bus within one process: what is published is left in every subscriber's mailbox. The default."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from position_server.events.bus import Notice, PriceUpdate
from position_server.events.subscribers import MOST_WAITING, Mailbox, Subscribers
from position_server.metrics import Metrics


class InProcessBus:
    """A Bus whose subscribers are in this process. `most_waiting` bounds the notices that wait for each of them."""

    def __init__(self, metrics: Metrics | None = None, *, most_waiting: int = MOST_WAITING) -> None:
        self._metrics = metrics or Metrics.create()
        self._subscribers = Subscribers(self._metrics, most_waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def publish(self, update: PriceUpdate) -> None:
        """Tells every subscriber. Returns at once and never raises."""
        self._metrics.events.labels("published").inc()
        self._subscribers.put(update)

    def subscribe(self, receive: Callable[[Notice], None]) -> Mailbox:
        """Has `receive` called with every notice from now on. Raises RuntimeError on a closed bus."""
        return self._subscribers.add(receive)

    def close(self) -> None:
        """Ends every subscription."""
        self._subscribers.close()
