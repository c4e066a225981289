"""What may go wrong with an answer of the stand-in provider: each fault makes another reply of a good one. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any


@dataclass(frozen=True)
class Reply:
    """An answer on its way out, for faults to change."""

    value: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None  # instead of the value
    delay_seconds: float = 0.0  # before anything is sent
    drip_seconds: float = 0.0  # between two bytes
    sent_share: float = 1.0  # of the body that is announced
    is_dropped: bool = False  # the connection ends without an answer

    @property
    def body(self) -> bytes:
        return json.dumps(self.value).encode() if self.raw is None else self.raw


Fault = Callable[[Reply], Reply]


def refused(status: int, message: str = "no", **headers: str) -> Fault:
    """Another status, with the provider's kind of body."""
    value = {"status": "ERROR", "request_id": "r", "error": message}
    return lambda reply: replace(reply, status=status, value=value, headers=headers)


def rate_limited(retry_after: str | None = "7") -> Fault:
    """429. `retry_after` is the header as it stands: seconds, an HTTP date, or something odd; None leaves it out."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return lambda reply: replace(
        refused(429, "You've exceeded the maximum requests per minute.")(reply), headers=headers
    )


def slow(seconds: float) -> Fault:
    """The answer comes after so long (or when the stand-in ends)."""
    return lambda reply: replace(reply, delay_seconds=seconds)


def once(may_answer: Event) -> Fault:
    """The answer comes when the event is set."""

    def held(reply: Reply) -> Reply:
        may_answer.wait(120)
        return reply

    return held


def dripping(seconds: float) -> Fault:
    """The body comes byte by byte."""
    return lambda reply: replace(reply, drip_seconds=seconds)


def truncated(share: float = 0.5) -> Fault:
    """The connection ends in the middle of the body."""
    return lambda reply: replace(reply, sent_share=share)


def dropped() -> Fault:
    """The connection ends without an answer."""
    return lambda reply: replace(reply, is_dropped=True)


def body(raw: bytes, **headers: str) -> Fault:
    """200 with these bytes; `b""` is the empty body."""
    return lambda reply: replace(reply, raw=raw, headers=headers)


def empty_results() -> Fault:
    """200 whose list has nothing in it."""
    return lambda reply: replace(reply, value={**reply.value, _list_of(reply.value): []})


def with_value(place: str, value: Any) -> Fault:
    """200 with another value at `place`, such as `results.0.last_quote.bid`: of the wrong type, say."""

    def changed(reply: Reply) -> Reply:
        answer = json.loads(json.dumps(reply.value))
        *above, last = [int(step) if step.isdigit() else step for step in place.split(".")]
        holder = answer
        for step in above:
            holder = holder[step]
        holder[last] = value
        return replace(reply, value=answer)

    return changed


def failing(ticker: str, error: str = "NOT_ENTITLED") -> Fault:
    """200 in which this ticker's item is an error."""
    return _items(lambda item: [{"ticker": ticker, "error": error, "message": "no"}] if _is(item, ticker) else [item])


def without(ticker: str) -> Fault:
    """200 that leaves this ticker out."""
    return _items(lambda item: [] if _is(item, ticker) else [item])


def duplicated(ticker: str, place: str = "", value: Any = None) -> Fault:
    """200 that has this ticker twice, the second time with another value at `place`."""

    def twice(item: Any) -> list[Any]:
        second = with_value(f"0.{place}", value)(Reply([item])).value[0] if place else item
        return [item, second] if _is(item, ticker) else [item]

    return _items(twice)


def _items(change: Callable[[Any], list[Any]]) -> Fault:
    def changed(reply: Reply) -> Reply:
        name = _list_of(reply.value)
        items = [new for item in reply.value[name] for new in change(item)]
        return replace(reply, value={**reply.value, name: items})

    return changed


def _list_of(value: Any) -> str:
    return "tickers" if "tickers" in value else "results"


def _is(item: Any, ticker: str) -> bool:
    return ticker in (item.get("ticker"), item.get("T"), item.get("details", {}).get("ticker"))
