"""The queue of symbols: its order, its bounds, its retries, and all of them against a model."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from position_server.market_data.priority_queue import GivenUp, Item, Level, PriorityQueue
from tests.fakes import NOON, VirtualClock


@pytest.fixture
def queue(clock: VirtualClock) -> PriorityQueue:
    return PriorityQueue(clock, max_size=4)


def symbols(items: list[Item]) -> list[str]:
    return [item.symbol for item in items]


# --- order -----------------------------------------------------------------------------------------------------------


def test_the_highest_level_goes_first_and_within_it_who_came_first(queue: PriorityQueue) -> None:
    for symbol, level in (("A", Level.LOW), ("B", Level.HIGH), ("C", Level.CRITICAL), ("D", Level.HIGH)):
        assert queue.enqueue(symbol, level)
    assert queue.peek() == Item("C", Level.CRITICAL, NOON, 0)
    assert queue.size() == 4
    assert symbols(queue.take(3)) == ["C", "B", "D"]
    assert symbols(queue.take(3)) == ["A"]
    assert (queue.take(3), queue.peek(), queue.size()) == ([], None, 0)


def test_a_symbol_waits_once_and_a_higher_level_raises_it_behind_those_of_that_level(
    queue: PriorityQueue, clock: VirtualClock
) -> None:
    queue.enqueue("A", Level.LOW)
    queue.enqueue("B", Level.MEDIUM)
    clock.advance(60)
    assert queue.enqueue("A", Level.MEDIUM)
    assert queue.enqueue("B", Level.LOW)  # lower: it keeps its place
    assert queue.take(9) == [Item("B", Level.MEDIUM, NOON), Item("A", Level.MEDIUM, NOON)]


def test_nothing_is_taken_for_a_limit_of_nothing(queue: PriorityQueue) -> None:
    queue.enqueue("A", Level.LOW)
    assert queue.take(0) == queue.take(-1) == []
    assert queue.size() == 1


def test_a_level_is_one_of_the_four(queue: PriorityQueue) -> None:
    queue.enqueue("A", 2)  # type: ignore[arg-type]
    assert queue.take(1)[0].level is Level.HIGH
    with pytest.raises(ValueError, match="5 is not a valid Level"):
        queue.enqueue("A", 5)  # type: ignore[arg-type]


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_and_counts_but_raises_what_waits(queue: PriorityQueue) -> None:
    for symbol in "ABCD":
        queue.enqueue(symbol, Level.LOW)
    assert not queue.enqueue("E", Level.CRITICAL)
    assert queue.enqueue("D", Level.CRITICAL)
    assert symbols(queue.take(9)) == ["D", "A", "B", "C"]
    assert queue.get_stats()["total_refused"] == 1


@pytest.mark.parametrize(("size", "retries"), [(0, 3), (10, -1)])
def test_bounds_that_are_none_are_refused(clock: VirtualClock, size: int, retries: int) -> None:
    with pytest.raises(ValueError, match="max_"):
        PriorityQueue(clock, size, retries)


# --- retries ---------------------------------------------------------------------------------------------------------


def test_what_failed_is_tried_again_a_level_lower_and_given_up_after_three_retries(
    queue: PriorityQueue, clock: VirtualClock
) -> None:
    queue.enqueue("A", Level.HIGH)
    levels = []
    for number in range(3):
        (item,) = queue.take(1)
        levels.append((item.level, item.retries))
        clock.advance(10)
        assert queue.requeue(item, f"HTTP 50{number}")
    (item,) = queue.take(1)
    assert item == Item("A", Level.LOW, NOON, 3)
    assert levels == [(Level.HIGH, 0), (Level.MEDIUM, 1), (Level.LOW, 2)]
    assert not queue.requeue(item, "HTTP 503")
    assert queue.given_up() == [GivenUp(item, "HTTP 503", NOON + timedelta(seconds=30))]
    assert queue.size() == 0
    assert queue.get_stats()["total_given_up"] == 1


def test_a_symbol_that_was_given_up_may_come_again(queue: PriorityQueue) -> None:
    queue.enqueue("A", Level.LOW)
    (item,) = queue.take(1)
    assert not queue.requeue(Item("A", Level.LOW, NOON, 3), "no")
    assert queue.enqueue("A", Level.LOW)
    assert queue.take(1) == [item]


def test_a_symbol_enqueued_anew_meanwhile_waits_as_it_was_enqueued(queue: PriorityQueue) -> None:
    queue.enqueue("A", Level.LOW)
    (item,) = queue.take(1)
    queue.enqueue("A", Level.HIGH)
    assert queue.requeue(item, "HTTP 500")
    assert queue.take(9) == [Item("A", Level.HIGH, NOON)]
    assert queue.given_up() == []


def test_what_fails_while_the_queue_is_full_is_given_up_and_recorded(queue: PriorityQueue) -> None:
    queue.enqueue("A", Level.HIGH)
    (item,) = queue.take(1)
    for symbol in "BCDE":
        queue.enqueue(symbol, Level.LOW)
    assert not queue.requeue(item, "HTTP 500")
    assert [(one.item.symbol, one.error) for one in queue.given_up()] == [("A", "HTTP 500")]
    assert queue.get_stats()["total_refused"] == 1


def test_of_what_was_given_up_the_newest_of_each_symbol_is_kept_within_bounds(queue: PriorityQueue) -> None:
    for number, symbol in enumerate("ABCDEA"):
        assert not queue.requeue(Item(symbol, Level.LOW, NOON, 3), f"error {number}")
    assert [one.error for one in queue.given_up()] == ["error 2", "error 3", "error 4", "error 5"]
    assert queue.get_stats()["total_given_up"] == 6


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_the_numbers_say_what_waits_and_what_has_been(queue: PriorityQueue, clock: VirtualClock) -> None:
    assert queue.get_stats() == {
        "size": 0,
        "max_size": 4,
        "by_priority": {"CRITICAL": 0, "HIGH": 0, "MEDIUM": 0, "LOW": 0},
        "oldest_age_seconds": None,
        "total_enqueued": 0,
        "total_processed": 0,
        "total_refused": 0,
        "total_given_up": 0,
    }
    for symbol, level in (("A", Level.HIGH), ("B", Level.LOW), ("C", Level.LOW), ("A", Level.LOW)):
        queue.enqueue(symbol, level)
    clock.advance(42)
    queue.requeue(queue.take(1)[0], "HTTP 500")
    stats = queue.get_stats()
    assert stats["by_priority"] == {"CRITICAL": 0, "HIGH": 0, "MEDIUM": 1, "LOW": 2}
    assert stats["oldest_age_seconds"] == 42  # a retry does not make it younger
    assert (stats["size"], stats["total_enqueued"], stats["total_processed"]) == (3, 3, 1)
    clock.set_wall(NOON - timedelta(days=1))
    assert queue.get_stats()["oldest_age_seconds"] == 0


# --- threads, and a model --------------------------------------------------------------------------------------------


def test_threads_that_fill_and_drain_it_lose_and_double_nothing(clock: VirtualClock) -> None:
    queue, taken = PriorityQueue(clock, max_size=10_000), [[] for _ in range(4)]  # type: ignore[var-annotated]
    barrier = threading.Barrier(8)

    def fills(number: int) -> None:
        barrier.wait(20)
        for n in range(250):
            queue.enqueue(f"{number}-{n}", Level(1 + n % 4))

    def drains(into: list[Item]) -> None:
        barrier.wait(20)
        while len(into) < 250:
            into += queue.take(min(7, 250 - len(into)))

    threads = [threading.Thread(target=fills, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=drains, args=(into,)) for into in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {item.symbol for into in taken for item in into} == {f"{n}-{k}" for n in range(4) for k in range(250)}
    assert queue.get_stats()["total_processed"] == 1000


class Model(RuleBasedStateMachine):
    """A list that is sorted by level keeps the order of arrival: the whole queue in a few lines."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = PriorityQueue(VirtualClock(), max_size=5, max_retries=2)
        self.waiting: list[Item] = []
        self.taken: list[Item] = []
        self.given_up: list[str] = []

    def _find(self, symbol: str) -> Item | None:
        return next((item for item in self.waiting if item.symbol == symbol), None)

    def _put(self, item: Item) -> None:
        self.waiting = sorted([*self.waiting, item], key=lambda one: one.level)

    @rule(symbol=st.sampled_from("ABCDEFGH"), level=st.sampled_from(Level))
    def enqueue(self, symbol: str, level: Level) -> None:
        there = self._find(symbol)
        assert self.queue.enqueue(symbol, level) == (there is not None or len(self.waiting) < 5)
        if there is not None and level < there.level:
            self.waiting.remove(there)
            self._put(Item(symbol, level, there.enqueued_at, there.retries))
        elif there is None and len(self.waiting) < 5:
            self._put(Item(symbol, level, NOON))

    @rule(limit=st.integers(0, 6))
    def take(self, limit: int) -> None:
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        assert self.queue.take(limit) == taken
        self.taken += taken

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        item = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        there, may = self._find(item.symbol), item.retries < 2 and len(self.waiting) < 5
        assert self.queue.requeue(item, "error") == (there is not None or may)
        if there is None and may:
            self._put(Item(item.symbol, Level(min(item.level + 1, 4)), item.enqueued_at, item.retries + 1))
        elif there is None:
            self.given_up.append(item.symbol)

    @invariant()
    def the_numbers_are_those_of_the_model(self) -> None:
        stats = self.queue.get_stats()
        assert stats["size"] == self.queue.size() == len(self.waiting) == sum(stats["by_priority"].values())
        assert stats["total_given_up"] == len(self.given_up)
        assert {one.item.symbol for one in self.queue.given_up()} >= set(self.given_up[-1:])
        assert self.queue.peek() == next(iter(self.waiting), None)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=30, stateful_step_count=40)
