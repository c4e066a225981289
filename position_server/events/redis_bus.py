"""The bus over Redis pub/sub: subscribers in any process hear what is published in any other.

Redis carries events and keeps none: what is published while a subscriber's connection is down is lost to it, and it is
told so (Missed) when the connection is back. Subscribers in the publishing process do not depend on Redis at all. No
caller waits for the network: two threads of the bus's own do, and start when first needed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from position_server.clock import Clock
from position_server.events.bus import Notice, PriceUpdate
from position_server.events.redis_connection import connect
from position_server.events.redis_inbox import Inbox
from position_server.events.redis_outbox import Outbox
from position_server.events.subscribers import MOST_WAITING, Mailbox, Subscribers
from position_server.metrics import Metrics


class RedisBus:
    """A Bus whose subscribers may be in other processes.

    `url` is redis://, rediss:// or unix://, with options as redis-py has them; `prefix` goes before the names of the
    channels, for several buses on one Redis. Raises ValueError for a wrong URL; connects only when used.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        metrics: Metrics | None = None,
        *,
        prefix: str = "",
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._metrics = metrics or Metrics.create()
        self._subscribers = Subscribers(self._metrics, most_waiting)
        self._outbox = Outbox(connect(url), prefix, clock, self._metrics)
        self._inbox = Inbox(connect(url), prefix, clock, self._metrics, self._subscribers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def publish(self, update: PriceUpdate) -> None:
        """Tells the subscribers here now, and those elsewhere when Redis takes it. Returns at once and never raises."""
        self._metrics.events.labels("published").inc()
        self._inbox.expect_echo(update)
        self._subscribers.put(update)
        self._outbox.put(update)

    def subscribe(self, receive: Callable[[Notice], None]) -> Mailbox:
        """Has `receive` called with every notice from now on. Raises RuntimeError on a closed bus.

        Returns when Redis listens for us, could not be reached, or was silent for two seconds. In the last two cases
        Missed(None) says when it does.
        """
        self._inbox.listen()
        return self._subscribers.add(receive)

    def close(self) -> None:
        """Ends every subscription; what was published and not sent yet is sent, if Redis takes it."""
        self._subscribers.close()
        self._inbox.close()
        self._outbox.close()
