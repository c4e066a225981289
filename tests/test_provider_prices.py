"""The nightly batch's source of prices, over HTTP: bars of stocks, quotes of options, and how they fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime

import pytest

from position_server.clock import SystemClock
from position_server.errors import BatchStopped
from position_server.market_data.provider import ProviderClient
from position_server.market_data.rate_limiter import Stopped
from position_server.market_data.room import Room
from position_server.portfolio.prices import SourceError, UnknownSymbol, patiently
from position_server.portfolio.records.prices import Bar
from position_server.provider_prices import ProviderPrices, provider_prices
from position_server.settings import Settings
from position_server.store.engine import open_store
from position_server.symbols import OptionSymbol
from tests.fakes import VirtualClock
from tests.market_data.faults import Fault, dropped, empty_results, rate_limited, refused
from tests.market_data.stand_in import StandIn

NIGHT, BEFORE = date(2025, 10, 30), date(2025, 10, 29)
EVENING = datetime(2025, 10, 30, 20, 5, tzinfo=UTC)  # five past four in New York
STOP = threading.Event()  # never set
CALL, PUT = (OptionSymbol.parse(f"AAPL251219{right}00250000") for right in "CP")


class Permits:
    """Grants every call at once, until it is stopped."""

    def acquire(self, stop: threading.Event) -> float:
        if stop.is_set():
            raise Stopped
        return 0.0

    def pause(self, seconds: float) -> None:
        return


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with StandIn() as provider:
        yield provider


@pytest.fixture
def source(provider: StandIn) -> Iterator[ProviderPrices]:
    client = ProviderClient(provider.url, "key", Permits(), timeout_seconds=5)
    yield ProviderPrices(client)
    client.close()


def test_one_call_brings_the_bars_of_all_stocks_as_they_traded(provider: StandIn, source: ProviderPrices) -> None:
    provider.bar("AAPL", NIGHT, 271.4, o=271.0, h=274.1, l=268.5, v=69_886_534.0)
    provider.bar("AAPL", BEFORE, 269.7)
    provider.bar("ORLY", NIGHT, 95.1)
    found = source.stock_bars(NIGHT, STOP)
    assert found["AAPL"] == Bar(NIGHT, 271.4, 271.0, 274.1, 268.5, 69_886_534.0)
    assert found.keys() == {"AAPL", "ORLY"}
    assert (source.calls_made, provider.calls[0].query["adjusted"]) == (1, "false")


def test_an_option_is_priced_by_the_quote_of_its_day(provider: StandIn, source: ProviderPrices) -> None:
    provider.quote("O:AAPL251219C00250000", 24.0, 24.4, 24.3, at=EVENING)
    provider.quote("O:AAPL251219P00250000", 3.0, 3.2, at=EVENING)
    found = source.option_bars([CALL, PUT], NIGHT, STOP)
    assert found == {CALL: Bar(NIGHT, 24.3), PUT: Bar(NIGHT, pytest.approx(3.1))}
    assert source.calls_made == 1


@pytest.mark.parametrize(
    "quoted", [datetime(2025, 10, 31, 14, 0, tzinfo=UTC), datetime(2025, 10, 29, 19, 0, tzinfo=UTC)]
)
def test_a_quote_of_another_day_is_no_price(provider: StandIn, source: ProviderPrices, quoted: datetime) -> None:
    provider.quote("O:AAPL251219C00250000", 24.0, 24.4, 24.3, at=quoted)
    answer = source.option_bars([CALL], NIGHT, STOP)[CALL]
    assert isinstance(answer, SourceError)
    assert str(answer) == f"AAPL251219C00250000: the newest quote is of {quoted.date()}"


def test_an_option_that_nobody_bids_for_or_knows_has_no_price(provider: StandIn, source: ProviderPrices) -> None:
    provider.quote("O:AAPL251219C00250000", None, 24.4, at=EVENING, day=(0.0,) * 5)
    found = source.option_bars([CALL, PUT], NIGHT, STOP)
    assert isinstance(found[CALL], SourceError)
    assert isinstance(found[PUT], UnknownSymbol)


def test_a_history_is_oldest_first_and_of_the_days_asked_for(provider: StandIn, source: ProviderPrices) -> None:
    for day, close in ((NIGHT, 271.4), (BEFORE, 269.7), (date(2025, 10, 1), 255.4)):
        provider.bar("BRK.B", day, close)
    found = source.history("BRK.B", date(2025, 10, 2), NIGHT, STOP)
    assert [(bar.day, bar.close) for bar in found] == [(BEFORE, 269.7), (NIGHT, 271.4)]
    provider.bar("O:AAPL251219C00250000", NIGHT, 24.0)
    assert source.history(CALL, NIGHT, NIGHT, STOP)[0].close == 24.0


def test_a_symbol_that_the_provider_does_not_know_is_named_so(provider: StandIn, source: ProviderPrices) -> None:
    for symbol in ("NOPE", "NO PE"):
        with pytest.raises(UnknownSymbol, match=symbol):
            source.history(symbol, BEFORE, NIGHT, STOP)


@pytest.mark.parametrize(
    ("fault", "is_transient"),
    [
        (refused(500), True),
        (rate_limited("1"), True),
        (dropped(), True),
        (refused(403), False),
        (empty_results(), False),
    ],
)
def test_a_call_that_fails_says_whether_it_may_be_tried_again(
    provider: StandIn, source: ProviderPrices, fault: Fault, is_transient: bool
) -> None:
    provider.bar("AAPL", NIGHT, 271.4)
    provider.plan(fault)
    with pytest.raises(SourceError) as caught:
        source.stock_bars(NIGHT, STOP)
    assert caught.value.is_transient is is_transient


def test_a_moment_s_failure_is_outlasted_and_a_lasting_one_is_not(provider: StandIn, source: ProviderPrices) -> None:
    provider.bar("AAPL", NIGHT, 271.4)
    provider.plan(refused(503), dropped())
    assert "AAPL" in patiently(lambda: source.stock_bars(NIGHT, STOP), VirtualClock(), STOP)
    provider.plan(refused(503), refused(503), refused(503))
    with pytest.raises(SourceError):
        patiently(lambda: source.stock_bars(NIGHT, STOP), VirtualClock(), STOP)
    assert len(provider.calls) == 6


def test_who_is_told_to_end_asks_nothing_more(provider: StandIn, source: ProviderPrices) -> None:
    told = threading.Event()
    told.set()
    with pytest.raises(BatchStopped):
        source.stock_bars(NIGHT, told)
    with pytest.raises(BatchStopped):
        source.option_bars([CALL], NIGHT, told)
    with pytest.raises(BatchStopped):
        source.history("AAPL", NIGHT, NIGHT, told)
    assert provider.calls == []


def test_its_calls_come_out_of_the_budget_that_all_processes_share(provider: StandIn, settings: Settings) -> None:
    provider.bar("AAPL", NIGHT, 271.4)
    given = settings.model_copy(
        update={"market_data": settings.market_data.model_copy(update={"base_url": provider.url})}
    )
    settings.data_dir.mkdir()
    with open_store(given.store_url) as store:
        store.upgrade()
    for _ in range(2):
        with provider_prices(given, SystemClock()) as source:
            source.stock_bars(NIGHT, STOP)
    with closing(Room(given, SystemClock())) as room:
        assert room.limiter.get_stats()["total_calls"] == 2
