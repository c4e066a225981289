"""The ledger of calls in Redis: one key per budget, replaced by a script only while it is what was read.

Redis forgets on a restart what it has not saved. The limiters that run put back what they saw (`rate_limiter`), each
when it next asks; only a process that starts in between may call too early. Threads may share a ledger, as they may a
client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from position_server.errors import StoreUnavailable
from position_server.market_data.call_book import Book, from_json, to_json

T = TypeVar("T")

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
KEY_PREFIX = "position-server:calls:"
# Redis runs a script alone. It answers with nothing where it replaced the book, else with the book that is there now.
REPLACE = """
local present = redis.call('GET', KEYS[1]) or ''
if present ~= ARGV[1] then
    return present
end
redis.call('SET', KEYS[1], ARGV[2])
return false
"""


class RedisLedger:
    """The book of `budget` in Redis. The client's timeouts and retries decide how long a failure takes."""

    def __init__(self, client: redis.Redis, budget: str) -> None:
        self.budget = budget
        self._key = KEY_PREFIX + budget
        self._client = client
        self._replace = client.register_script(REPLACE)

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def look(self) -> Book:
        """The book as it is now. Raises StoreUnavailable."""
        return self._parsed(self._read())

    def change(self, step: Callable[[Book], tuple[Book, T]]) -> T:
        """Put the book that `step` makes of the present one in its place. Raises StoreUnavailable.

        Where another one was faster, `step` is called again with what that one made of it: one of them always succeeds.
        A change whose answer was lost may be in the book by then; steps go by keys, so it does no harm.
        """
        present: bytes | None = self._read()
        while True:
            book, result = step(self._parsed(present))
            with self._translated():
                answer = self._replace(keys=[self._key], args=[present or b"", to_json(book)])
            if answer is None:
                return result
            present = _bytes(answer)

    def _read(self) -> bytes:
        with self._translated():
            return _bytes(self._client.get(self._key) or b"")

    def _parsed(self, document: bytes | None) -> Book:
        try:
            return from_json(document) if document else Book()
        except ValueError as error:
            raise StoreUnavailable(
                f"the ledger of calls {self._key} in Redis cannot be read, and must be removed: {error}"
            ) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise StoreUnavailable(f"the ledger of calls in Redis is unavailable: {error}") from error


def open_redis_ledger(url: str, budget: str) -> RedisLedger:
    """The ledger at `url`, whose failures reach the caller within seconds. Connects only when used; to be closed.

    One more attempt is made at once: a restarted Redis costs a reconnect, not a failure.
    """
    client = redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
    return RedisLedger(client, budget)


def _bytes(answer: object) -> bytes:
    """An answer of Redis, whether or not the client decodes."""
    return answer.encode() if isinstance(answer, str) else cast("bytes", answer)
