"""Symbols that wait to be fetched: highest level first, first in first out within a level, each symbol once.

It fetches nothing and forgets nothing silently: what a full queue refuses is counted, what failed too often is
recorded. Threads share it; one lock guards everything in it, and is never held while anything waits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import Any

from position_server.clock import Clock


class Level(IntEnum):
    """How important a symbol is; a smaller number goes first."""

    CRITICAL = 1
    HIGH = 2
    MEDIUM = 3
    LOW = 4


@dataclass(frozen=True, slots=True)
class Item:
    """A symbol in the queue: how important, since when, and how often fetching it has failed since."""

    symbol: str
    level: Level
    enqueued_at: datetime
    retries: int = 0


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A symbol that the queue does not try again: the item as it was last taken, why, and when."""

    item: Item
    error: str
    at: datetime


class PriorityQueue:
    """A bounded queue of symbols by level."""

    def __init__(self, clock: Clock, max_size: int = 1000, max_retries: int = 3) -> None:
        if max_size < 1:
            raise ValueError(f"max_size must be at least 1, not {max_size}")
        if max_retries < 0:
            raise ValueError(f"max_retries must not be negative, but is {max_retries}")
        self.max_size = max_size
        self.max_retries = max_retries
        self._clock = clock
        self._lock = threading.Lock()  # guards all that follows
        self._lines: dict[Level, OrderedDict[str, Item]] = {level: OrderedDict() for level in Level}
        self._levels: dict[str, Level] = {}  # the line that each symbol stands in
        self._given_up: OrderedDict[str, GivenUp] = OrderedDict()  # the newest of each symbol, at most max_size
        self._total_enqueued = 0
        self._total_processed = 0
        self._total_refused = 0
        self._total_given_up = 0

    def enqueue(self, symbol: str, level: Level) -> bool:
        """Put the symbol at the end of its level; False where the queue is full and refuses it.

        A symbol that waits already keeps its place, or moves to the end of a higher level if `level` is one.
        """
        level = Level(level)
        with self._lock:
            waiting = self._find(symbol)
            if waiting is not None:
                if level < waiting.level:
                    self._remove(waiting)
                    self._append(replace(waiting, level=level))
                return True
            if not self._admit(Item(symbol, level, self._clock.now())):
                return False
            self._total_enqueued += 1
            return True

    def take(self, limit: int) -> list[Item]:
        """Remove and return the next items, at most `limit`."""
        taken: list[Item] = []
        with self._lock:
            while len(taken) < limit and (item := self._first()) is not None:
                self._remove(item)
                taken.append(item)
            self._total_processed += len(taken)
        return taken

    def requeue(self, item: Item, error: str) -> bool:
        """Put a taken item back after a failure, one level lower; False where it is given up, which is recorded.

        It is given up after `max_retries` of these, and where the queue is full. Where somebody has enqueued the symbol
        meanwhile, that entry is the next attempt.
        """
        with self._lock:
            if self._find(item.symbol) is not None:
                return True
            lower = Level(min(item.level + 1, Level.LOW))
            if item.retries < self.max_retries and self._admit(replace(item, level=lower, retries=item.retries + 1)):
                return True
            self._record(GivenUp(item, error, self._clock.now()))
            return False

    def peek(self) -> Item | None:
        """The item that would be taken next; None where nothing waits."""
        with self._lock:
            return self._first()

    def size(self) -> int:
        """How many symbols wait."""
        with self._lock:
            return len(self._levels)

    def given_up(self) -> list[GivenUp]:
        """What was given up, the newest last: of each symbol its last time, at most `max_size` of them."""
        with self._lock:
            return list(self._given_up.values())

    def get_stats(self) -> dict[str, Any]:
        """The queue in numbers, as JSON values; `total_processed` counts what was taken, retries included."""
        now = self._clock.now()
        with self._lock:
            since = [item.enqueued_at for line in self._lines.values() for item in line.values()]
            return {
                "size": len(self._levels),
                "max_size": self.max_size,
                "by_priority": {level.name: len(line) for level, line in self._lines.items()},
                "oldest_age_seconds": max(0.0, (now - min(since)).total_seconds()) if since else None,
                "total_enqueued": self._total_enqueued,
                "total_processed": self._total_processed,
                "total_refused": self._total_refused,
                "total_given_up": self._total_given_up,
            }

    # --- under the lock ----------------------------------------------------------------------------------------------

    def _find(self, symbol: str) -> Item | None:
        level = self._levels.get(symbol)
        return None if level is None else self._lines[level][symbol]

    def _first(self) -> Item | None:
        return next((next(iter(line.values())) for line in self._lines.values() if line), None)

    def _admit(self, item: Item) -> bool:
        if len(self._levels) >= self.max_size:
            self._total_refused += 1
            return False
        self._append(item)
        return True

    def _append(self, item: Item) -> None:
        self._lines[item.level][item.symbol] = item
        self._levels[item.symbol] = item.level

    def _remove(self, item: Item) -> None:
        del self._lines[item.level][item.symbol]
        del self._levels[item.symbol]

    def _record(self, given_up: GivenUp) -> None:
        self._total_given_up += 1
        self._given_up.pop(given_up.item.symbol, None)
        self._given_up[given_up.item.symbol] = given_up
        if len(self._given_up) > self.max_size:
            self._given_up.popitem(last=False)
