"""MarketData, the face of the room, on its real threads: its life, a run that is asked for, and what it shows."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from position_server.clock import SystemClock
from position_server.errors import BatchFailed, MarketDataDisabled, StoreUnavailable
from position_server.events.bus import PriceUpdate
from position_server.market_data.assets import Asset
from position_server.market_data.priority_queue import Level
from position_server.market_data.rows import asset_row, shown_status
from position_server.market_data.service import MarketData
from position_server.metrics import Metrics
from position_server.settings import Settings
from tests.fakes import NOON, VirtualClock
from tests.market_data.faults import failing, once
from tests.market_data.stand_in import StandIn
from tests.market_data.test_real_updaters import ASSETS
from tests.servers import until

EUR = Asset("EURUSD", "C:EURUSD", "forex", Level.CRITICAL, "Euro", "EUR", "USD", 5)
LATE = timedelta(seconds=900)


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        stand_in.quote("C:EURUSD", 1.1, 1.2)
        stand_in.quote("C:GBPUSD", 1.3, 1.4)
        yield stand_in


@pytest.fixture
def settings_of(load: Callable[..., Settings], sqlite_url: str, provider: StandIn) -> Callable[..., Settings]:
    """The settings of a room on a fresh store, with some changed."""

    def made(**market_data: Any) -> Settings:
        given = {"base_url": provider.url, "assets": ASSETS[:2], "timeout_seconds": 60.0, **market_data}
        return load(f"STORE = {{'url': {sqlite_url!r}}}\nMARKET_DATA = {given!r}")

    return made


@pytest.fixture
def start(settings_of: Callable[..., Settings]) -> Iterator[Callable[..., MarketData]]:
    """Starts rooms, which are stopped at the end; all that they tell of is in `told`."""
    started: list[MarketData] = []

    def one(told: list[PriceUpdate] | None = None, **market_data: Any) -> MarketData:
        room = MarketData(settings_of(**market_data), SystemClock(), fetches=True)
        room.start(lambda update: (told if told is not None else []).append(update))
        started.append(room)
        return room

    yield one
    for room in started:
        room.stop()
        room.join()
        assert not room.is_running()


def settled(room: MarketData) -> dict[str, str]:
    """The sync status of each asset, once its first batch is over."""
    until(lambda: room.status()["batch_id"])
    return {row["symbol"]: row["sync_status"] for row in room.assets()}


def test_started_it_fetches_and_tells_and_shows_everything(start: Callable[..., MarketData]) -> None:
    told: list[PriceUpdate] = []
    room = start(told)
    assert settled(room) == {"EURUSD": "success", "GBPUSD": "success"}
    assert [(update.symbol, update.sequence, update.bid) for update in told] == [("EURUSD", 1, 1.1), ("GBPUSD", 1, 1.3)]
    status = room.status()
    (result,) = room.results(10)
    assert (status["status"], status["batch_id"]) == ("running", result["batch_id"])
    assert status["last_run"] == result["started_at"] < status["next_run"]
    assert (status["priority_assets"], status["queue_size"], status["api_calls_remaining"]) == (["EURUSD"], 0, 3)
    assert [job["id"] for job in status["jobs"]] == ["priority_batch", "enqueue_secondary", "queue_processor"]
    assert room.rate_limit()["total_calls"] == result["api_calls_used"] == 2
    assert room.queue_stats()["total_processed"] == 1
    euro = room.assets()[0]
    assert (euro["level"], euro["bid"], euro["ask"], euro["source"]) == ("CRITICAL", 1.1, 1.2, "polygon")
    assert euro["last_price"] == pytest.approx(1.15)
    assert 0 <= euro["quote_age_seconds"] < 60
    assert room.plan({"JPY": Level.LOW})["symbols"][-1]["symbol"] == "JPY"


def test_what_it_does_is_counted_for_metrics(settings_of: Callable[..., Settings], provider: StandIn) -> None:
    metrics = Metrics.create()
    provider.plan(None, failing("C:GBPUSD"))
    room = MarketData(settings_of(queue_interval_seconds=3600), SystemClock(), fetches=True, metrics=metrics)
    room.start(lambda _: None)
    settled(room)
    room.stop()
    room.join()
    assert figures(metrics) == {
        "provider_calls_total": "2.0",
        "provider_waits_total": "0.0",
        'asset_updates_total{outcome="ok"}': "1.0",
        'asset_updates_total{outcome="failed"}': "1.0",
        "assets_waiting": "1.0",
    }


def figures(metrics: Metrics) -> dict[str, str]:
    """What the metrics say of market data."""
    found = re.findall(r"^position_server_((?:provider|asset)s?_\S+) (.+)$", metrics.render().decode(), re.MULTILINE)
    return {name: value for name, value in found if "_created" not in name}


def test_a_run_that_is_asked_for_says_what_it_did(start: Callable[..., MarketData], provider: StandIn) -> None:
    room = start()
    settled(room)
    answer = room.run_now().result(60)
    assert answer["success"]
    assert answer["result"].items() >= {"updated": 1, "failed": 0, "api_calls_used": 1}.items()
    assert answer["message"] == "1 of 1 priority assets updated"
    assert room.status()["batch_id"] == answer["batch_id"]
    provider.plan(failing("C:EURUSD"))
    answer = room.run_now().result(60)
    assert not answer["success"]
    assert answer["message"] == "0 of 1 priority assets updated; failed: EURUSD"


class BreakingClock(SystemClock):
    """Its first wait finds a bug."""

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        raise ZeroDivisionError(seconds)


def test_who_asks_an_updater_that_a_bug_has_ended_is_told_so(
    settings_of: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    room = MarketData(settings_of(), BreakingClock(), fetches=True)
    room.start(lambda _: None)
    until(lambda: not room.is_running())
    with pytest.raises(BatchFailed):
        room.run_now().result(60)
    assert room.trouble() == "the updater has ended; the log says why"
    assert "market data broke off" in caplog.text
    room.join()


def test_many_who_ask_at_once_share_one_run(start: Callable[..., MarketData], provider: StandIn) -> None:
    room = start()
    settled(room)
    before, barrier, runs, have_asked = len(provider.calls), threading.Barrier(8), [], threading.Event()

    def ask() -> None:
        barrier.wait()
        runs.append(room.run_now())

    provider.plan(once(have_asked))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    have_asked.set()
    answers = {run.result(60)["batch_id"] for run in runs}
    assert len(answers) == len(provider.calls) - before == 1


def test_a_run_cannot_be_cancelled_by_one_who_waits_for_it(start: Callable[..., MarketData]) -> None:
    room = start()
    assert not room.run_now().cancel()
    assert room.run_now().result(60)["success"]


def test_asked_before_it_has_begun_it_runs_once_it_has(settings_of: Callable[..., Settings]) -> None:
    room = MarketData(settings_of(), SystemClock(), fetches=True)
    waiting = room.run_now()
    room.start(lambda _: None)
    assert waiting.result(60)["success"]
    room.stop()
    room.join()


def test_stopping_ends_it_at_once_and_whoever_waits_is_told(start: Callable[..., MarketData]) -> None:
    room = start(calls=1, window_seconds=3600.0)
    settled(room)
    waiting = room.run_now()  # for an hour
    room.stop()
    with pytest.raises(BatchFailed, match="stopped"):
        waiting.result(60)
    with pytest.raises(BatchFailed, match="stopped"):
        room.run_now().result(60)
    room.join()
    assert not room.is_running()


def test_switched_off_it_shows_what_others_stored(
    start: Callable[..., MarketData], settings_of: Callable[..., Settings]
) -> None:
    settled(start())
    off = MarketData(settings_of(), SystemClock(), fetches=False)
    off.start(lambda _: None)
    with pytest.raises(MarketDataDisabled):
        off.run_now()
    status = off.status()
    assert (status["status"], status["jobs"], status["next_run"]) == ("stopped", [], None)
    assert status["batch_id"]
    assert status["api_calls_remaining"] == 3
    assert off.assets()[0]["sync_status"] == "success"
    off.stop()
    off.join()


def test_without_assets_nothing_is_started(settings_of: Callable[..., Settings]) -> None:
    room = MarketData(settings_of(assets=[]), SystemClock(), fetches=True)
    room.start(lambda _: None)
    assert not room.is_running()
    assert room.assets() == []
    room.join()


def test_before_the_first_batch_nothing_has_a_name(settings_of: Callable[..., Settings]) -> None:
    room = MarketData(settings_of(), SystemClock(), fetches=False)
    assert (room.status()["batch_id"], room.status()["last_run"]) == ("", None)
    assert room.assets()[0].items() >= {"sync_status": "pending", "last_price": None, "quote_age_seconds": None}.items()
    room.join()


def test_with_the_store_down_the_status_is_shown_and_the_rest_says_so(
    start: Callable[..., MarketData], tmp_path: Path
) -> None:
    (tmp_path / "position_server.sqlite").rename(tmp_path / "away")
    room = start()
    with pytest.raises(BatchFailed, match="unavailable"):
        room.run_now().result(60)
    assert (room.status()["status"], room.status()["api_calls_remaining"]) == ("running", None)
    for shown in (room.assets, room.rate_limit, lambda: room.results(1)):
        with pytest.raises(StoreUnavailable):
            shown()
    (tmp_path / "away").rename(tmp_path / "position_server.sqlite")
    assert room.run_now().result(60)["success"]


def test_a_key_that_no_header_can_carry_is_said_and_not_shown(
    settings_of: Callable[..., Settings], clean_environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clean_environment.setenv("POSITION_SERVER_MARKET_DATA__API_KEY", "se same")
    room = MarketData(settings_of(), SystemClock(), fetches=True)
    room.start(lambda _: None)
    until(lambda: not room.is_running())
    assert room.status()["status"] == "stopped"
    assert "cannot start" in caplog.text
    assert "se same" not in caplog.text + str([vars(record) for record in caplog.records])
    with pytest.raises(BatchFailed):
        room.run_now().result(60)
    room.stop()
    room.join()


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "age", "shown"),
    [
        ("success", 899, "success"),
        ("success", 901, "stale"),
        ("failed", 899, "failed"),
        ("failed", 901, "stale"),
        ("pending", 901, "stale"),
        ("in_progress", 901, "in_progress"),
        ("failed", None, "failed"),
        ("pending", None, "pending"),
    ],
)
def test_what_was_not_updated_for_long_is_stale_whoever_looks(stored: str, age: int | None, shown: str) -> None:
    last = None if age is None else NOON - timedelta(seconds=age)
    assert shown_status({"sync_status": stored, "last_update": last}, NOON, LATE) == shown


def test_a_row_without_a_quote_has_nulls_and_one_with_half_a_quote_no_middle() -> None:
    empty = asset_row(EUR, {}, {}, NOON, LATE)
    assert (empty["sync_status"], empty["last_price"], empty["spread"], empty["updates"]) == ("pending", None, None, 0)
    half = asset_row(EUR, {}, {"bid": 1.1, "quote_time": NOON}, NOON, LATE)
    assert (half["bid"], half["ask"], half["last_price"], half["spread"]) == (1.1, None, None, None)
    whole = asset_row(EUR, {}, {"bid": 1.1, "ask": 1.1001, "last_price": 1.10004}, NOON, LATE)
    assert (whole["last_price"], whole["spread"]) == (1.10004, 0.0001)


def test_a_quote_of_a_faster_clock_has_no_negative_age(clock: VirtualClock) -> None:
    ahead = {"quote_time": NOON + timedelta(seconds=1)}
    assert asset_row(EUR, {}, ahead, clock.now(), LATE)["quote_age_seconds"] == 0.0
