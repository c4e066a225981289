"""The beats with all their real parts, on a clock that the test moves: results, retries, refusals, a store down."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from position_server.errors import BatchFailed
from position_server.market_data.assets import Asset
from position_server.market_data.batch import BatchOrchestrator
from position_server.market_data.ledger import StoreLedger
from position_server.market_data.meter import Meter
from position_server.market_data.priority_queue import Level, PriorityQueue
from position_server.market_data.provider import ProviderClient
from position_server.market_data.rate_limiter import RateLimiter
from position_server.market_data.records import KEPT_RESULTS, Records
from position_server.market_data.results import BatchResult
from position_server.market_data.runs import Runs
from position_server.market_data.updater import AssetUpdater
from position_server.metrics import Metrics
from position_server.settings import MarketDataSettings
from position_server.store.engine import Store, open_store
from position_server.store.tables import batch_results
from tests.fakes import NOON
from tests.market_data.day import DayClock
from tests.market_data.faults import failing, rate_limited, refused
from tests.market_data.stand_in import StandIn
from tests.market_data.test_updater import ZONE

EUR = Asset("EURUSD", "C:EURUSD", "forex", Level.CRITICAL, None, "EUR", "USD", 5)
GOLD = Asset("XAUUSD", "C:XAUUSD", "forex", Level.CRITICAL, None, "XAU", "USD", 2)
POUND = Asset("GBPUSD", "C:GBPUSD", "forex", Level.HIGH, None, "GBP", "USD", 5)
SILVER = Asset("XAGUSD", "C:XAGUSD", "forex", Level.LOW, None, "XAG", "USD", 3)
ASSETS = (EUR, GOLD, POUND, SILVER)
SETTINGS = MarketDataSettings()


class Room:
    """An orchestrator with its real parts; `run(seconds)` plays so many."""

    def __init__(self, store: Store, provider: StandIn, clock: DayClock, assets: tuple[Asset, ...] = ASSETS) -> None:
        self.provider, self.clock, self.assets = provider, clock, assets
        self.records = Records(store, "polygon", ZONE)
        limiter = RateLimiter(StoreLedger(store, "test"), calls=5, window_seconds=60.0, clock=clock)
        self.limiter = limiter
        self.metrics = Metrics.create()
        self.meter = Meter(limiter, calls=5, window_seconds=60.0, clock=clock, metrics=self.metrics)
        self.client = ProviderClient(provider.url, "key", self.meter, timeout_seconds=5.0, clock=clock)
        self.queue = PriorityQueue(clock)
        self.runs = Runs()
        self.orchestrator = self.new_orchestrator()

    def new_orchestrator(self) -> BatchOrchestrator:
        return BatchOrchestrator(
            self.assets,
            SETTINGS,
            updater=AssetUpdater(self.records, self.client, lambda _: None, self.clock),
            queue=self.queue,
            meter=self.meter,
            runs=self.runs,
            make_ready=lambda: self.records.make_ready(self.assets),
            keep=self.records.add_result,
            clock=self.clock,
            metrics=self.metrics,
        )

    def run(self, seconds: float) -> list[BatchResult]:
        """The results of so many seconds from the start, oldest first."""
        self.clock.at_end = self.orchestrator.stop
        self.clock.over = self.clock.now() + timedelta(seconds=seconds)
        self.orchestrator.run()
        return self.records.results(1000)[::-1]

    def meanwhile(self, seconds: float, action: Callable[[], Any]) -> None:
        """Has `action` called once so many seconds have passed."""
        self.clock.at(NOON + timedelta(seconds=seconds), action)

    def errors(self) -> dict[str, str | None]:
        return {symbol: row["last_error"] for symbol, row in self.records.statuses().items()}


@pytest.fixture
def clock() -> DayClock:
    return DayClock(NOON, NOON)


@pytest.fixture
def provider(clock: DayClock) -> Iterator[StandIn]:
    with StandIn(now=clock.now) as stand_in:
        for asset in ASSETS:
            stand_in.quote(asset.provider_ticker, 1.1, 1.2)
        yield stand_in


@pytest.fixture
def room(sqlite_store: Store, provider: StandIn, clock: DayClock) -> Iterator[Room]:
    room = Room(sqlite_store, provider, clock)
    yield room
    room.client.close()


def tickers(provider: StandIn) -> list[list[str]]:
    return [sorted(call.tickers) for call in provider.calls]


def test_the_start_fetches_the_priority_assets_together_and_then_the_others(room: Room) -> None:
    (result,) = room.run(10)
    assert tickers(room.provider) == [["C:EURUSD", "C:XAUUSD"], ["C:GBPUSD", "C:XAGUSD"]]
    assert (result.priority_updated, result.priority_failed) == (2, ())
    assert (result.queue_processed, result.queue_remaining) == (2, 0)
    assert (result.api_calls_used, result.rate_limit_waits, result.errors) == (2, 0, ())
    assert result.started_at == result.completed_at == NOON
    assert room.orchestrator.last_batch == result


def test_every_five_minutes_there_is_a_batch_and_every_half_hour_the_queue(room: Room) -> None:
    results = room.run(3600)
    assert [(r.started_at - NOON).total_seconds() for r in results] == [300.0 * n for n in range(12)]
    assert [r.queue_processed for r in results] == [2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]
    assert len(room.provider.calls) == sum(r.api_calls_used for r in results) == 14


def test_calls_that_had_to_wait_are_counted_for_metrics(room: Room) -> None:
    for _ in range(5):
        room.limiter.acquire(threading.Event())  # another process
    (result,) = room.run(70)
    assert result.rate_limit_waits == 1
    text = room.metrics.render().decode()
    assert f"position_server_provider_calls_total {result.api_calls_used}.0" in text
    assert "position_server_provider_waits_total 1.0" in text
    assert 'position_server_asset_updates_total{outcome="ok"} 4.0' in text


def test_jobs_say_when_each_beat_comes_next(room: Room) -> None:
    room.run(40)
    assert {id_: (at - NOON).total_seconds() for id_, _, at in room.orchestrator.jobs()} == {
        "priority_batch": 300.0,
        "enqueue_secondary": 1800.0,
        "queue_processor": 45.0,
    }


def test_a_failed_priority_asset_is_tried_again_with_the_next_call_of_the_queue(room: Room) -> None:
    room.provider.plan(failing("C:EURUSD"))
    (result,) = room.run(10)
    assert result.priority_updated == 1
    assert [symbol for symbol, _ in result.priority_failed] == ["EURUSD"]
    assert result.priority_failed[0][1].startswith("not_authorised: ")
    assert tickers(room.provider)[1] == ["C:EURUSD", "C:GBPUSD", "C:XAGUSD"]
    assert result.queue_processed == 3
    assert room.records.statuses()["EURUSD"]["sync_status"] == "success"


def test_what_fails_for_good_is_given_up_and_recorded(room: Room) -> None:
    room.provider.schedule = lambda _: failing("C:XAGUSD", "UNKNOWN")
    room.run(100)
    (given_up,) = room.queue.given_up()
    assert given_up.item.symbol == "XAGUSD"
    assert given_up.error.startswith("server_error: ")
    assert sum("C:XAGUSD" in call.tickers for call in room.provider.calls) == 4
    assert room.records.statuses()["XAGUSD"]["failures"] == 4
    assert room.records.statuses()["GBPUSD"]["sync_status"] == "success"


def test_a_provider_that_refuses_us_is_not_asked_in_a_loop(room: Room) -> None:
    room.provider.schedule = lambda _: refused(401)
    results = room.run(3600)
    assert 5 <= len(room.provider.calls) <= 8
    assert "not_authorised" in (room.errors()["EURUSD"] or "")
    held = [r for r in results if not r.api_calls_used]
    assert held
    assert all(error.startswith("not_authorised") for r in held for _, error in r.priority_failed)
    assert room.queue.size() == 4  # all of them wait, and lost no try
    assert room.queue.given_up() == []


def test_a_provider_that_lets_us_in_again_is_asked_as_before(room: Room) -> None:
    room.provider.plan(refused(403))
    room.run(120)
    assert tickers(room.provider)[1:] == [["C:EURUSD", "C:GBPUSD", "C:XAGUSD", "C:XAUUSD"]]
    assert {row["sync_status"] for row in room.records.statuses().values()} == {"success"}


def test_a_pause_that_the_provider_asks_for_is_kept_by_everything(room: Room) -> None:
    room.provider.plan(rate_limited("200"))
    room.run(600)
    updates = [row["last_update"] for row in room.records.statuses().values()]
    assert min(updates) >= NOON + timedelta(seconds=200)


def test_a_run_that_is_asked_for_comes_at_once(room: Room) -> None:
    asked: list[Future[BatchResult]] = []

    def ask() -> None:
        asked.append(room.runs.ask())
        room.orchestrator.wake()

    room.meanwhile(100, ask)
    results = room.run(250)
    assert [(r.started_at - NOON).total_seconds() for r in results] == [0.0, 105.0]
    assert asked[0].result(0) == results[1]
    assert (results[1].priority_updated, results[1].queue_processed, results[1].api_calls_used) == (2, 0, 1)


def test_runs_that_are_asked_for_while_one_runs_join_it(room: Room) -> None:
    asked: list[Future[BatchResult]] = []
    room.provider.schedule = lambda call: asked.append(room.runs.ask()) if call.number == 1 else None
    (result,) = room.run(10)
    assert asked[0].result(0) == result
    assert len(room.provider.calls) == 2


def test_who_waits_for_a_run_hears_of_the_stop(room: Room) -> None:
    waiting = room.runs.ask()
    room.orchestrator.stop()
    room.runs.stop()
    for future in (waiting, room.runs.ask()):
        with pytest.raises(BatchFailed, match="stopped"):
            future.result(0)


def test_a_store_that_is_down_breaks_the_batch_and_not_the_thread(
    room: Room, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file, away = tmp_path / "position_server.sqlite", tmp_path / "away"
    file.rename(away)
    waiting = room.runs.ask()
    room.meanwhile(100, lambda: away.rename(file))
    (result,) = room.run(200)
    with pytest.raises(BatchFailed, match="unavailable"):
        waiting.result(0)
    assert (result.started_at - NOON).total_seconds() == 105.0  # the next look at the queue
    assert result.queue_processed == 4
    assert {row["sync_status"] for row in room.records.statuses().values()} == {"success"}
    said = [r.message for r in caplog.records if r.name == "position_server.market_data.batch"]
    assert said == ["a market-data batch broke", "market data go on"]  # once each


def test_an_unforeseen_error_is_logged_with_its_traceback_and_the_beats_go_on(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, broken = room.records.unfetchable, [ValueError("nobody thought of it")]

    def sometimes(symbols: Any) -> dict[str, str]:
        if broken:
            raise broken.pop()
        return real(symbols)

    monkeypatch.setattr(room.records, "unfetchable", sometimes)
    first, *_ = room.run(10)
    assert first.errors == ("ValueError: nobody thought of it",)
    assert [symbol for symbol, _ in first.priority_failed] == ["EURUSD", "XAUUSD"]
    assert first.queue_processed == 4
    assert [r.exc_info is not None for r in caplog.records if r.levelname == "ERROR"] == [True]


def test_more_priority_assets_than_one_call_takes_are_stored_call_by_call(
    sqlite_store: Store, provider: StandIn, clock: DayClock
) -> None:
    names = [f"C{number:03}" for number in range(260)]
    assets = tuple(Asset(name, f"C:{name}", "forex", Level.CRITICAL, None, name, "USD") for name in names)
    room = Room(sqlite_store, provider, clock, assets)
    for asset in assets:
        provider.quote(asset.provider_ticker, 1.1, 1.2)
    for _ in range(4):
        room.limiter.acquire(threading.Event())
    (result,) = room.run(100)
    updates = {symbol: (row["last_update"] - NOON).total_seconds() for symbol, row in room.records.statuses().items()}
    assert [updates[name] for name in (names[0], names[249], names[250], names[-1])] == [0, 0, 60.2, 60.2]
    assert (result.priority_updated, result.api_calls_used, result.rate_limit_waits) == (260, 2, 1)
    room.client.close()


def test_stopping_in_the_middle_of_a_wait_leaves_everything_pending(room: Room) -> None:
    stop = threading.Event()
    for _ in range(5):
        room.limiter.acquire(stop)
    room.meanwhile(1, room.orchestrator.stop)
    assert room.run(500) == []
    assert {row["sync_status"] for row in room.records.statuses().values()} == {"pending"}


def test_results_are_kept_newest_first_and_in_bounds(room: Room, sqlite_store: Store) -> None:
    (result,) = room.run(10)
    assert room.records.results(5) == [result]
    assert room.records.results(5, with_priority=True) == [result]
    rows = [
        {**_row(result), "batch_id": f"b{n}", "started_at": NOON - timedelta(seconds=n + 1)}
        for n in range(KEPT_RESULTS)
    ]
    with sqlite_store.write() as connection:
        connection.execute(batch_results.insert(), rows)
    room.records.add_result(_changed(result, batch_id="newest", started_at=NOON + timedelta(seconds=1)))
    with sqlite_store.read() as connection:
        kept = {row.batch_id for row in connection.execute(batch_results.select())}
    assert len(kept) == KEPT_RESULTS
    assert {"newest", result.batch_id, "b0"} <= kept
    assert [r.batch_id for r in room.records.results(2)] == ["newest", result.batch_id]


def _changed(result: BatchResult, **values: Any) -> BatchResult:
    return BatchResult(**{name: getattr(result, name) for name in BatchResult.__slots__} | values)


def _row(result: BatchResult) -> dict[str, Any]:
    row = {name: getattr(result, name) for name in BatchResult.__slots__}
    return row | {"priority_failed": "[]", "errors": "[]"}


def test_a_result_reads_back_as_it_was_kept(store: Store, provider: StandIn, clock: DayClock) -> None:
    room = Room(store, provider, clock)
    provider.plan(failing("C:EURUSD"))
    results = room.run(10)
    assert room.records.results(1) == results[-1:]
    assert results[0].to_dict()["priority_failed"][0]["symbol"] == "EURUSD"
    room.client.close()


def test_a_store_that_was_rebuilt_is_made_ready_and_written_to(
    room: Room, sqlite_store: Store, migrated_file: Path
) -> None:
    """As `demo --force` does it: another file takes the place of the one that is open."""
    file = sqlite_store.location.path  # type: ignore[union-attr]
    rebuilt = Path(shutil.copy(migrated_file, file.with_name("rebuilt")))
    room.meanwhile(100, lambda: rebuilt.replace(file))
    room.run(400)
    with open_store(f"sqlite:///{file}") as anew:
        statuses = Records(anew, "polygon", ZONE).statuses()
    assert statuses["EURUSD"]["sync_status"] == "success"
    assert statuses["EURUSD"]["last_update"] == NOON + timedelta(seconds=300)
