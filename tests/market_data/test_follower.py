"""The follower on real stores: what other processes stored is told in this one, once, and nothing else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from position_server.clock import SystemClock
from position_server.events.bus import PriceUpdate
from position_server.events.in_process import InProcessBus
from position_server.market_data.follower import Follower
from position_server.market_data.provider import ProviderQuote
from position_server.market_data.records import Records
from position_server.store.engine import Store, open_store
from tests.events.examples import Listener
from tests.fakes import VirtualClock
from tests.servers import until
from tests.store.factories import instrument, put

AT = datetime(2025, 10, 30, 15, 59, 30, 250_125, tzinfo=UTC)
SYMBOLS = ("BTCUSD", "EURUSD", "XAUUSD")


class AnotherProcess:
    """Stores quotes as an updater does, and tells nobody."""

    def __init__(self, store: Store) -> None:
        self._records = Records(store, "polygon", ZoneInfo("America/New_York"))
        self._count = 0
        put(store, "instruments", *(instrument(symbol, "SPOT") for symbol in SYMBOLS))

    def stores(self, *symbols: str, last_price: float | None = 1.5, sides: tuple[float, float] = (1.25, 1.75)) -> None:
        """The next quote of each."""
        self._count += 1
        at = AT + timedelta(seconds=self._count)
        quote = ProviderQuote("X", *sides, last_price, 1.0, 2.0, 1.0, 1.5, 1e6, at)
        self._records.settle(dict.fromkeys(symbols, quote), {}, at)


class Desk:
    """A follower whose looks the test takes, and what its bus told."""

    def __init__(self, store: Store, clock: VirtualClock) -> None:
        self.looks = 0
        self.bus = InProcessBus()
        self.listener = Listener()
        self.bus.subscribe(self.listener)
        self.follower = Follower(store, self.bus, clock)
        self.bus.subscribe(self.follower.receive)

    def look(self) -> list[PriceUpdate]:
        """What this look published."""
        before = len(self.published)
        self.follower.look()
        self.looks += 1
        self.bus.publish(mark := PriceUpdate("mark", self.looks, None, None, None, None, AT))
        until(lambda: mark in self.listener.notices)  # all that was published before it has arrived, too
        return self.published[before:]

    @property
    def published(self) -> list[PriceUpdate]:
        """What it was told of so far, marks left out."""
        updates = [one for one in self.listener.notices if isinstance(one, PriceUpdate)]
        return [one for one in updates if one.symbol != "mark"]


@pytest.fixture
def desk(store: Store, clock: VirtualClock) -> Iterator[Desk]:
    desk = Desk(store, clock)
    with desk.bus:
        yield desk


@pytest.fixture
def other(store: Store) -> AnotherProcess:
    return AnotherProcess(store)


def test_what_was_there_before_is_no_news(desk: Desk, other: AnotherProcess) -> None:
    other.stores(*SYMBOLS)
    assert desk.look() == []
    assert desk.look() == []


def test_what_another_process_stores_is_told_with_its_number_and_its_quote(desk: Desk, other: AnotherProcess) -> None:
    other.stores("EURUSD")
    desk.look()
    other.stores("EURUSD", last_price=None)
    at = AT + timedelta(seconds=2)
    assert desk.look() == [PriceUpdate("EURUSD", 2, 1.25, 1.75, 0.5, None, at)]
    assert desk.look() == []


def test_a_spread_is_told_as_the_updater_tells_it(desk: Desk, other: AnotherProcess) -> None:
    desk.look()
    other.stores("EURUSD", sides=(1.1559, 1.1561))
    (update,) = desk.look()
    assert update.spread == 0.0002  # not 0.00019999999999997797


def test_a_symbol_that_had_no_quote_before_is_told(desk: Desk, other: AnotherProcess) -> None:
    desk.look()
    other.stores("EURUSD")
    assert [(one.symbol, one.sequence) for one in desk.look()] == [("EURUSD", 1)]


def test_of_several_quotes_between_two_looks_the_newest_is_told_after_a_gap(desk: Desk, other: AnotherProcess) -> None:
    other.stores("EURUSD")
    desk.look()
    other.stores("EURUSD", "BTCUSD")
    desk.look()
    for _ in range(3):
        other.stores("EURUSD")
    assert [(one.symbol, one.sequence) for one in desk.look()] == [("EURUSD", 5)]
    assert desk.listener.missed() == [frozenset({"EURUSD"})]


def test_what_this_process_told_itself_is_not_told_again(desk: Desk, other: AnotherProcess) -> None:
    desk.look()
    other.stores("EURUSD", "BTCUSD")
    own = PriceUpdate("EURUSD", 1, 1.25, 1.75, 0.5, 1.5, AT)
    desk.bus.publish(own)
    until(lambda: own in desk.published)
    until(lambda: desk.follower._told.get("EURUSD") == 1)
    assert [one.symbol for one in desk.look()] == ["BTCUSD"]


def test_an_updater_of_this_process_has_a_moment_between_its_commit_and_its_event(
    store: Store, other: AnotherProcess
) -> None:
    """A look in between waits for the event instead of telling the same twice."""

    class Between(VirtualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            desk.follower.receive(PriceUpdate("EURUSD", 1, 1.25, 1.75, 0.5, 1.5, AT))
            return super().wait(stop, seconds)

    desk = Desk(store, Between())
    with desk.bus:
        desk.look()
        other.stores("EURUSD")
        assert desk.look() == []


def test_a_look_at_an_unchanged_store_reads_one_row(desk: Desk, store: Store, other: AnotherProcess) -> None:
    other.stores(*SYMBOLS)
    desk.look()
    statements: list[str] = []
    event.listen(store._engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    desk.follower.look()
    assert len([one for one in statements if "quote_sequences" in one]) == 1
    assert "sum(quote_sequences.sequence)" in statements[-1]


def test_a_store_that_was_built_anew_is_told_of(desk: Desk, store: Store, other: AnotherProcess) -> None:
    for _ in range(3):
        other.stores("EURUSD")
    desk.look()
    with store.write() as connection:
        for name in ("quote_sequences", "quotes"):
            connection.exec_driver_sql(f"DELETE FROM {name}")
    other.stores("EURUSD")
    assert [(one.symbol, one.sequence) for one in desk.look()] == [("EURUSD", 1)]


# --- the thread ------------------------------------------------------------------------------------------------------


def running(url: str, listener: Listener) -> tuple[Callable[[], None], Follower]:
    bus, store = InProcessBus(), open_store(url)
    bus.subscribe(listener)
    follower = Follower(store, bus, SystemClock(), interval_seconds=0.02)
    follower.start()

    def end() -> None:
        follower.stop()
        follower.join()
        bus.close()
        store.close()

    return end, follower


def test_the_thread_follows_the_store_and_ends_at_once(sqlite_store: Store, sqlite_url: str) -> None:
    other, listener = AnotherProcess(sqlite_store), Listener()
    end, follower = running(sqlite_url, listener)
    until(lambda: follower._mark is not None)
    other.stores("EURUSD")
    until(lambda: listener.numbers("EURUSD") == [1])
    end()
    assert not [one for one in threading.enumerate() if one.name == "quote-follower"]


def test_a_store_that_is_down_at_first_is_told_whole_when_it_comes(
    sqlite_store: Store, sqlite_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can say what changed before the first look, so all of it may have."""
    AnotherProcess(sqlite_store).stores("EURUSD", "BTCUSD")
    sqlite_store.close()
    file, away = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "away.sqlite"
    file.rename(away)
    listener = Listener()
    with caplog.at_level(logging.INFO):
        end, follower = running(sqlite_url, listener)
        until(lambda: follower._store_was_down)
        away.rename(file)
        until(lambda: listener.numbers("EURUSD") == listener.numbers("BTCUSD") == [1])
        until(lambda: not follower._store_was_down)
        end()
    said = [r.getMessage() for r in caplog.records if r.name.endswith("follower")]
    assert said == ["quotes cannot be followed", "quotes are followed again"]


def test_one_that_was_never_started_stops_as_well(sqlite_store: Store, clock: VirtualClock) -> None:
    follower = Follower(sqlite_store, InProcessBus(), clock)
    follower.stop()
    follower.join()
