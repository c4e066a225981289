"""Price updates on their way to Redis: a bounded queue, and the thread that sends them in order.

An update that was sent and not confirmed is sent again: better twice than not at all. Whoever publishes never waits.
"""

from __future__ import annotations

import logging
import threading
from collections import deque

import redis

from position_server import threads
from position_server.clock import Clock
from position_server.events.bus import PriceUpdate
from position_server.events.redis_connection import Reach
from position_server.events.subscribers import JOIN_SECONDS
from position_server.metrics import Metrics

log = logging.getLogger(__name__)
MOST_UNSENT = 1_000  # kept for a Redis that is down; then the oldest go


class Outbox:
    """What was published here and is not in Redis yet. The thread starts with the first update."""

    def __init__(self, client: redis.Redis, prefix: str, clock: Clock, metrics: Metrics) -> None:
        self._client = client
        self._prefix = prefix
        self._clock = clock
        self._metrics = metrics
        self._reach = Reach("sent")
        self._closing = threading.Event()
        self._changed = threading.Condition()  # guards the two below; nothing is sent under it
        self._unsent: deque[tuple[str, bytes]] = deque()  # channel and message
        self._thread: threading.Thread | None = None

    def put(self, update: PriceUpdate) -> None:
        """Leaves it to be sent; where too many wait, the oldest is given up."""
        message = self._prefix + update.channel, update.to_message()
        with self._changed:
            if self._closing.is_set():
                return
            self._unsent.append(message)
            if len(self._unsent) > MOST_UNSENT:
                self._unsent.popleft()
                self._metrics.events.labels("unsent").inc()
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_until_closed, name="events-outbox", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Sends what is left, in one attempt, and ends."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        if self._thread is None:
            self._client.close()
            return
        threads.join(self._thread, JOIN_SECONDS)

    def _send_until_closed(self) -> None:
        """The client is closed by the thread that uses it, however long Redis keeps that waiting."""
        try:
            self._send_all()
        finally:
            self._client.close()

    def _send_all(self) -> None:
        while (message := self._oldest()) is not None:
            try:
                self._client.publish(*message)
            except redis.RedisError as error:
                self._metrics.events.labels("redis_error").inc()
                if self._closing.is_set():
                    self._give_up(error)
                    return
                self._clock.wait(self._closing, self._reach.failed(error))
            else:
                self._reach.succeeded()
                self._drop(message)

    def _oldest(self) -> tuple[str, bytes] | None:
        """The message to send next, waited for; None at the end."""
        with self._changed:
            while not self._unsent and not self._closing.is_set():
                self._changed.wait()
            return self._unsent[0] if self._unsent else None

    def _drop(self, sent: tuple[str, bytes]) -> None:
        with self._changed:
            if self._unsent and self._unsent[0] is sent:  # else it was given up meanwhile
                self._unsent.popleft()

    def _give_up(self, error: Exception) -> None:
        with self._changed:
            self._metrics.events.labels("unsent").inc(len(self._unsent))
            log.warning("events were not sent", extra={"count": len(self._unsent), "error": str(error)})
