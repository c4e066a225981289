"""A connection to Redis that fails soon and never retries by itself: the bus does, on the clock it was given."""

from __future__ import annotations

import logging

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)
ANSWERS_WITHIN_SECONDS = 2.0  # a Redis that does not is as good as down
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0  # between two attempts to reach one that is down
MOST_DOUBLINGS = 10


def connect(url: str) -> redis.Redis:
    """A client that connects when first used. Raises ValueError for a wrong URL."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_timeout=ANSWERS_WITHIN_SECONDS,
        socket_connect_timeout=ANSWERS_WITHIN_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


class Reach:
    """Whether Redis is reached, and since how many attempts it is not. The log has one line for each change."""

    def __init__(self, what: str) -> None:
        """`what` is done over the connection: "sent", "received"."""
        self._what = what
        self._failures = 0

    def failed(self, error: Exception) -> float:
        """Notes a failed attempt; the seconds to wait before the next."""
        if not self._failures:
            log.warning("Redis is not reached", extra={"events": f"not {self._what}", "error": str(error)})
        wait = FIRST_WAIT_SECONDS * float(2 ** min(self._failures, MOST_DOUBLINGS))
        self._failures += 1
        return min(wait, LONGEST_WAIT_SECONDS)

    def succeeded(self) -> None:
        """Notes that Redis answered."""
        if self._failures:
            log.info("Redis is reached again", extra={"events": self._what, "failures": self._failures})
        self._failures = 0
