"""The book of calls, move by move: moments, who is due when, when to look again, what is put back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from position_server.market_data.call_book import (
    Book,
    Booking,
    Limit,
    Moment,
    Pause,
    asked,
    differ_by_more_than_time,
    due_in,
    from_json,
    left,
    restored,
    tidied,
    to_json,
)

NOW = Moment(1_761_840_000.0, 1000.0, "here")
LIMIT = Limit(calls=2, span_seconds=60.0, patience_seconds=10.0)


def call(key: str, age: float, machine: str = "here") -> Booking:
    at = NOW.later(-age)
    return Booking(key, 0, Moment(at.wall, at.monotonic, machine))


def book_of(*ages: float, line: int = 0, **other: object) -> Book:
    """Calls so many seconds ago, and so many in line, each of a process of its own."""
    calls = tuple(call(f"caller{n}:1", age) for n, age in enumerate(ages))
    waiting = tuple(Booking(f"waiter{n}:1", n, NOW) for n in range(line))
    return Book(calls, waiting, next_number=line, **other)  # type: ignore[arg-type]


# --- moments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wall", "monotonic", "machine", "seconds"),
    [
        (90.0, 10.0, "here", 10.0),  # of one machine: whatever its wall clock says
        (-3600.0, 10.0, "here", 10.0),
        (0.0, -0.5, "here", -0.5),  # two readings may cross on their way
        (90.0, -900.0, "here", 90.0),  # a monotonic clock that went backwards is another one
        (90.0, 10.0, "there", 90.0),
    ],
)
def test_the_monotonic_clock_counts_on_one_machine_and_the_wall_clocks_between_two(
    wall: float, monotonic: float, machine: str, seconds: float
) -> None:
    assert Moment(NOW.wall + wall, NOW.monotonic + monotonic, machine).since(NOW) == seconds


def test_a_moment_that_cannot_be_is_taken_for_now() -> None:
    book = Book((call("a:1", -3600, "there"), call("b:1", -9, "there")), pause=Pause(NOW.later(99), 5))
    tidy = tidied(book, LIMIT, NOW, "mine")
    assert [one.at for one in tidy.calls] == [NOW, book.calls[1].at]
    assert tidy.pause == Pause(NOW, 5)


def test_what_is_long_past_is_dropped() -> None:
    book = book_of(10, 60, 70, 70.1, pause=Pause(NOW.later(-30), 20))
    tidy = tidied(book, LIMIT, NOW, "mine")
    assert [NOW.since(one.at) for one in tidy.calls] == [10, 60, 70]
    assert tidy.pause is None
    assert tidied(book, LIMIT, NOW.later(-1), "mine").pause == book.pause


# --- who is due, and when to look again ------------------------------------------------------------------------------


def test_each_place_is_due_a_span_after_the_call_two_before_it() -> None:
    assert due_in(book_of(50, 20), LIMIT, NOW, 5) == [10, 40, 70, 100, 130]


def test_who_is_due_and_has_not_called_calls_now_at_the_earliest() -> None:
    assert due_in(book_of(65, 61), LIMIT, NOW, 4) == [-5, -1, 60, 60]
    assert due_in(book_of(), LIMIT, NOW, 4) == [float("-inf"), float("-inf"), 60, 60]


def test_a_call_written_down_ahead_counts_from_then() -> None:
    assert due_in(book_of(100, -5), LIMIT, NOW, 4) == [-40, 60, 65, 120]


def test_a_pause_holds_the_first_and_those_behind() -> None:
    assert due_in(book_of(50, 20, pause=Pause(NOW, 25)), LIMIT, NOW, 3) == [25, 40, 85]


@pytest.mark.parametrize(
    ("line", "ages", "seconds"),
    [
        (0, (50, 20), 10.0),  # the first looks when it is due
        (1, (50, 20), 10.0),  # the next one too: the first may have given up
        (3, (50, 50), 10.0),  # the others when half of the line should be through,
        (8, (0, 0), 150.0),  # or half of their wait
        (1, (59.95, 20), 0.2),  # soon, where the half before is about to call
        (1, (60, 60), 0.01),  # who is due lets the first call, and
        (4, (75, 75, 75, 75, 75), 0.2),  # waits longer where that one does not come
        (0, (59.9999999, 1), 0.001),
    ],
)
def test_who_waits_looks_again_when_its_turn_could_have_come(
    line: int, ages: tuple[float, ...], seconds: float
) -> None:
    limit = LIMIT if len(ages) == 2 else Limit(5, 60.0, 100.0)
    _, answer = asked(book_of(*ages, line=line), limit, NOW, "mine:1", None)
    assert answer.look_in_seconds == pytest.approx(seconds)


def test_each_who_is_due_leaves_those_before_a_little_time() -> None:
    _, answer = asked(book_of(line=3), Limit(5, 60.0, 10.0), NOW, "mine:1", None)
    assert answer.look_in_seconds == pytest.approx(0.2)  # since when they are due is not known: not at all often
    _, answer = asked(book_of(60, 60, 60, 60, 60, line=3), Limit(5, 60.0, 10.0), NOW, "mine:1", None)
    assert answer.look_in_seconds == pytest.approx(0.03)


def test_nobody_waits_for_longer_than_half_of_its_wait_to_notice_that_all_before_are_gone() -> None:
    _, answer = asked(book_of(0, 0, line=2, pause=Pause(NOW, 600)), LIMIT, NOW, "mine:1", None)
    assert answer.look_in_seconds == pytest.approx(330)


# --- the line --------------------------------------------------------------------------------------------------------


def test_who_gives_up_moves_up_those_behind_and_its_calls_stay() -> None:
    book, later = book_of(5, line=3), NOW.later(7)
    assert left(book, {"waiter1:1", "caller0:1"}, later) == Book(
        book.calls, (book.line[0], Booking("waiter2:1", 2, later)), next_number=3
    )
    assert left(book, {"nobody"}, later) is book


def test_who_comes_back_does_not_lower_the_number_of_the_next() -> None:
    book, _ = asked(book_of(0, 0, line=3), LIMIT, NOW, "back:1", 1)
    assert [booking.key for booking in book.line] == ["waiter0:1", "back:1", "waiter1:1", "waiter2:1"]
    assert book.next_number == 3


@pytest.mark.parametrize(("age", "is_dead"), [(69.9, False), (70.1, True)])
def test_the_first_in_line_is_dead_when_it_was_due_for_long_also_where_its_clock_is_ahead(
    age: float, is_dead: bool
) -> None:
    first = Booking("dead:1", 0, Moment(NOW.wall + 3600, 5.0, "there"))
    _, answer = asked(Book(book_of(age, age).calls, (first,), next_number=1), LIMIT, NOW, "mine:1", None)
    assert (answer.call is not None) == is_dead


def test_nobody_takes_its_own_threads_for_dead_however_late_they_are() -> None:
    first = Booking("mine:1", 0, NOW)
    book, answer = asked(Book(line=(first,), next_number=1), LIMIT, NOW.later(3600), "mine:2", None)
    assert (book.line[0], answer.call) == (first, None)
    book, answer = asked(Book(line=(first,), next_number=1), LIMIT, NOW.later(3600), "other:1", None)
    assert (book.line, answer.call is not None) == ((), True)


# --- what is put back, and what is kept ------------------------------------------------------------------------------


def test_a_book_that_was_lost_gets_back_its_calls_its_pause_and_its_numbers() -> None:
    memory = Book((call("a:1", 5),), (), Pause(NOW, 30), 9, 7, 4)
    lost = Book((call("b:1", 1),), (Booking("c:1", 0, NOW),), Pause(NOW, 10), 1, 1, 0)
    assert restored(lost, memory, NOW) == Book((*lost.calls, *memory.calls), lost.line, Pause(NOW, 30), 9, 7, 4)
    assert restored(memory, memory, NOW) == memory


def test_what_the_book_says_of_a_call_stands() -> None:
    moved = Book((call("a:1", 2),))
    assert restored(moved, Book((call("a:1", 5),)), NOW) == moved


def test_the_ledger_learns_of_everything_but_the_passing_of_time() -> None:
    book = book_of(5, 100, line=1, pause=Pause(NOW, 2))
    assert not differ_by_more_than_time(book, tidied(book, LIMIT, NOW.later(50), "waiter0"))
    assert not differ_by_more_than_time(book, replace(book, total_calls=9))
    for change in (
        {"line": ()},
        {"calls": (*book.calls, call("new:1", 0))},
        {"calls": (call("caller0:1", 4),)},
        {"pause": Pause(NOW, 3)},
    ):
        assert differ_by_more_than_time(book, replace(book, **change))


def test_a_book_is_the_same_after_json() -> None:
    book = book_of(0.1, 1 / 3, line=2, pause=Pause(NOW, 2.5), total_calls=3, total_waits=1)
    assert from_json(to_json(book)) == from_json(to_json(book).decode()) == book
