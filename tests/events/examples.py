"""Factories of events, and a subscriber that remembers what it was told."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from position_server.events.bus import Missed, Notice, PriceUpdate

AT = datetime(2025, 10, 30, 15, 59, 30, 250_125, tzinfo=UTC)


def price_update(symbol: str = "EURUSD", sequence: int = 1, **other: Any) -> PriceUpdate:
    """An update; the quote is another one with each number."""
    last = 1.15 + sequence / 10_000
    quote = {"bid": last - 0.0001, "ask": last + 0.0001, "spread": 0.0002, "last_price": last}
    return PriceUpdate(symbol, sequence, **{**quote, "timestamp": AT + timedelta(seconds=sequence), **other})


class Listener:
    """Receives notices; waits in the middle of each while it is `held`."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self._free = threading.Event()
        self._free.set()

    def __call__(self, notice: Notice) -> None:
        self._free.wait()
        self.notices.append(notice)

    def hold(self) -> None:
        """Takes no further notice until `let_go`."""
        self._free.clear()

    def let_go(self) -> None:
        """Goes on."""
        self._free.set()

    def has(self, *notices: Notice) -> bool:
        """Whether it was told exactly this, in this order."""
        return self.notices == list(notices)

    def numbers(self, symbol: str) -> list[int]:
        """The sequence numbers of the updates of a symbol."""
        return [one.sequence for one in self.notices if isinstance(one, PriceUpdate) and one.symbol == symbol]

    def missed(self) -> list[frozenset[str] | None]:
        """What it was told to have missed."""
        return [one.symbols for one in self.notices if isinstance(one, Missed)]
