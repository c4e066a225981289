"""The book of calls: who called when, who waits in which order, and until when nobody may call. Pure.

A ledger keeps one book and lets one process at a time change it; the functions here say what a change is. They read no
clock and do no I/O, so what one process writes another one continues, and a test can play a day in a moment.

The rule: who is first in line may call when the N-th last call is one span (the window and its guard) old and no pause
lasts. Everybody else waits for those before. From this follow the sliding window and the order of arrival.

Time: a wall clock jumps, a monotonic clock means nothing on another machine. So a moment is a reading of both: between
two moments of one machine the monotonic clock counts, otherwise the wall clocks do. How far those are apart is an error
of the window: machines that share a ledger keep their clocks in step within the guard, as NTP does. A moment that lies
far in the reader's future is taken for now, so that no clock can block anybody for much longer than a span.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import Any

import orjson

FUTURE_SECONDS = 10.0  # a moment this far ahead may be: written ahead of a slow ledger, or by a clock a little fast
SHORTEST_LOOK_SECONDS = 0.001  # so that time moves between two looks, however it is rounded
NEXT_IN_LINE_SECONDS = 0.01  # whoever is due, but not first, gives those before this long each
SOON_SECONDS = 0.2  # how soon to look again where half of the line before is due
LONGEST_LOOK_SECONDS = 15.0  # within this, or half of its wait, a waiter notices that others gave up or died


@dataclass(frozen=True, slots=True)
class Moment:
    """What the two clocks of one machine showed at once, in seconds: since 1970, and since its start."""

    wall: float
    monotonic: float
    machine: str

    def since(self, earlier: Moment) -> float:
        """Seconds from `earlier` to this moment."""
        elapsed = self.monotonic - earlier.monotonic
        if self.machine == earlier.machine and elapsed > -FUTURE_SECONDS:
            return elapsed
        return self.wall - earlier.wall  # also where a monotonic clock went backwards: then it is another one

    def later(self, seconds: float) -> Moment:
        """The moment so many seconds later."""
        return Moment(self.wall + seconds, self.monotonic + seconds, self.machine)


def holder_of(key: str) -> str:
    """The part of a key that says whose it is."""
    return key.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Booking:
    """One acquisition: a place in line, then a call.

    `key` is its own and tells whose it is; `number` is its place in the order of arrival; `at` is when the call was
    permitted, or since when it waits where it waits now.
    """

    key: str
    number: int
    at: Moment

    @property
    def holder(self) -> str:
        """Who waits: the bookings of one limiter, and so of one process, have the same holder."""
        return holder_of(self.key)


@dataclass(frozen=True, slots=True)
class Pause:
    """Nobody calls for `seconds` from `since` on."""

    since: Moment
    seconds: float

    def left(self, now: Moment) -> float:
        """Seconds until its end; negative afterwards."""
        return self.seconds - now.since(self.since)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any `span_seconds`; who is due and does not come for `patience_seconds` is taken for dead."""

    calls: int
    span_seconds: float
    patience_seconds: float


@dataclass(frozen=True, slots=True)
class Book:
    """All that a ledger keeps of one budget: the calls of the last span and a little more, the line in its order."""

    calls: tuple[Booking, ...] = ()
    line: tuple[Booking, ...] = ()
    pause: Pause | None = None
    next_number: int = 0
    total_calls: int = 0
    total_waits: int = 0

    def find_call(self, key: str) -> Booking | None:
        """The call of this key, if it was permitted within the span."""
        return next((call for call in self.calls if call.key == key), None)

    def place_of(self, key: str) -> int | None:
        """How many are before this key in line; None where it is not in it."""
        return next((place for place, booking in enumerate(self.line) if booking.key == key), None)


@dataclass(frozen=True, slots=True)
class Answer:
    """What asking gave: the call where it is permitted, else when to look again."""

    number: int
    call: Booking | None
    look_in_seconds: float


def tidied(book: Book, limit: Limit, now: Moment, holder: str) -> Book:
    """The book as `holder` finds it now: without calls and pauses long past, the dead, and moments that cannot be."""
    kept_seconds = limit.span_seconds + limit.patience_seconds  # they tell since when somebody is due
    ages = [now.since(call.at) for call in book.calls]
    calls = tuple(
        call if age >= -FUTURE_SECONDS else replace(call, at=now)
        for call, age in zip(book.calls, ages, strict=True)
        if age <= kept_seconds
    )
    pause = book.pause
    if pause is not None and now.since(pause.since) < -FUTURE_SECONDS:
        pause = replace(pause, since=now)
    if pause is not None and pause.left(now) <= -limit.patience_seconds:
        pause = None
    book = replace(book, calls=calls, pause=pause)
    return left(book, _of_the_dead(book, limit, now, holder), now)


def due_in(book: Book, limit: Limit, now: Moment, places: int) -> list[float]:
    """Seconds until each of the first `places` in line may call; negative: since when, as far as that is known."""
    called = sorted(-now.since(call.at) for call in book.calls)
    paused = float("-inf") if book.pause is None else book.pause.left(now)
    due: list[float] = []
    for _ in range(places):
        free = called[-limit.calls] + limit.span_seconds if len(called) >= limit.calls else float("-inf")
        due.append(max(free, paused))
        insort(called, max(0.0, due[-1]))  # no earlier than now: it has not called yet
    return due


def asked(book: Book, limit: Limit, now: Moment, key: str, number: int | None) -> tuple[Book, Answer]:
    """The book after `key` asked to call, and the answer.

    `number` is the place that an earlier answer gave it. A key that the book lost, or took for dead, gets its place
    back; one that was permitted already (the answer may have been lost on the way) is told so again.
    """
    book = tidied(book, limit, now, holder_of(key))
    call = book.find_call(key)
    if call is not None:
        return book, Answer(call.number, call, 0.0)
    place = book.place_of(key)
    if place is None:
        mine = Booking(key, book.next_number if number is None else number, now)
        line = sorted((*book.line, mine), key=lambda booking: (booking.number, booking.key))
        place = line.index(mine)
        book = replace(book, line=tuple(line), next_number=max(book.next_number, mine.number + 1))
    due = due_in(book, limit, now, place + 1)
    mine = book.line[place]
    if place == 0 and due[0] <= 0:
        call = replace(mine, at=now)
        book = replace(left(book, {key}, now), calls=(*book.calls, call), total_calls=book.total_calls + 1)
        return book, Answer(call.number, call, 0.0)
    if number is None:
        book = replace(book, total_waits=book.total_waits + 1)
    return book, Answer(mine.number, None, _look_in(place, due))


def differ_by_more_than_time(kept: Book, after: Book) -> bool:
    """Whether `after` says something that the ledger has to learn; it need not learn what it will drop by itself."""
    calls_are_known = set(after.calls) <= set(kept.calls)
    return after.line != kept.line or not calls_are_known or after.pause not in (kept.pause, None)


def left(book: Book, keys: Set[str], now: Moment) -> Book:
    """The book without these in line; who stood behind one of them has moved up just now.

    Their calls stay: they count.
    """
    first = next((place for place, booking in enumerate(book.line) if booking.key in keys), None) if keys else None
    if first is None:
        return book
    behind = (replace(booking, at=now) for booking in book.line[first:] if booking.key not in keys)
    return replace(book, line=(*book.line[:first], *behind))


def longest(pauses: Iterable[Pause | None], now: Moment) -> Pause | None:
    """The pause that ends last."""
    return max((pause for pause in pauses if pause is not None), key=lambda pause: pause.left(now), default=None)


def called_at(book: Book, key: str, at: Moment) -> Book:
    """The book with the call of `key` at another moment than it was permitted."""
    return replace(book, calls=tuple(replace(call, at=at) if call.key == key else call for call in book.calls))


def restored(book: Book, memory: Book, now: Moment) -> Book:
    """The book with what it must have held, as somebody remembers it: a ledger may have been lost or set back."""
    kept = {call.key for call in book.calls}
    return replace(
        book,
        calls=(*book.calls, *(call for call in memory.calls if call.key not in kept)),  # tidied() drops old ones again
        pause=longest([book.pause, memory.pause], now),
        next_number=max(book.next_number, memory.next_number),
        total_calls=max(book.total_calls, memory.total_calls),
        total_waits=max(book.total_waits, memory.total_waits),
    )


def to_json(book: Book) -> bytes:
    """The book as a ledger keeps it."""
    return orjson.dumps(book)


def from_json(document: bytes | str) -> Book:
    """The book of a document. Raises ValueError where it is none."""
    try:
        values: dict[str, Any] = orjson.loads(document)
        pause = values["pause"]
        return Book(
            calls=_bookings(values["calls"]),
            line=_bookings(values["line"]),
            pause=None if pause is None else Pause(_moment(pause["since"]), float(pause["seconds"])),
            next_number=int(values["next_number"]),
            total_calls=int(values["total_calls"]),
            total_waits=int(values["total_waits"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"no book of calls: {type(error).__name__}: {error}") from error


def _bookings(values: Iterable[dict[str, Any]]) -> tuple[Booking, ...]:
    return tuple(Booking(str(value["key"]), int(value["number"]), _moment(value["at"])) for value in values)


def _moment(value: dict[str, Any]) -> Moment:
    return Moment(float(value["wall"]), float(value["monotonic"]), str(value["machine"]))


def _of_the_dead(book: Book, limit: Limit, now: Moment, alive: str) -> set[str]:
    """The keys of a holder who did not come when one of its bookings was first in line and due.

    One that was only slow loses nothing but its turn: when it asks again it gets its place back.
    """
    if not book.line or book.line[0].holder == alive:
        return set()
    first = book.line[0]
    is_first_for = abs(now.since(first.at))  # in the future by a wrong clock, or in the past: both end
    if is_first_for <= limit.patience_seconds or -due_in(book, limit, now, 1)[0] <= limit.patience_seconds:
        return set()
    return {booking.key for booking in book.line if booking.holder == first.holder}


def _look_in(place: int, due: list[float]) -> float:
    """When the one at this place looks again: when it is due, or earlier, as those before may give up.

    It looks when half of them should be through. Who is due already lets those before go first, and looks less often
    the longer the first one takes: it may be dead.
    """
    mine = due[place]
    if mine <= 0:
        seconds = max(NEXT_IN_LINE_SECONDS * place, min(-due[0] / 4, SOON_SECONDS))
    else:
        seconds = min(mine, max(due[place // 2], SOON_SECONDS), max(mine / 2, LONGEST_LOOK_SECONDS))
    return max(seconds, SHORTEST_LOOK_SECONDS)
