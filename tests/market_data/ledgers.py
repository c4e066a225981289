"""Ledgers for tests: one in memory, which passes the contract suite of ledgers, and one that fails as it is told to."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
import redis

from position_server.errors import StoreUnavailable
from position_server.market_data.call_book import Book
from position_server.market_data.redis_ledger import KEY_PREFIX

T = TypeVar("T")

REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379")


class MemoryLedger:
    """The book of one process's limiters."""

    def __init__(self) -> None:
        self.book = Book()
        self._lock = threading.Lock()  # guards the book

    def look(self) -> Book:
        return self.book

    def change(self, step: Callable[[Book], tuple[Book, T]]) -> T:
        with self._lock:
            self.book, result = step(self.book)
        return result


class FaultyLedger(MemoryLedger):
    """A ledger that is down, loses the answer of a change, or takes its time, as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.answers_to_lose = 0
        self.before_a_change: Callable[[], None] = lambda: None
        self.after_a_change: Callable[[], None] = lambda: None
        self.after_a_look: Callable[[], object] = lambda: None
        self.changes = 0

    def look(self) -> Book:
        if self.is_down:
            self.fail()
        book = super().look()
        self.after_a_look()
        return book

    def change(self, step: Callable[[Book], tuple[Book, T]]) -> T:
        if self.is_down:
            self.fail()
        self.before_a_change()
        result = super().change(step)
        self.changes += 1
        self.after_a_change()
        if self.answers_to_lose:
            self.answers_to_lose -= 1
            raise StoreUnavailable("the connection broke before the answer came")
        return result

    def fail(self) -> None:
        """What a ledger that is down does."""
        raise StoreUnavailable("the ledger is down")


@contextmanager
def redis_budget() -> Iterator[tuple[redis.Redis, str]]:
    """A client of the Redis for tests, and the name of a budget of the test's own, removed at the end."""
    budget = f"test-{uuid.uuid4().hex[:12]}"
    client = redis.Redis.from_url(REDIS_URL)
    try:
        client.ping()
    except redis.ConnectionError as error:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            raise
        pytest.skip(f"Redis is not reachable: {error}")
    try:
        yield client, budget
    finally:
        client.delete(KEY_PREFIX + budget)
        client.close()
