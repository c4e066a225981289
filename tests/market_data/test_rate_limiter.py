"""The limit on calls under a clock that the test moves: in one thread, and in fifty that wait."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.clock import Clock, SystemClock
from position_server.errors import StoreUnavailable
from position_server.market_data.call_book import Book, Limit, Moment, asked
from position_server.market_data.rate_limiter import Ledger, RateLimiter, Stopped, this_machine
from tests.fakes import NOON, VirtualClock
from tests.market_data.ledgers import FaultyLedger, MemoryLedger
from tests.market_data.simulated_time import SimulatedTime

CALLS, WINDOW, GUARD, PATIENCE = 5, 60.0, 0.2, 10.0
SPAN = WINDOW + GUARD


def limiter_of(ledger: Ledger, clock: Clock, calls: int = CALLS, machine: str = "here") -> RateLimiter:
    return RateLimiter(ledger, calls=calls, window_seconds=WINDOW, clock=clock, machine=machine)


@pytest.fixture
def ledger() -> FaultyLedger:
    return FaultyLedger()


@pytest.fixture
def limiter(ledger: FaultyLedger, clock: VirtualClock) -> RateLimiter:
    return limiter_of(ledger, clock)


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def elapsed(clock: Clock) -> float:
    return clock.monotonic() - 1000.0


def books_a_place(ledger: Ledger, clock: Clock, key: str, machine: str = "here") -> None:
    """Somebody comes into line, and is never seen again."""
    now = Moment(clock.now().timestamp(), clock.monotonic(), machine)
    ledger.change(lambda book: asked(book, Limit(CALLS, SPAN, PATIENCE), now, key, None))


# --- one caller ------------------------------------------------------------------------------------------------------


def test_as_many_calls_as_allowed_are_free_at_once_and_the_next_waits_a_window_and_the_guard(
    limiter: RateLimiter, stop: threading.Event
) -> None:
    assert [limiter.acquire(stop) for _ in range(CALLS)] == [0.0] * CALLS
    assert limiter.acquire(stop) == pytest.approx(SPAN)


def test_the_window_slides_with_each_call(limiter: RateLimiter, clock: VirtualClock, stop: threading.Event) -> None:
    at = []
    for pause in (0, 10, 10, 10, 10, 0, 0, 0, 0, 0, 0):
        clock.advance(pause)
        limiter.acquire(stop)
        at.append(elapsed(clock))
    first, second = (0, 10, 20, 30, 40), (60.2, 70.2, 80.2, 90.2, 100.2)
    assert at == pytest.approx([*first, *second, 120.4], abs=0.01)


def test_the_numbers_are_those_of_all_processes_together(
    ledger: FaultyLedger, limiter: RateLimiter, clock: VirtualClock, stop: threading.Event
) -> None:
    assert limiter.get_remaining() == 5
    assert limiter.get_reset_time() == NOON
    limiter.acquire(stop)
    clock.advance(7)
    limiter_of(ledger, clock).acquire(stop)
    assert limiter.get_remaining() == 3
    assert limiter.get_stats() == {
        "limit": 5,
        "window_seconds": 60.0,
        "current_calls": 2,
        "remaining": 3,
        "reset_at": NOON + timedelta(seconds=60.2),
        "total_calls": 2,
        "total_waits": 0,
        "waiting": 0,
        "paused_until": None,
    }
    for _ in range(4):
        limiter.acquire(stop)
    stats = limiter_of(ledger, clock).get_stats()
    assert (stats["current_calls"], stats["total_calls"], stats["total_waits"]) == (5, 6, 1)
    assert limiter.get_reset_time() == NOON + timedelta(seconds=67.2)
    clock.advance(3600)
    assert (limiter.get_stats()["current_calls"], limiter.get_reset_time()) == (0, clock.now())


def test_a_limit_that_is_none_is_refused(ledger: FaultyLedger, clock: VirtualClock, limiter: RateLimiter) -> None:
    for calls, window, guard in ((0, 60, 0.2), (5, 0, 0.2), (5, math.nan, 0.2), (5, math.inf, 0.2), (5, 60, -1)):
        with pytest.raises(ValueError, match=r"calls must be|no window"):
            RateLimiter(ledger, calls=calls, window_seconds=window, clock=clock, guard_seconds=guard)
    for seconds in (-1.0, math.nan):
        with pytest.raises(ValueError, match="a pause cannot last"):
            limiter.pause(seconds)


# --- cancelling ------------------------------------------------------------------------------------------------------


def test_who_is_stopped_beforehand_books_nothing(
    ledger: FaultyLedger, limiter: RateLimiter, stop: threading.Event
) -> None:
    stop.set()
    with pytest.raises(Stopped):
        limiter.acquire(stop)
    assert ledger.book == Book()


@pytest.mark.parametrize("calls", [1, 5])
def test_a_cancelled_waiter_gives_its_place_up_and_those_behind_move_up(calls: int) -> None:
    clock, ledger = SimulatedTime(), MemoryLedger()
    limiter = limiter_of(ledger, clock, calls)
    stop, cancel = threading.Event(), threading.Event()
    done: dict[str, float] = {}

    def wait_as(name: str, stop: threading.Event, start: float) -> None:
        clock.wait(threading.Event(), start)
        try:
            limiter.acquire(stop)
            done[name] = elapsed(clock)
        except Stopped:
            done[name] = -elapsed(clock)

    def cancels() -> None:
        clock.wait(threading.Event(), 30)
        cancel.set()

    early = [lambda n=n: wait_as(f"early {n}", stop, 0) for n in range(calls)]
    cancelled = [lambda n=n: wait_as(f"cancelled {n}", cancel, 1) for n in range(calls)]
    clock.run([*early, *cancelled, lambda: wait_as("last", stop, 2), cancels])
    assert [done[f"cancelled {n}"] for n in range(calls)] == [-30.0] * calls
    assert done["last"] == pytest.approx(SPAN, abs=0.5)  # and not twice that
    assert ledger.book.line == ()


def test_whatever_else_ends_a_wait_gives_the_place_up_too(ledger: FaultyLedger) -> None:
    class Interrupted(VirtualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            raise KeyboardInterrupt

    limiter, stop = limiter_of(ledger, Interrupted(), calls=1), threading.Event()
    limiter.acquire(stop)
    with pytest.raises(KeyboardInterrupt):
        limiter.acquire(stop)
    assert ledger.book.line == ()


# --- pauses ----------------------------------------------------------------------------------------------------------


def test_a_pause_holds_every_process_and_shifts_whoever_waits() -> None:
    clock, ledger, stop = SimulatedTime(), MemoryLedger(), threading.Event()
    one, other = limiter_of(ledger, clock), limiter_of(ledger, clock)
    at: list[float] = []

    def work(limiter: RateLimiter) -> None:
        for _ in range(4):
            limiter.acquire(stop)
            at.append(elapsed(clock))

    def provider_says_429() -> None:
        clock.wait(stop, 59)
        other.pause(100)
        one.pause(3)  # the longer one stands
        assert one.get_remaining() == 0
        assert one.get_stats()["paused_until"] == one.get_reset_time() == NOON + timedelta(seconds=159)

    clock.run([lambda: work(one), lambda: work(other), provider_says_429])
    assert at == pytest.approx([0] * 5 + [159] * 3, abs=0.5)


def test_a_pause_of_years_is_taken_for_a_day(limiter: RateLimiter, clock: VirtualClock) -> None:
    limiter.pause(math.inf)
    assert limiter.get_reset_time() == NOON + timedelta(days=1)


def test_a_pause_holds_here_though_the_ledger_was_down_and_everywhere_once_it_is_back(
    ledger: FaultyLedger, limiter: RateLimiter, clock: VirtualClock, stop: threading.Event
) -> None:
    ledger.is_down = True
    with pytest.raises(StoreUnavailable):
        limiter.pause(30)
    ledger.is_down = False
    assert limiter.get_remaining() == 0
    assert limiter.acquire(stop) == pytest.approx(30)
    limiter.pause(0)
    assert limiter_of(ledger, clock).get_stats()["total_calls"] == 1


# --- clocks that jump ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_wall_clock_that_is_set_changes_nothing(
    ledger: FaultyLedger, clock: VirtualClock, stop: threading.Event, hours: int
) -> None:
    one, other = limiter_of(ledger, clock, calls=1), limiter_of(ledger, clock, calls=1)
    one.acquire(stop)
    clock.advance(20)
    clock.set_wall(clock.now() + timedelta(hours=hours))
    assert other.acquire(stop) == pytest.approx(SPAN - 20)
    one.pause(50)
    clock.set_wall(clock.now() + timedelta(hours=hours))
    assert other.acquire(stop) == pytest.approx(SPAN)


def test_a_machine_whose_clock_is_days_ahead_blocks_the_others_for_no_longer_than_a_window(
    ledger: FaultyLedger, stop: threading.Event
) -> None:
    ahead, clock = VirtualClock(NOON + timedelta(days=3)), VirtualClock(NOON)
    there, here = limiter_of(ledger, ahead, 1, "there"), limiter_of(ledger, clock, 1, "here")
    there.acquire(stop)
    assert here.acquire(stop) == pytest.approx(SPAN)
    there.pause(40)
    assert here.acquire(stop) == pytest.approx(SPAN)
    there.pause(70)
    assert here.acquire(stop) == pytest.approx(70)


def test_a_call_of_days_ahead_that_is_made_while_one_waits_costs_it_one_window(
    ledger: FaultyLedger, stop: threading.Event
) -> None:
    there = limiter_of(ledger, VirtualClock(NOON + timedelta(days=3)), 1, "there")
    calls = iter([there.acquire])

    class Meanwhile(VirtualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            for acquire in calls:
                acquire(stop)
            return super().wait(stop, seconds)

    here = limiter_of(ledger, Meanwhile(), 1, "here")
    here.acquire(stop)
    assert SPAN < here.acquire(stop) < 2 * SPAN


def test_machines_whose_clocks_are_in_step_share_the_limit(ledger: FaultyLedger, stop: threading.Event) -> None:
    one, other = VirtualClock(NOON), VirtualClock(NOON)
    other._monotonic = 5.0  # it was started later
    there, here = limiter_of(ledger, one, 1, "there"), limiter_of(ledger, other, 1, "here")
    there.acquire(stop)
    assert here.acquire(stop) == pytest.approx(SPAN)
    one.advance(SPAN + 25)
    assert there.acquire(stop) == pytest.approx(SPAN - 25)


def test_a_machine_that_starts_anew_counts_by_its_wall_clock(ledger: FaultyLedger, stop: threading.Event) -> None:
    limiter_of(ledger, VirtualClock(NOON), 1, "first start").acquire(stop)
    rebooted = VirtualClock(NOON + timedelta(seconds=45))
    assert limiter_of(ledger, rebooted, 1, "second start").acquire(stop) == pytest.approx(SPAN - 45)


def test_processes_of_this_machine_know_that_they_share_its_clock() -> None:
    assert this_machine() == this_machine() != ""


# --- processes that die ----------------------------------------------------------------------------------------------


def test_the_places_of_a_dead_process_heal_once_its_first_turn_has_passed(
    ledger: FaultyLedger, limiter: RateLimiter, clock: VirtualClock, stop: threading.Event
) -> None:
    for _ in range(CALLS):
        limiter.acquire(stop)
    for n in range(7):
        books_a_place(ledger, clock, f"dead:{n}")
    assert limiter.acquire(stop) == pytest.approx(SPAN + PATIENCE, abs=0.5)
    assert ledger.book.line == ()
    assert [limiter.acquire(stop) for _ in range(4)] == [0.0] * 4


def test_two_dead_processes_heal_one_after_the_other(
    ledger: FaultyLedger, limiter: RateLimiter, clock: VirtualClock, stop: threading.Event
) -> None:
    limiter.pause(1)
    books_a_place(ledger, clock, "dead:1")
    books_a_place(ledger, clock, "dead too:1")
    assert limiter.acquire(stop) == pytest.approx(1 + 2 * PATIENCE, abs=0.5)


def test_a_process_that_was_only_slow_gets_its_place_back() -> None:
    clock, ledger, stop = SimulatedTime(), MemoryLedger(), threading.Event()
    order: list[str] = []

    class Slow:
        """Its process is held for twenty seconds when its turn has come."""

        now, monotonic = clock.now, clock.monotonic

        def wait(self, stop: threading.Event, seconds: float) -> bool:
            stopped = clock.wait(stop, seconds)
            if 60 <= elapsed(clock) < 80:
                clock.wait(threading.Event(), 20)
            return stopped

    def wait_as(name: str, limiter: RateLimiter, start: float) -> None:
        clock.wait(stop, start)
        limiter.acquire(stop)
        order.append(name)

    slow, quick = limiter_of(ledger, Slow(), calls=1), limiter_of(ledger, clock, calls=1)
    jobs = [("first", quick, 0), ("slow", slow, 1), ("passes", quick, 2), ("behind", quick, 3), ("last", quick, 4)]
    clock.run([lambda job=job: wait_as(*job) for job in jobs])
    assert order == ["first", "passes", "slow", "behind", "last"]


# --- ledgers that fail -----------------------------------------------------------------------------------------------


def test_without_the_ledger_there_is_no_permit_and_no_number(
    ledger: FaultyLedger, limiter: RateLimiter, stop: threading.Event
) -> None:
    ledger.is_down = True
    for ask in (lambda: limiter.acquire(stop), limiter.get_stats, limiter.get_remaining, limiter.get_reset_time):
        with pytest.raises(StoreUnavailable, match="the ledger is down"):
            ask()
    ledger.is_down = False
    assert limiter.get_stats()["total_calls"] == 0
    assert limiter.acquire(stop) == 0.0


def test_whoever_waits_behind_a_place_that_could_not_be_given_up_gives_it_up(
    ledger: FaultyLedger, stop: threading.Event
) -> None:
    clock = SimulatedTime()
    limiter, order = limiter_of(ledger, clock, calls=1), []

    def work(name: str, start: float) -> None:
        clock.wait(stop, start)
        limiter.acquire(stop)
        order.append((name, round(elapsed(clock))))

    def in_vain() -> None:
        me = threading.current_thread()
        ledger.after_a_look = lambda: ledger.fail() if threading.current_thread() is me else None
        with pytest.raises(StoreUnavailable):
            work("in vain", 1)

    clock.run([lambda: work("first", 0), in_vain, lambda: work("behind", 2)])
    assert order == [("first", 0), ("behind", 60)]


def test_a_ledger_that_fails_during_a_wait_ends_it_and_the_place_is_given_up_when_it_is_back(
    ledger: FaultyLedger, stop: threading.Event
) -> None:
    class FailsMeanwhile(VirtualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            ledger.is_down = True
            return super().wait(stop, seconds)

    clock = FailsMeanwhile()
    limiter = limiter_of(ledger, clock, calls=1)
    limiter.acquire(stop)
    with pytest.raises(StoreUnavailable):
        limiter.acquire(stop)
    ledger.is_down = False
    assert len(ledger.book.line) == 1
    limiter.pause(0)
    assert ledger.book.line == ()


def test_a_waiter_that_is_cancelled_while_the_ledger_is_down_is_stopped_all_the_same(
    ledger: FaultyLedger, caplog: pytest.LogCaptureFixture, stop: threading.Event
) -> None:
    class StopsMeanwhile(VirtualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            ledger.is_down = True
            stop.set()
            return True

    limiter = limiter_of(ledger, StopsMeanwhile(), calls=1)
    limiter.acquire(stop)
    with caplog.at_level(logging.WARNING), pytest.raises(Stopped):
        limiter.acquire(stop)
    assert "given up later" in caplog.text
    ledger.is_down = False
    limiter.pause(0)
    assert ledger.book.line == ()


def test_a_permit_whose_answer_was_lost_counts_and_is_not_used(
    ledger: FaultyLedger, limiter: RateLimiter, stop: threading.Event
) -> None:
    ledger.answers_to_lose = 1
    with pytest.raises(StoreUnavailable):
        limiter.acquire(stop)
    assert limiter.get_stats()["current_calls"] == 1


def test_a_ledger_that_makes_a_change_twice_counts_the_call_once(ledger: FaultyLedger, clock: VirtualClock) -> None:
    now = Moment(clock.now().timestamp(), clock.monotonic(), "here")
    limit = Limit(CALLS, SPAN, PATIENCE)
    book, answer = asked(Book(), limit, now, "a:1", None)
    assert asked(book, limit, now, "a:1", None) == (book, answer)


def test_a_ledger_that_lost_everything_gets_back_what_its_limiters_saw(
    ledger: FaultyLedger, limiter: RateLimiter, clock: VirtualClock, stop: threading.Event
) -> None:
    other = limiter_of(ledger, clock)
    for _ in range(3):
        other.acquire(stop)
    limiter.pause(5)
    limiter.acquire(stop)
    ledger.book = Book()
    assert limiter.acquire(stop) == 0.0
    assert limiter.acquire(stop) == pytest.approx(SPAN - 5)
    stats = limiter_of(ledger, clock).get_stats()
    assert (stats["total_calls"], stats["current_calls"]) == (6, 3)


def test_what_one_thread_saw_is_not_forgotten_for_what_another_read_before(
    ledger: FaultyLedger, limiter: RateLimiter, stop: threading.Event
) -> None:
    ledger.after_a_look = partial(limiter.acquire, stop)
    limiter.get_stats()
    ledger.book, ledger.after_a_look = Book(), lambda: None
    assert limiter.get_stats()["current_calls"] == 1


def test_a_waiter_whose_place_the_ledger_lost_gets_it_back(ledger: FaultyLedger, stop: threading.Event) -> None:
    class LosesMeanwhile(VirtualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            ledger.book = Book()
            return super().wait(stop, seconds)

    limiter = limiter_of(ledger, LosesMeanwhile(), calls=1)
    limiter.acquire(stop)
    assert limiter.acquire(stop) == pytest.approx(SPAN)
    assert ledger.book.total_waits == 1


@pytest.mark.parametrize("seconds", [0.05, 0.3, 4.0])
def test_a_permit_counts_from_when_it_is_handed_out_however_slow_the_ledger_is(
    ledger: FaultyLedger, clock: VirtualClock, stop: threading.Event, seconds: float
) -> None:
    ledger.after_a_change = lambda: clock.advance(seconds)
    limiter = limiter_of(ledger, clock, calls=1)
    at = []
    for _ in range(3):
        limiter.acquire(stop)
        at.append(elapsed(clock))
    assert all(later - earlier >= WINDOW + GUARD / 2 for earlier, later in pairwise(at))


def test_a_permit_that_is_handed_out_a_window_late_is_void(
    ledger: FaultyLedger, limiter: RateLimiter, clock: VirtualClock, stop: threading.Event
) -> None:
    at: list[float] = []
    others = limiter_of(ledger, clock)

    def held() -> None:  # once, between the permit and its use: meanwhile others call as often as they may
        ledger.after_a_change = lambda: None
        clock.advance(SPAN)
        for _ in range(CALLS):
            others.acquire(stop)
            at.append(elapsed(clock))

    ledger.after_a_change = held
    assert limiter.acquire(stop) > 0
    at.append(elapsed(clock))
    assert at[-1] - at[0] >= WINDOW


def test_a_ledger_that_is_slower_every_time_gives_no_permit(
    ledger: FaultyLedger, limiter: RateLimiter, clock: VirtualClock, stop: threading.Event
) -> None:
    ledger.after_a_change = lambda: clock.advance(0.1 * 3.0**ledger.changes)
    with pytest.raises(StoreUnavailable, match="the ledger of calls is too slow: a permit took"):
        limiter.acquire(stop)


def test_the_clock_is_read_when_the_ledger_is_locked(
    ledger: FaultyLedger, limiter: RateLimiter, clock: VirtualClock, stop: threading.Event
) -> None:
    ledger.before_a_change = lambda: clock.advance(4.0)
    limiter.acquire(stop)
    assert ledger.book.calls[0].at.monotonic == clock.monotonic()


def test_a_waiter_only_reads_while_nothing_changes(
    ledger: FaultyLedger, limiter: RateLimiter, stop: threading.Event
) -> None:
    for _ in range(CALLS + 1):
        limiter.acquire(stop)
    assert ledger.changes == CALLS + 2


# --- fifty at once ---------------------------------------------------------------------------------------------------


class Desk:
    """Waiters of several processes, each process with a limiter of its own; what they saw."""

    def __init__(self, processes: int, calls: int) -> None:
        self.clock = SimulatedTime()
        self.ledger = MemoryLedger()
        self.calls = calls
        self.limiters = [limiter_of(self.ledger, self.clock, calls) for _ in range(processes)]
        self.permitted_at: list[float] = []
        self.arrivals: list[int] = []  # in the order of arrival, and
        self.permits: list[int] = []  # of the permits
        self.stopped: set[int] = set()
        self.pauses: list[tuple[float, float]] = []
        self.never = threading.Event()

    def acquire(self, waiter: int, stop: threading.Event) -> None:
        number = len(self.arrivals)
        self.arrivals.append(number)
        try:
            waited = self.limiters[waiter % len(self.limiters)].acquire(stop)
        except Stopped:
            self.stopped.add(number)
            return
        self.permits.append(number)
        self.permitted_at.append(self.clock.monotonic())
        assert waited >= 0

    def pause(self, waiter: int, seconds: float) -> None:
        self.pauses.append((self.clock.monotonic(), seconds))
        self.limiters[waiter % len(self.limiters)].pause(seconds)

    def check(self) -> None:
        together = zip(self.permitted_at, self.permitted_at[self.calls :], strict=False)
        assert all(later - earlier >= SPAN - 1e-9 for earlier, later in together)
        assert self.permits == [number for number in self.arrivals if number not in self.stopped]
        assert not [
            at for since, seconds in self.pauses for at in self.permitted_at if since < at < since + seconds - 1e-9
        ]
        book = self.ledger.look()
        assert (book.line, book.total_calls) == ((), len(self.permits))


def test_ten_thousand_acquisitions_by_fifty_waiters_keep_to_the_limit_and_their_order() -> None:
    desk = Desk(processes=3, calls=10)

    def work(waiter: int) -> None:
        for number in range(200):
            desk.acquire(waiter, desk.never)
            desk.clock.wait(
                desk.never, 200 + (waiter * number) % 80
            )  # it makes the call, and is back before all are through

    desk.clock.run([lambda waiter=waiter: work(waiter) for waiter in range(50)])
    desk.check()
    assert len(desk.permits) == 10_000
    assert elapsed(desk.clock) == pytest.approx(10_000 / 10 * SPAN, rel=0.02)  # and none was wasted


step = st.tuples(
    st.sampled_from(["acquire", "acquire", "acquire", "acquire", "cancelled", "pause"]),
    st.one_of(st.just(0.0), st.floats(0, 300)),  # seconds until it
    st.floats(0, 100),  # seconds that it lasts: a pause, or the patience of one who cancels
)


@settings(max_examples=20)
@given(
    calls=st.integers(1, 20),
    processes=st.integers(1, 4),
    work=st.lists(st.lists(step, max_size=6), min_size=50, max_size=50),
    sets=st.lists(st.tuples(st.floats(0, 600), st.floats(-1e5, 1e5)), max_size=3),
)
def test_fifty_waiters_who_cancel_and_pause_as_they_like_keep_to_the_limit_and_their_order(
    calls: int, processes: int, work: list[list[tuple[str, float, float]]], sets: list[tuple[float, float]]
) -> None:
    """Every few minutes somebody sets the wall clock, too."""
    desk = Desk(processes, calls)

    def waits(waiter: int, steps: list[tuple[str, float, float]]) -> None:
        for kind, delay, seconds in steps:
            desk.clock.wait(desk.never, delay)
            if kind == "pause":
                desk.pause(waiter, seconds)
            else:
                stop = threading.Event()
                if kind == "cancelled":
                    desk.clock.set_in(seconds, stop)
                desk.acquire(waiter, stop)

    def sets_the_clock() -> None:
        for delay, by in sets:
            desk.clock.wait(desk.never, delay)
            desk.clock.set_wall(timedelta(seconds=by))

    desk.clock.run([sets_the_clock, *(lambda n=n, s=s: waits(n, s) for n, s in enumerate(work))])
    desk.check()


def test_real_threads_on_the_machines_clock_keep_to_the_limit_and_their_order() -> None:
    ledger, clock, stop = MemoryLedger(), SystemClock(), threading.Event()
    limiter = RateLimiter(ledger, calls=4, window_seconds=0.1, clock=clock, guard_seconds=1.0)  # a thread may stall
    threads = [threading.Thread(target=limiter.acquire, args=(stop,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    at = [call.at.monotonic for call in ledger.book.calls]
    assert [call.number for call in ledger.book.calls] == list(range(8))
    assert all(later - earlier >= 1.1 for earlier, later in zip(at, at[4:], strict=False))


def waits_in_vain(limiter: RateLimiter, stop: threading.Event, ended: Callable[[], None]) -> None:
    with pytest.raises(Stopped):
        limiter.acquire(stop)
    ended()


def test_the_stop_event_ends_a_real_wait_at_once() -> None:
    stop, ended = threading.Event(), threading.Event()
    limiter = RateLimiter(MemoryLedger(), calls=1, window_seconds=3600, clock=SystemClock())
    limiter.acquire(stop)
    thread = threading.Thread(target=waits_in_vain, args=(limiter, stop, ended.set))
    thread.start()
    assert not ended.wait(0.05)
    stop.set()
    assert ended.wait(60)
    thread.join(60)
