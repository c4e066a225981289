"""The guard: who is let in, at what cost, and what it says before it knows."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from position_server.access import Caller, Guard, Role, Unknown, guard
from position_server.errors import Busy, Starting, StoreUnavailable
from tests.access.factories import key
from tests.fakes import NOON, InlineExecutor, VirtualClock

ANYBODY = Caller(None, Role.ADMIN)


class HeldExecutor(InlineExecutor):
    """Runs nothing until it is told to."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.work.append(lambda: future.set_result(fn(*args, **kwargs)))
        return future


class CountingExecutor(InlineExecutor):
    """Runs what is submitted at once, and counts it."""

    def __init__(self) -> None:
        self.checks = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.checks += 1
        return super().submit(fn, *args, **kwargs)


@dataclass
class Door:
    """A guard and what it stands on."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    executor: CountingExecutor = field(default_factory=CountingExecutor)

    def __post_init__(self) -> None:
        self.guard = Guard(self.executor, self.clock, secret=b"of a test")

    def ask(self, text: str) -> Caller | None:
        return asyncio.run(self.guard.identify(HTTPHeaders({"X-API-Key": text})))

    def at_once(self, text: str) -> Caller | Unknown | None:
        return self.guard.caller_of(HTTPHeaders({"X-API-Key": text}))


@pytest.fixture
def door() -> Door:
    return Door()


def run(*asking: Awaitable[Any]) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*asking, return_exceptions=True)

    return asyncio.run(together())


# --- before and without keys -----------------------------------------------------------------------------------------


def test_without_keys_whoever_asks_is_an_admin_with_no_id(door: Door) -> None:
    door.guard.learn(())
    assert door.guard.caller_of({}) == door.at_once("anything") == door.ask("anything") == ANYBODY
    assert not door.guard.on
    assert door.executor.checks == 0


def test_before_the_keys_are_read_nobody_is_known_and_all_wait(door: Door) -> None:
    ours, text = key()
    assert door.guard.caller_of({}) is Unknown.UNKNOWN
    assert door.guard.on

    async def read_later() -> None:
        await asyncio.sleep(0)
        await asyncio.to_thread(door.guard.learn, [ours])

    headers = [{"X-API-Key": text}, {}, {"X-API-Key": text}]
    *answers, _ = run(*(door.guard.identify(one) for one in headers), read_later())
    assert answers == [Caller(ours.key_id, Role.READER), None, Caller(ours.key_id, Role.READER)]


def test_where_the_store_does_not_say_who_asks_is_told_to_come_back(door: Door) -> None:
    door.guard.cannot_read(StoreUnavailable())
    (answer,) = run(door.guard.identify({}))
    assert isinstance(answer, Starting)


def test_nobody_waits_longer_than_the_bound(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "FIRST_READ_SECONDS", 0.01)
    assert [type(answer) for answer in run(door.guard.identify({}), door.guard.identify({}))] == [Starting, Starting]


def test_where_keys_are_always_needed_a_store_without_any_lets_nobody_in() -> None:
    closed = Guard(InlineExecutor(), VirtualClock(), secret=b"", always_on=True)
    closed.learn(())
    assert closed.caller_of({}) is None


# --- with keys -------------------------------------------------------------------------------------------------------


def test_a_key_lets_its_holder_in_with_its_role(door: Door) -> None:
    made = [key(role=role) for role in Role]
    door.guard.learn([ours for ours, _ in made])
    assert [door.ask(text) for _, text in made] == [Caller(ours.key_id, ours.role) for ours, _ in made]
    assert door.guard.caller_of({}) is None


def test_a_key_is_checked_once_and_then_known_at_once(door: Door) -> None:
    ours, text = key()
    door.guard.learn([ours])
    assert door.at_once(text) is Unknown.UNKNOWN
    assert door.ask(text) == door.at_once(text) == door.ask(text) == Caller(ours.key_id, Role.READER)
    door.guard.learn([ours])  # read again, unchanged
    assert door.at_once(text) == Caller(ours.key_id, Role.READER)
    assert door.executor.checks == 1


def test_a_key_is_forgotten_a_minute_after_its_last_use(door: Door) -> None:
    ours, text = key()
    door.guard.learn([ours])
    door.ask(text)
    for _ in range(5):
        door.clock.advance(40)
        assert door.at_once(text) == Caller(ours.key_id, Role.READER)
    door.clock.advance(61)
    assert door.at_once(text) is Unknown.UNKNOWN
    assert door.ask(text) is not None
    assert door.executor.checks == 2


def test_a_wrong_key_is_remembered_a_minute_too(door: Door) -> None:
    door.guard.learn([key()[0]])
    _, wrong = key()
    assert door.ask(wrong) is door.ask(wrong) is door.at_once(wrong) is None
    assert door.executor.checks == 1
    door.clock.advance(61)
    assert door.ask(wrong) is None
    assert door.executor.checks == 2


def test_wrong_keys_are_remembered_up_to_a_bound_and_push_out_no_good_one(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "MOST_REFUSED", 3)
    monkeypatch.setattr(guard, "find_key", lambda text, _: ours if text == good else None)
    ours, good = key()
    door.guard.learn([ours])
    door.ask(good)
    wrong = [f"{number:080}" for number in range(10)]
    assert [door.ask(text) for text in wrong] == [None] * 10
    assert door.at_once(good) == Caller(ours.key_id, Role.READER)
    assert [door.at_once(text) for text in wrong].count(None) == 3


def test_a_key_is_good_until_the_moment_it_expires_whether_remembered_or_not(door: Door) -> None:
    ours, text = key(expires_at=NOON + timedelta(seconds=30))
    door.guard.learn([ours])
    assert door.ask(text) is not None
    door.clock.advance(29.9)
    assert door.at_once(text) is not None
    door.clock.advance(0.1)
    assert door.at_once(text) is None
    door.guard.learn([ours, key()[0]])  # which forgets what was checked
    assert door.ask(text) is None


def test_a_changed_role_a_revocation_and_a_new_key_count_with_the_next_reading(door: Door) -> None:
    ours, text = key()
    new, other = key(role=Role.ADMIN)
    door.guard.learn([ours])
    assert (door.ask(text), door.ask(other)) == (Caller(ours.key_id, Role.READER), None)
    door.guard.learn([replace(ours, role=Role.ANALYST), new])
    assert door.ask(text) == Caller(ours.key_id, Role.ANALYST)
    assert door.ask(other) == Caller(new.key_id, Role.ADMIN)
    door.guard.learn([replace(ours, revoked_at=NOON), new])
    assert door.at_once(text) is Unknown.UNKNOWN
    assert door.ask(text) is None


@pytest.mark.parametrize("is_deleted", [False, True])
def test_losing_the_last_key_opens_nothing(door: Door, is_deleted: bool) -> None:
    ours, text = key()
    door.guard.learn([ours])
    door.guard.learn([] if is_deleted else [replace(ours, revoked_at=NOON)])
    assert door.guard.on
    assert door.guard.caller_of({}) is None
    assert door.ask(text) is None


def test_a_store_that_is_down_leaves_the_last_known_keys_and_says_so_once(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    ours, text = key()
    door.guard.learn([ours])
    door.ask(text)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            door.guard.cannot_read(StoreUnavailable("the store desk is unavailable: gone"))
        door.guard.learn([ours])
    assert door.at_once(text) is not None
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "API keys cannot be read: the last known stay valid"),
        ("INFO", "API keys can be read again"),
    ]


def test_what_changed_is_logged_by_id_and_no_secret_is(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    (ours, text), (other, _) = key(), key()
    with caplog.at_level(logging.INFO):
        door.guard.learn([ours])
        door.guard.learn([ours, other])
        door.ask(text)
        door.ask(text[:-1] + "x")
    changed = [record.changed for record in caplog.records if hasattr(record, "changed")]
    assert changed == [[], [other.key_id]]
    assert text.rpartition("_")[2][:-1] not in str([vars(record) for record in caplog.records])


# --- many at once ----------------------------------------------------------------------------------------------------


def test_many_with_the_same_key_wait_for_one_check() -> None:
    ours, text = key()
    held = HeldExecutor()
    door = Guard(held, VirtualClock(), secret=b"")
    door.learn([ours])

    async def let_go() -> None:
        while not held.work:
            await asyncio.sleep(0)
        assert door.caller_of({"X-API-Key": text}) is Unknown.UNKNOWN  # the loop goes on meanwhile
        held.work[0]()

    *answers, _ = run(*(door.identify({"X-API-Key": text}) for _ in range(50)), let_go())
    assert answers == [Caller(ours.key_id, Role.READER)] * 50
    assert len(held.work) == 1


def test_who_hangs_up_while_a_key_is_checked_takes_nothing_from_the_others() -> None:
    ours, text = key()
    held = HeldExecutor()
    door = Guard(held, VirtualClock(), secret=b"")
    door.learn([ours])

    async def scene() -> Caller | None:
        one, two = (asyncio.create_task(door.identify({"X-API-Key": text})) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.sleep(0)
        held.work[0]()
        return await two

    assert asyncio.run(scene()) == Caller(ours.key_id, Role.READER)


def test_more_secrets_than_can_be_checked_soon_are_refused_at_once_and_known_keys_go_on() -> None:
    ours, text = key()
    held = HeldExecutor()
    door = Guard(held, VirtualClock(), secret=b"")
    door.learn([ours])

    async def scene() -> list[Any]:
        known = asyncio.create_task(door.identify({"X-API-Key": text}))
        await asyncio.sleep(0)
        held.work.pop()()
        assert await known == Caller(ours.key_id, Role.READER)
        flood = [asyncio.create_task(door.identify({"X-API-Key": f"{n:080}"})) for n in range(guard.MOST_CHECKS + 3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert door.caller_of({"X-API-Key": text}) == Caller(ours.key_id, Role.READER)
        for work in held.work:
            work()
        return await asyncio.gather(*flood, return_exceptions=True)

    answers = asyncio.run(scene())
    assert answers[: guard.MOST_CHECKS] == [None] * guard.MOST_CHECKS
    assert [type(answer) for answer in answers[guard.MOST_CHECKS :]] == [Busy] * 3


def test_a_secret_is_checked_on_the_threads_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(guard, "find_key", lambda *_: seen.append(threading.current_thread().name))
    with ThreadPoolExecutor(1, "key-check") as threads:
        door = Guard(threads, VirtualClock(), secret=b"")
        door.learn([key()[0]])
        run(door.identify({"X-API-Key": "x" * 80}))
    assert seen == ["key-check_0"]


# --- headers ---------------------------------------------------------------------------------------------------------

OURS, TEXT = key()
OTHER, OTHERS = key()


@pytest.mark.parametrize(
    ("lines", "is_let_in"),
    [
        ({"X-API-Key": TEXT}, True),
        ({"x-api-key": f"  {TEXT}\t"}, True),  # Tornado takes the spaces around a value away
        ({"Authorization": f"Bearer {TEXT}"}, True),
        ({"Authorization": f"bearer   {TEXT}"}, True),
        ({"X-API-Key": TEXT, "Authorization": f"BEARER {TEXT}"}, True),
        ({"X-API-Key": TEXT, "Authorization": "Basic ZGVzazpkZXNr"}, True),  # a proxy's
        ({"X-API-Key": TEXT, "Authorization": f"Bearer {OTHERS}"}, False),
        ({"X-API-Key": "", "Authorization": f"Bearer {TEXT}"}, False),
        ({"Authorization": TEXT}, False),
        ({"Authorization": "Bearer"}, False),
        ({"Authorization": f"Basic {TEXT}"}, False),
        ({"X-API-Key": TEXT.upper()}, False),
        ({"X-API-Key": TEXT[:40] + " " + TEXT[41:]}, False),
        ({"X-API-Key": "é" * 80}, False),
        ({"X-API-Key": TEXT * 130}, False),
        ({"Cookie": f"X-API-Key={TEXT}"}, False),
    ],
)
def test_a_key_is_taken_from_either_header(lines: dict[str, str], is_let_in: bool) -> None:
    door = Guard(InlineExecutor(), VirtualClock(), secret=b"")
    door.learn([OURS, OTHER])
    headers = HTTPHeaders.parse("".join(f"{name}: {value}\r\n" for name, value in lines.items()))
    (answer,) = run(door.identify(headers))
    assert answer == (Caller(OURS.key_id, Role.READER) if is_let_in else None)


def test_a_header_that_comes_twice_is_no_key() -> None:
    door = Guard(InlineExecutor(), VirtualClock(), secret=b"")
    door.learn([OURS])
    assert door.caller_of(HTTPHeaders.parse(f"X-API-Key: {TEXT}\r\nX-API-Key: {TEXT}\r\n")) is None


@given(st.dictionaries(st.sampled_from(["X-API-Key", "Authorization"]), st.text()))
def test_no_text_breaks_the_guard_or_passes_it(headers: dict[str, str]) -> None:
    door = Guard(InlineExecutor(), VirtualClock(), secret=b"")
    door.learn([OURS])
    assert not isinstance(door.caller_of(headers), Caller)
