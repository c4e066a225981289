"""The port of the bus: what a price update is, what a subscriber is told, and how it learns that it missed something.

Carries nothing itself: in_process.py and redis_bus.py do. A subscriber is told of news, never of the truth: the truth
is in the store, and whoever is told that it missed something reads it there again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, Self

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat

CHANNEL_PREFIX = "asset:update:"
Price = FiniteFloat | None  # what the provider leaves out is null, not 0


@dataclass(frozen=True, slots=True)
class PriceUpdate:
    """A quote that was stored. `sequence` counts the quotes of this symbol that were; spread is ask - bid."""

    symbol: str
    sequence: int
    bid: float | None
    ask: float | None
    spread: float | None
    last_price: float | None
    timestamp: datetime  # of the quote, aware

    @property
    def channel(self) -> str:
        """The channel that carries it."""
        return CHANNEL_PREFIX + self.symbol

    def to_message(self) -> bytes:
        """The update as JSON: `{"type": "price_update", "symbol", "sequence", "data": {...}}`."""
        data = {name: getattr(self, name) for name in _Data.model_fields}
        return orjson.dumps({"type": "price_update", "symbol": self.symbol, "sequence": self.sequence, "data": data})

    @classmethod
    def from_message(cls, message: bytes | str) -> Self:
        """The update that `to_message` wrote. Raises ValueError for anything else."""
        read = _Message.model_validate_json(message)
        try:
            at = read.data.timestamp.astimezone(UTC)
        except OverflowError as error:
            raise ValueError(f"a time before all time: {read.data.timestamp}") from error
        fields: dict[str, Any] = {**dict(read.data), "timestamp": at}
        return cls(read.symbol, read.sequence, **fields)


class _Data(BaseModel):
    """What a message says of the quote. Fields that a later version may add are none of our business."""

    model_config = ConfigDict(strict=True)

    bid: Price = None
    ask: Price = None
    spread: Price = None
    last_price: Price = None
    timestamp: AwareDatetime


class _Message(BaseModel):
    """A price update as it is on the wire."""

    model_config = ConfigDict(strict=True)

    type: Literal["price_update"]
    symbol: str = Field(min_length=1)
    sequence: int = Field(ge=1)
    data: _Data


@dataclass(frozen=True, slots=True)
class Missed:
    """Something may have changed unseen: of these symbols, or (None) of any. The subscriber reads the store again."""

    symbols: frozenset[str] | None


Notice = PriceUpdate | Missed


class Subscription(Protocol):
    """One subscriber's place on the bus."""

    def close(self) -> None:
        """Ends it: when this returns, nothing is received any more. Twice is once."""
        ...


class Bus(Protocol):
    """Takes price updates to whoever subscribed. Callable from any thread; nobody waits for a subscriber."""

    def publish(self, update: PriceUpdate) -> None:
        """Tells every subscriber, in the order of publishing. Returns at once and never raises; after close, no-op."""
        ...

    def subscribe(self, receive: Callable[[Notice], None]) -> Subscription:
        """Has `receive` called with every notice from now on, one at a time, on a thread of the subscriber's own."""
        ...

    def close(self) -> None:
        """Ends every subscription and thread. Twice is once."""
        ...


class Sequences:
    """The newest update of each symbol that one subscriber was handed: turns a gap into Missed.

    Not locked: it belongs to whoever hands the subscriber its notices. What a subscriber is handed of a symbol rises:
    an update that is no newer (sent twice, overtaken by another process's, or counted anew in a store that was built
    anew) comes as Missed, but for the very same one again, which is no news.
    """

    def __init__(self) -> None:
        self._newest: dict[str, PriceUpdate] = {}

    def arrived(self, update: PriceUpdate) -> tuple[Notice, ...]:
        """What to tell the subscriber now that `update` came."""
        newest = self._newest.get(update.symbol)
        if update == newest:
            return ()
        missed = Missed(frozenset({update.symbol}))
        if newest is not None and update.sequence <= newest.sequence:
            return (missed,)
        self._newest[update.symbol] = update
        return (update,) if newest is None or update.sequence == newest.sequence + 1 else (missed, update)
