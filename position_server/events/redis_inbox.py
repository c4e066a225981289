"""Price updates that Redis brings: the thread that reads them into the subscribers' mailboxes.

Redis keeps nothing for a connection that is lost. So every confirmation of our subscription, the first as well as those
after a reconnect, is passed on as Missed: until then nobody listened.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Any

import redis

from position_server import threads
from position_server.clock import Clock
from position_server.events.bus import CHANNEL_PREFIX, PriceUpdate
from position_server.events.redis_connection import ANSWERS_WITHIN_SECONDS, Reach
from position_server.events.subscribers import JOIN_SECONDS, Subscribers
from position_server.metrics import Metrics

log = logging.getLogger(__name__)
READ_SECONDS = 0.1  # between two looks at whether the bus was closed
PING_SECONDS = 10.0  # of silence; after as many more without an answer the connection is given up
MOST_ECHOES = 10_000  # own updates that have not come back yet
SHOWN_OF_A_MESSAGE = 200  # bytes, in the log


class Inbox:
    """What comes from Redis. The thread starts with the first subscriber."""

    def __init__(
        self, client: redis.Redis, prefix: str, clock: Clock, metrics: Metrics, subscribers: Subscribers
    ) -> None:
        self._client = client
        self._pattern = prefix + CHANNEL_PREFIX + "*"
        self._clock = clock
        self._metrics = metrics
        self._subscribers = subscribers
        self._reach = Reach("received")
        self._closing = threading.Event()
        self._tried = threading.Event()  # the first attempt to listen came to an end, good or bad
        self._lock = threading.Lock()  # guards the two below
        self._thread: threading.Thread | None = None
        self._echoes: OrderedDict[PriceUpdate, int] = OrderedDict()  # how often each is to come

    def listen(self) -> None:
        """Starts listening at the first call, and gives Redis a moment to confirm it."""
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._listen_until_closed, name="events-inbox", daemon=True)
                self._thread.start()
        self._clock.wait(self._tried, ANSWERS_WITHIN_SECONDS)

    def expect_echo(self, update: PriceUpdate) -> None:
        """Redis will bring this update back, and the subscribers here have it already."""
        with self._lock:
            if self._thread is None:
                return
            self._echoes[update] = self._echoes.get(update, 0) + 1
            if len(self._echoes) > MOST_ECHOES:
                self._echoes.popitem(last=False)

    def close(self) -> None:
        """Stops listening."""
        with self._lock:
            self._closing.set()
        self._tried.set()  # nobody needs to wait for it any more
        if self._thread is None:
            self._client.close()
            return
        threads.join(self._thread, JOIN_SECONDS)

    def _listen_until_closed(self) -> None:
        """The client is closed by the thread that uses it, however long Redis keeps that waiting."""
        try:
            self._listen()
        finally:
            self._client.close()

    def _listen(self) -> None:
        while not self._closing.is_set():
            pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
            try:
                self._read(pubsub)
            except redis.RedisError as error:
                self._metrics.events.labels("redis_error").inc()
                wait = self._reach.failed(error)
                self._tried.set()
                self._clock.wait(self._closing, wait)
            finally:
                pubsub.close()

    def _read(self, pubsub: Any) -> None:
        """Reads until closed. Raises RedisError where the connection is lost, or silent for too long."""
        pubsub.psubscribe(self._pattern)
        heard, pinged = self._clock.monotonic(), False
        while not self._closing.is_set():
            message = pubsub.get_message(timeout=READ_SECONDS)
            silence = self._clock.monotonic() - heard
            if message is not None:
                self._take(message)
                heard, pinged = self._clock.monotonic(), False
            elif silence > 2 * PING_SECONDS:
                raise redis.ConnectionError(f"nothing was heard for {silence:.0f} s")
            elif silence > PING_SECONDS and not pinged:
                pubsub.ping()
                pinged = True

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "psubscribe":
            self._reach.succeeded()
            self._subscribers.miss(None)
            self._tried.set()
        elif message["type"] == "pmessage":
            self._take_update(message)

    def _take_update(self, message: dict[str, Any]) -> None:
        try:
            update = PriceUpdate.from_message(message["data"])
        except ValueError as error:
            self._metrics.events.labels("malformed").inc()
            found = {"channel": message["channel"], "start": message["data"][:SHOWN_OF_A_MESSAGE]}
            log.warning("a message is no price update", extra={**found, "error": str(error)})
            return
        if not self._is_echo(update):
            self._metrics.events.labels("received").inc()
            self._subscribers.put(update)

    def _is_echo(self, update: PriceUpdate) -> bool:
        with self._lock:
            expected = self._echoes.pop(update, 0)
            if expected > 1:
                self._echoes[update] = expected - 1
            return expected > 0
