"""AssetUpdater on real stores, with the real client and a provider over HTTP: what is stored, told and refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from position_server.errors import StoreUnavailable
from position_server.events.bus import PriceUpdate
from position_server.market_data.assets import Asset
from position_server.market_data.plausible import TOLERANCE
from position_server.market_data.priority_queue import Level
from position_server.market_data.provider import ProviderClient, ProviderQuote
from position_server.market_data.rate_limiter import RateLimiter, Stopped
from position_server.market_data.records import INTERRUPTED, Change, Records, Settled
from position_server.market_data.updater import AssetUpdater
from position_server.store.engine import Store
from position_server.store.tables import asset_sync, instruments, positions, quotes
from tests.fakes import NOON, VirtualClock
from tests.market_data.faults import (
    body,
    dropped,
    empty_results,
    failing,
    rate_limited,
    refused,
    truncated,
    with_value,
    without,
)
from tests.market_data.ledgers import MemoryLedger
from tests.market_data.stand_in import StandIn
from tests.store.factories import instrument, position, put, quote

EURUSD = Asset("EURUSD", "C:EURUSD", "forex", Level.CRITICAL, "Euro", "EUR", "USD", 5)
GOLD = Asset("XAUUSD", "C:XAUUSD", "forex", Level.CRITICAL, "Gold", "XAU", "USD", 2)
APPLE = Asset("AAPL", "AAPL", "equity", Level.HIGH)
ZONE = ZoneInfo("America/New_York")
SECOND = timedelta(seconds=1)


class Desk:
    """An updater with its real parts, and what it told of."""

    def __init__(self, store: Store, provider: StandIn, clock: VirtualClock) -> None:
        self.store, self.provider, self.clock = store, provider, clock
        self.records = Records(store, "polygon", ZONE)
        self.limiter = RateLimiter(MemoryLedger(), calls=1000, window_seconds=60.0, clock=clock)
        self.client = ProviderClient(provider.url, "secret", self.limiter, timeout_seconds=2.0, clock=clock)
        self.told: list[PriceUpdate] = []
        self.updater = AssetUpdater(self.records, self.client, self.told.append, clock)
        self.stop = threading.Event()
        self.records.make_ready([EURUSD, GOLD, APPLE])

    def update(self, *assets: Asset) -> list[str | None]:
        """The errors, in the order of the assets."""
        outcomes = self.updater.update(assets, self.stop)
        return [outcomes[asset.symbol].error for asset in assets]

    def status(self, symbol: str = "EURUSD") -> dict[str, Any]:
        return self.records.statuses()[symbol]

    def quote(self, symbol: str = "EURUSD") -> dict[str, Any]:
        return self.records.newest_quotes([symbol]).get(symbol, {})

    def count(self, table: Any) -> int:
        with self.store.read() as connection:
            return len(connection.execute(table.select()).all())


@pytest.fixture
def provider(clock: VirtualClock) -> Iterator[StandIn]:
    with StandIn(now=clock.now) as stand_in:
        yield stand_in


@pytest.fixture
def desk(store: Store, provider: StandIn, clock: VirtualClock) -> Iterator[Desk]:
    desk = Desk(store, provider, clock)
    yield desk
    desk.client.close()


def test_a_quote_is_stored_with_its_status_and_told(desk: Desk) -> None:
    desk.provider.quote("C:EURUSD", 1.16321, 1.16329, day=(1.15, 1.17, 1.14, 1.16, 5000.0))
    assert desk.update(EURUSD) == [None]
    row = desk.quote()
    assert (row["bid"], row["ask"], row["quote_date"], row["source"]) == (
        1.16321,
        1.16329,
        date(2025, 10, 30),
        "polygon",
    )
    assert (row["open"], row["high"], row["low"], row["close"], row["volume"]) == (1.15, 1.17, 1.14, 1.16, 5000.0)
    assert row["quote_time"] == NOON
    status = desk.status()
    assert (status["sync_status"], status["last_error"], status["updates"]) == ("success", None, 1)
    assert status["last_attempt"] == status["last_update"] == NOON
    (update,) = desk.told
    assert (update.symbol, update.sequence, update.bid, update.ask) == ("EURUSD", 1, 1.16321, 1.16329)
    assert update.spread == 0.00008
    assert update.timestamp == NOON


def test_several_assets_take_one_call_and_one_transaction(desk: Desk) -> None:
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    desk.provider.quote("C:XAUUSD", 4000.0, 4001.0)
    assert desk.update(EURUSD, GOLD) == [None, None]
    assert len(desk.provider.calls) == 1
    assert [update.symbol for update in desk.told] == ["EURUSD", "XAUUSD"]


def test_each_new_quote_has_the_next_number_and_the_same_one_none(desk: Desk) -> None:
    for bid in (1.1, 1.11, 1.11, 1.12):
        desk.provider.quote("C:EURUSD", bid, 1.2, at=NOON + 10 * (bid - 1.1) * SECOND)
        desk.update(EURUSD)
    assert [update.sequence for update in desk.told] == [1, 2, 3]
    assert desk.status()["updates"] == 4


def test_a_quote_older_than_the_stored_one_never_replaces_it(desk: Desk) -> None:
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    desk.update(EURUSD)
    desk.clock.advance(100)
    desk.provider.quote("C:EURUSD", 1.5, 1.6, at=NOON - SECOND)
    assert desk.update(EURUSD) == [None]
    assert desk.quote()["bid"] == 1.1
    assert len(desk.told) == 1
    assert desk.status()["sync_status"] == "success"
    assert desk.status()["last_update"] == NOON  # so that it gets stale if nothing newer ever comes


def test_a_quote_of_the_day_before_does_not_come_back_beside_todays(desk: Desk) -> None:
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    desk.update(EURUSD)
    desk.provider.quote("C:EURUSD", 1.5, 1.6, at=NOON - timedelta(days=1))
    desk.update(EURUSD)
    assert desk.count(quotes) == 1


def test_another_quote_of_the_same_time_is_a_correction(desk: Desk) -> None:
    for bid in (1.1, 1.15):
        desk.provider.quote("C:EURUSD", bid, 1.2, at=NOON)
        desk.update(EURUSD)
    assert desk.quote()["bid"] == 1.15
    assert [update.sequence for update in desk.told] == [1, 2]


def test_the_quote_date_is_the_day_in_the_desks_time_zone(desk: Desk) -> None:
    desk.clock.set_wall(datetime(2025, 10, 31, 2, 30, tzinfo=UTC))  # 22:30 on the 30th in New York
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    desk.update(EURUSD)
    assert desk.quote()["quote_date"] == date(2025, 10, 30)


def test_each_day_has_a_row_of_its_own(desk: Desk) -> None:
    for _ in range(2):
        desk.provider.quote("C:EURUSD", 1.1, 1.2)
        desk.update(EURUSD)
        desk.clock.advance(86_400)
    assert desk.count(quotes) == 2


@pytest.mark.parametrize(
    ("quoted", "error"),
    [
        ((1.2, 1.1, None), "crossed: the bid 1.2 is above the ask 1.1"),
        ((-1.0, 1.1, None), "price_not_positive: bid is -1"),
        ((1.0, 1.1, -5.0), "price_not_positive: last_price is -5"),
    ],
)
def test_a_false_quote_is_refused_and_the_old_one_stays(
    desk: Desk, quoted: tuple[float | None, float | None, float | None], error: str
) -> None:
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    desk.update(EURUSD)
    desk.clock.advance(60)
    desk.provider.quote("C:EURUSD", *quoted)
    assert desk.update(EURUSD) == [error]
    assert desk.quote()["bid"] == 1.1
    status = desk.status()
    assert (status["sync_status"], status["last_error"], status["failures"]) == ("failed", error, 1)
    assert status["last_update"] == NOON
    assert len(desk.told) == 1


def test_one_false_quote_harms_no_other(desk: Desk) -> None:
    desk.provider.quote("C:EURUSD", 1.2, 1.1)
    desk.provider.quote("C:XAUUSD", 4000.0, 4001.0)
    errors = desk.update(EURUSD, GOLD)
    assert [error is None for error in errors] == [False, True]


def test_a_bid_without_an_ask_is_stored_as_it_is(desk: Desk) -> None:
    desk.provider.quote("C:EURUSD", 1.1, None)
    assert desk.update(EURUSD) == [None]
    assert (desk.quote()["bid"], desk.quote()["ask"]) == (1.1, None)
    (update,) = desk.told
    assert (update.bid, update.ask, update.spread) == (1.1, None, None)


def test_a_clock_a_little_ahead_of_ours_is_taken_for_ours(desk: Desk) -> None:
    desk.provider.quote("C:EURUSD", 1.1, 1.2, at=NOON + TOLERANCE)
    assert desk.update(EURUSD) == [None]
    assert desk.quote()["quote_time"] == NOON
    desk.clock.advance(1)
    desk.provider.quote("C:EURUSD", 1.3, 1.4)
    desk.update(EURUSD)
    assert desk.quote()["bid"] == 1.3


def test_a_clock_far_ahead_of_ours_is_refused_and_keeps_no_later_quote_out(desk: Desk) -> None:
    desk.provider.quote("C:EURUSD", 9.0, 9.1, at=NOON + timedelta(hours=1))
    (error,) = desk.update(EURUSD)
    assert error == "timestamp_ahead: 2025-10-30T17:00:00+00:00 is 3,600 s ahead of this clock"
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    assert desk.update(EURUSD) == [None]
    assert desk.quote()["bid"] == 1.1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (refused(401), "not_authorised"),
        (refused(404), "ticker_not_found"),
        (rate_limited(), "rate_limited"),
        (refused(503), "server_error"),
        (dropped(), "unreachable"),
        (truncated(), "malformed_body"),
        (body(b""), "malformed_body"),
        (body(b"<html>"), "malformed_body"),
        (empty_results(), "malformed_body"),
        (without("C:EURUSD"), "ticker_not_found"),
        (failing("C:EURUSD"), "not_authorised"),
        (with_value("results.0.last_quote.bid", "1.1"), "malformed_body"),
    ],
)
def test_every_failure_of_the_provider_is_the_assets_with_its_reason(
    sqlite_store: Store, provider: StandIn, clock: VirtualClock, fault: Any, code: str
) -> None:
    desk = Desk(sqlite_store, provider, clock)
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    desk.provider.quote("C:XAUUSD", 4000.0, 4001.0)
    desk.update(EURUSD, GOLD)
    desk.clock.advance(60)
    desk.provider.plan(fault)
    outcomes = desk.updater.update([EURUSD, GOLD], desk.stop)
    assert (outcomes["EURUSD"].error or "").startswith(f"{code}: ")
    assert "secret" not in str(outcomes)
    assert outcomes["EURUSD"].is_refused == (code == "not_authorised" and outcomes["XAUUSD"].error is not None)
    assert desk.quote()["bid"] == 1.1
    assert desk.status()["sync_status"] == "failed"
    assert desk.status()["last_error"] == outcomes["EURUSD"].error
    desk.client.close()


def test_an_asset_that_the_store_did_not_know_was_added_as_the_pair_it_is(desk: Desk) -> None:
    with desk.store.read() as connection:
        row = connection.execute(instruments.select().where(instruments.c.instrument == "XAUUSD")).mappings().one()
    assert (row["kind"], row["base_currency"], row["currency"], row["name"]) == ("SPOT", "XAU", "USD", "Gold")
    assert row["tick_size"] == 0.01


def test_an_instrument_that_is_there_stays_as_it_is(desk: Desk) -> None:
    with desk.store.write() as connection:
        connection.execute(instruments.update().values(name="as the desk calls it"))
    Records(desk.store, "polygon", ZONE).make_ready([EURUSD])
    with desk.store.read() as connection:
        names = set(connection.execute(instruments.select()).mappings().all()[0].values())
    assert "as the desk calls it" in names


def test_an_asset_that_nobody_knows_is_never_fetched(desk: Desk) -> None:
    desk.provider.quote("AAPL", 250.0, 250.1)
    outcome = desk.updater.update([APPLE], desk.stop)["AAPL"]
    assert (outcome.error or "").startswith("unknown_instrument: ")
    assert outcome.is_final
    assert desk.provider.calls == []
    assert desk.status("AAPL")["sync_status"] == "failed"
    put(desk.store, instruments, instrument("AAPL"))
    assert desk.update(APPLE) == [None]


def test_nothing_is_fetched_for_a_private_instrument(desk: Desk) -> None:
    put(desk.store, instruments, instrument("AAPL", "PRIVATE"))
    desk.provider.quote("AAPL", 250.0, 250.1)
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    errors = desk.update(APPLE, EURUSD)
    assert errors == ["private: nothing is fetched for private positions", None]
    assert [call.tickers for call in desk.provider.calls] == [["C:EURUSD"]]
    assert desk.quote("AAPL") == {}


def test_nothing_is_fetched_for_what_is_held_as_private_only(desk: Desk) -> None:
    put(desk.store, instruments, instrument("AAPL"))
    put(desk.store, positions, position("CUPS", "AAPL", investment_class="PRIVATE"))
    assert (desk.update(APPLE)[0] or "").startswith("private: ")
    put(desk.store, positions, position("EXO", "AAPL"))
    desk.provider.quote("AAPL", 250.0, 250.1)
    assert desk.update(APPLE) == [None]


def test_what_a_killed_process_left_in_progress_is_pending_at_the_next_start(desk: Desk) -> None:
    desk.records.begin(["EURUSD"], NOON)
    assert desk.status()["sync_status"] == "in_progress"
    Records(desk.store, "polygon", ZONE).make_ready([EURUSD])
    assert (desk.status()["sync_status"], desk.status()["last_error"]) == ("pending", INTERRUPTED)


def test_an_update_that_is_stopped_is_pending_again(desk: Desk) -> None:
    desk.stop.set()
    with pytest.raises(Stopped):
        desk.update(EURUSD)
    assert desk.status()["sync_status"] == "pending"


def test_a_mistake_of_ours_is_the_assets_reason_and_raised(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("nobody thought of it")

    monkeypatch.setattr(desk.client, "quotes", fails)
    with pytest.raises(ValueError, match="nobody"):
        desk.update(EURUSD)
    assert (desk.status()["sync_status"], desk.status()["last_error"]) == ("failed", "ValueError: nobody thought of it")


def test_an_asset_is_in_progress_while_the_provider_is_asked(desk: Desk) -> None:
    seen: list[str] = []
    desk.provider.schedule = lambda _: seen.append(desk.status()["sync_status"])
    desk.update(EURUSD)
    assert seen == ["in_progress"]


def test_nothing_is_told_where_nothing_was_stored(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events follow the commit: a commit that fails has none."""
    desk.provider.quote("C:EURUSD", 1.1, 1.2)
    down = StoreUnavailable("the disk is full")

    def fails(*_: object) -> None:
        raise down

    monkeypatch.setattr(desk.records, "settle", fails)
    with pytest.raises(StoreUnavailable):
        desk.update(EURUSD)
    assert desk.told == []


def test_two_writers_at_once_number_every_quote_once_and_keep_the_newest(desk: Desk) -> None:
    """Two processes on one store, as two threads with stores of their own."""
    others = Records(desk.store, "polygon", ZONE)
    times, lock = iter(range(1000)), threading.Lock()
    settled: list[tuple[int, Settled]] = []

    def work(records: Records) -> None:
        for _ in range(10):
            with lock:
                number = next(times)
            good = quote_at(1.0 + number / 1000, NOON + number * SECOND)
            settled.append((number, records.settle({"XAUUSD": good, "EURUSD": good}, {}, NOON)["EURUSD"]))

    threads = [threading.Thread(target=work, args=(records,)) for records in (desk.records, others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored = [(one.sequence, number) for number, one in settled if one.change is Change.STORED]
    assert [sequence for sequence, _ in sorted(stored)] == list(range(1, len(stored) + 1))
    assert sorted(stored, key=lambda one: one[1]) == sorted(stored)
    assert desk.quote()["quote_time"] == NOON + 19 * SECOND


def quote_at(price: float, at: datetime) -> ProviderQuote:
    return ProviderQuote("C:EURUSD", price, price, price, None, None, None, None, None, at)


def test_a_quote_loaded_from_a_file_counts_as_stored(desk: Desk) -> None:
    put(desk.store, quotes, quote("EURUSD", date(2025, 10, 30), bid=1.0, ask=1.1))  # at 15:30
    desk.provider.quote("C:EURUSD", 2.0, 2.1, at=NOON - timedelta(hours=1))
    desk.update(EURUSD)
    assert desk.quote()["bid"] == 1.0
    desk.provider.quote("C:EURUSD", 3.0, 3.1)
    desk.update(EURUSD)
    assert desk.quote()["bid"] == 3.0
    assert desk.count(asset_sync) == 3
