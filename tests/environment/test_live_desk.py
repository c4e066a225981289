"""Live refreshes of the demo's desk: real workers, a real store, and the quotes that are stored in it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import orjson
import pytest
from sqlalchemy import insert

from position_server.clock import SystemClock
from position_server.compute import tasks
from position_server.compute.pool import ComputePool
from position_server.environment.cache import Entry
from position_server.environment.live import LiveRefresh
from position_server.environment.service import EnvironmentService
from position_server.events.bus import PriceUpdate
from position_server.events.in_process import InProcessBus
from position_server.market_data.follower import Follower
from position_server.metrics import Metrics
from position_server.params import BaseParams
from position_server.settings import Settings
from position_server.store.engine import Store, open_store
from position_server.store.tables import quote_sequences, quotes
from tests.desk import BUSINESS_DATE
from tests.environment.examples import base_params
from tests.servers import until

CUPS, EXO, YCSO, EXO_EOD = (
    base_params(("CUPS",)),
    base_params(("EXO",)),
    base_params(("YCSO",)),
    base_params(("EXO",), "EOD"),
)
ALL = (CUPS, EXO, YCSO, EXO_EOD)
PATIENCE_SECONDS = 120.0
THREADS = 4


class Desk:
    """A service with workers on a copy of the demo's store, its bus, and its live refreshes."""

    def __init__(self, file: Path, up: ExitStack) -> None:
        self.file = file
        self._stored: Counter[str] = Counter()
        url = f"sqlite:///{file}"
        metrics, clock = Metrics.create(), SystemClock()
        threads = up.enter_context(ThreadPoolExecutor(THREADS))
        all_there = Barrier(THREADS)  # or one that starts later would look like one that a test left over
        list(threads.map(lambda _: all_there.wait(), range(THREADS)))
        pool = up.enter_context(
            ComputePool(tasks.OPEN_WORKBENCH, (url, "XNYS", "USD"), workers=2, queue=64, niceness=0)
        )
        self.service = EnvironmentService(
            pool=pool,
            threads=threads,
            clock=clock,
            settings=Settings(),
            business_date=lambda: BUSINESS_DATE,
            metrics=metrics,
        )
        self.service.start()
        self.bus = up.enter_context(InProcessBus(metrics))
        live = LiveRefresh(
            service=self.service,
            bus=self.bus,
            clock=clock,
            business_date=lambda: BUSINESS_DATE,
            metrics=metrics,
        )
        live.start()
        up.callback(live.join)
        up.callback(live.stop)
        self.store: Store = up.enter_context(open_store(url))
        for base in ALL:
            self.service.refresh(base)

    def stores(self, symbol: str, price: float) -> PriceUpdate:
        """Stores a quote newer than all others, with its number, as an updater does; the event to publish."""
        self._stored[symbol] += 1
        number = self._stored[symbol]
        at = datetime(2025, 10, 30, 23, 0, tzinfo=UTC) + timedelta(seconds=number)
        quote = {"bid": price - 0.5, "ask": price + 0.5, "last_price": price}
        with self.store.write() as connection:
            of_today = quotes.c.quote_date == BUSINESS_DATE
            connection.execute(quotes.delete().where(quotes.c.instrument == symbol, of_today))
            connection.execute(quote_sequences.delete().where(quote_sequences.c.instrument == symbol))
            of_day = {"quote_date": BUSINESS_DATE, "quote_time": at, "source": "test"}
            connection.execute(insert(quotes), {"instrument": symbol} | of_day | quote)
            connection.execute(insert(quote_sequences), {"instrument": symbol, "sequence": number, "changed_at": at})
        return PriceUpdate(symbol, number, spread=1.0, timestamp=at, **quote)

    def entry(self, base: BaseParams) -> Entry:
        entry = self.service.cache.peek(base.to_cache_key())
        assert entry is not None
        return entry

    def versions(self) -> list[int]:
        """How often each environment was computed."""
        return [self.entry(base).version for base in ALL]

    def spot(self, base: BaseParams, symbol: str) -> dict[str, Any]:
        """The position in a currency or coin, as it is served."""
        sections = orjson.loads(self.entry(base).encoded.whole.parts[0])
        (row,) = [row for row in sections["spot"]["data"]["positions"] if row["instrument"] == symbol]
        return row

    def shows(self, base: BaseParams, symbol: str, price: float) -> bool:
        return bool(self.spot(base, symbol)["price"] == price)


@pytest.fixture(scope="module")
def desk(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    file = Path(shutil.copy(demo_store, tmp_path_factory.mktemp("live")))
    with ExitStack() as up:
        yield Desk(file, up)


def test_a_quote_is_in_the_environments_that_hold_it_and_the_others_are_not_computed_again(desk: Desk) -> None:
    before = desk.versions()
    desk.bus.publish(desk.stores("ETHUSD", 4321.25))
    until(lambda: desk.shows(EXO, "ETHUSD", 4321.25), PATIENCE_SECONDS)
    row = desk.spot(EXO, "ETHUSD")
    assert (row["price_source"], row["bid"], row["ask"]) == ("live", 4320.75, 4321.75)
    assert row["market_value"] == row["quantity"] * 4321.25
    assert [now - then for now, then in zip(desk.versions(), before, strict=True)] == [0, 1, 0, 0]


def test_a_quote_that_two_books_hold_is_in_both(desk: Desk) -> None:
    desk.bus.publish(desk.stores("BTCUSD", 98_765.5))
    until(lambda: desk.shows(EXO, "BTCUSD", 98_765.5) and desk.shows(CUPS, "BTCUSD", 98_765.5), PATIENCE_SECONDS)


def test_who_missed_events_shows_what_is_in_the_store(desk: Desk) -> None:
    desk.stores("ETHUSD", 4400.0)
    desk.bus._subscribers.miss(None)
    until(lambda: desk.shows(EXO, "ETHUSD", 4400.0), PATIENCE_SECONDS)


def test_after_a_burst_of_quotes_the_last_one_is_shown(desk: Desk) -> None:
    before = desk.entry(EXO).version
    for step in range(50):
        desk.bus.publish(desk.stores("ETHUSD", 4000.0 + step))
    until(lambda: desk.shows(EXO, "ETHUSD", 4049.0), PATIENCE_SECONDS)
    assert desk.entry(EXO).version <= before + 50


def test_what_another_process_stores_is_shown_without_an_event(desk: Desk) -> None:
    follower = Follower(desk.store, desk.bus, SystemClock(), interval_seconds=0.05)
    follower.start()
    try:
        until(lambda: follower._mark is not None)
        desk.stores("ETHUSD", 4111.0)
        until(lambda: desk.shows(EXO, "ETHUSD", 4111.0), PATIENCE_SECONDS)
    finally:
        follower.stop()
        follower.join()


def test_a_quote_whose_refresh_fails_is_shown_when_the_store_is_back(desk: Desk) -> None:
    update = desk.stores("ETHUSD", 4500.0)
    old = desk.entry(EXO)
    away = desk.file.with_name("away.sqlite")
    desk.file.rename(away)
    try:
        desk.bus.publish(update)
        until(lambda: desk.entry(EXO).states["spot"].status == "stale", PATIENCE_SECONDS)
        assert desk.spot(EXO, "ETHUSD")["price"] != 4500.0
        assert desk.entry(EXO).version > old.version
    finally:
        away.rename(desk.file)
    until(lambda: desk.shows(EXO, "ETHUSD", 4500.0), PATIENCE_SECONDS)
    assert desk.entry(EXO).states["spot"].status == "ok"
