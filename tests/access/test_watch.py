"""The watcher: what becomes of the keys while the store changes, goes and comes back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from position_server.access import Caller, Guard, Role, Unknown
from position_server.access.records import add_key, revoke_key
from position_server.access.watch import KeyWatch
from position_server.clock import SystemClock
from position_server.store.engine import Store, open_store
from tests.access.factories import key
from tests.fakes import NOON, InlineExecutor, VirtualClock
from tests.servers import until


class Script(VirtualClock):
    """A clock that plays one step per beat, then stops who waits on it."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        super().__init__()
        self.steps = list(steps)

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        super().wait(stop, seconds)
        if self.steps:
            self.steps.pop(0)()
        else:
            stop.set()
        return stop.is_set()


def play(store_url: str, *steps: Callable[[Guard], object]) -> Guard:
    """Each step happens between two readings."""
    guard = Guard(InlineExecutor(), VirtualClock(), secret=b"")
    clock = Script(*(lambda step=step: step(guard) for step in steps))  # type: ignore[misc]
    KeyWatch(store_url, guard, clock).run(threading.Event())
    return guard


def ids(guard: Guard) -> set[str]:
    known = guard._known
    assert known is not None
    return {key_id for key_id, one in known.keys.items() if one.revoked_at is None}


def test_keys_that_are_made_and_revoked_count_with_the_next_reading(store: Store, store_url: str) -> None:
    (ours, _), (other, _) = key(), key()
    seen: list[set[str]] = []
    play(
        store_url,
        lambda guard: (seen.append(ids(guard)), add_key(store, ours)),
        lambda guard: (seen.append(ids(guard)), add_key(store, other)),
        lambda guard: (seen.append(ids(guard)), revoke_key(store, ours.key_id, NOON)),
        lambda guard: seen.append(ids(guard)),
    )
    assert seen == [set(), {ours.key_id}, {ours.key_id, other.key_id}, {other.key_id}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A migrated SQLite store."""
    return made(tmp_path / "store.sqlite")


def made(path: Path, *texts: str) -> Path:
    with open_store(f"sqlite:///{path}") as store:
        store.upgrade()
    return path


def add(path: Path) -> str:
    ours, _ = key()
    with open_store(f"sqlite:///{path}") as store:
        add_key(store, ours)
    return ours.key_id


def test_a_store_that_goes_away_leaves_the_keys_until_it_is_back(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    away = file.with_name("away")
    add(file)
    broken = file.with_name("broken")
    broken.write_bytes(b"no database at all" * 100)
    seen: list[set[str]] = []

    def break_it(_: Guard) -> None:
        file.rename(away)
        broken.rename(file)

    with caplog.at_level(logging.INFO):
        play(
            f"sqlite:///{file}",
            break_it,
            lambda guard: seen.append(ids(guard)),
            lambda guard: (seen.append(ids(guard)), away.rename(file)),
            lambda guard: seen.append(ids(guard)),
        )
    assert len(seen[0]) == 1
    assert seen == [seen[0]] * 3
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["API keys cannot be read: the last known stay valid"]
    assert "API keys can be read again" in [record.message for record in caplog.records]


def test_a_file_that_is_replaced_by_another_is_read_anew(file: Path, tmp_path: Path) -> None:
    add(file)
    other = made(tmp_path / "other.sqlite")
    expected = add(other)
    guard = play(f"sqlite:///{file}", lambda _: other.rename(file))
    assert ids(guard) == {expected}


def test_a_store_that_loses_its_keys_while_the_server_runs_lets_nobody_in(file: Path, tmp_path: Path) -> None:
    add(file)
    guard = play(f"sqlite:///{file}", lambda _: file.unlink())
    assert ids(guard) == set()
    assert guard.caller_of({}) is None


def test_a_store_that_is_not_there_yet_is_open_and_closed_when_it_has_a_key(tmp_path: Path) -> None:
    file = tmp_path / "later.sqlite"
    seen: list[object] = []
    guard = play(
        f"sqlite:///{file}",
        lambda guard: (seen.append(guard.caller_of({})), made(file)),
        lambda guard: (seen.append(guard.caller_of({})), add(file)),
    )
    assert seen == [Caller(None, Role.ADMIN)] * 2
    assert guard.caller_of({}) is None


def test_a_store_that_is_down_from_the_start_tells_nothing() -> None:
    guard = play("postgresql://desk@127.0.0.1:1/desk", lambda _: None)
    assert guard.caller_of({}) is Unknown.UNKNOWN


def test_a_bug_in_reading_is_logged_once_and_ends_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Store) -> None:
        raise KeyError("a role of the future")

    monkeypatch.setattr("position_server.access.records.read_keys", fails)
    expected = add(file)
    guard = play(f"sqlite:///{file}", lambda _: None, lambda _: None, lambda _: monkeypatch.undo())
    assert ids(guard) == {expected}
    assert [record.exc_info is not None for record in caplog.records if record.levelname == "WARNING"] == [True]


def test_the_thread_ends_when_it_is_left(file: Path) -> None:
    guard = Guard(InlineExecutor(), SystemClock(), secret=b"")
    with KeyWatch(f"sqlite:///{file}", guard, SystemClock()):
        until(lambda: guard.caller_of({}) is not Unknown.UNKNOWN)
    assert "key-watch" not in [thread.name for thread in threading.enumerate()]
