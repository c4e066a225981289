"""ProviderClient against a real HTTP server, in good days and bad ones."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from position_server.errors import ConfigError
from position_server.market_data.provider import (
    DailyBar,
    MalformedBody,
    NotAuthorised,
    ProviderClient,
    ProviderError,
    ProviderQuote,
    ProviderTimeout,
    RateLimited,
    ServerError,
    TickerNotFound,
    UnexpectedStatus,
    Unreachable,
)
from position_server.market_data.provider.client import option_ticker
from tests.fakes import NOON, VirtualClock
from tests.market_data import faults
from tests.market_data.stand_in import StandIn

KEY = "a-very-secret-key"
DAY = date(2025, 10, 30)
STOP = threading.Event()  # never set


class Stopped(Exception):
    """What these permits raise."""


class Permits:
    """Grants every call at once, and remembers."""

    def __init__(self) -> None:
        self.granted = 0
        self.pauses: list[float] = []
        self.is_stopped = False

    def acquire(self, stop: threading.Event) -> float:
        if self.is_stopped or stop.is_set():
            raise Stopped
        self.granted += 1
        return 0.0

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with StandIn(now=lambda: NOON) as running:
        running.quote("C:EURUSD", 1.1549, 1.1551)
        running.quote("C:XAUUSD", 3885.2, 3886.2)
        running.quote("X:BTCUSD", None, None, 108_000.0)
        running.quote("AAPL", 270.9, 271.1, 271.0)
        yield running


@pytest.fixture
def permits() -> Permits:
    return Permits()


@pytest.fixture
def client(provider: StandIn, permits: Permits) -> Iterator[ProviderClient]:
    made = ProviderClient(provider.url, KEY, permits, clock=VirtualClock(), timeout_seconds=5)
    yield made
    made.close()


def only(answers: dict[str, Any]) -> Any:
    assert len(answers) == 1
    return next(iter(answers.values()))


# --- good answers ----------------------------------------------------------------------------------------------------


def test_quotes_of_every_kind_come_in_one_call(client: ProviderClient, provider: StandIn) -> None:
    quotes = client.quotes(["C:EURUSD", "X:BTCUSD", "AAPL"], STOP)
    day = (1.0, 3.0, 0.5, 2.0, 1000.0)
    assert quotes == {
        "C:EURUSD": ProviderQuote("C:EURUSD", 1.1549, 1.1551, 1.155, *day, NOON),
        "X:BTCUSD": ProviderQuote("X:BTCUSD", None, None, 108_000.0, *day, NOON),
        "AAPL": ProviderQuote("AAPL", 270.9, 271.1, 271.0, *day, NOON),
    }
    assert [call.path for call in provider.calls] == ["/v3/snapshot"]


def test_forex_and_crypto_snapshots_have_several_tickers_in_one_call(client: ProviderClient, provider: StandIn) -> None:
    forex = client.forex_quotes(["C:EURUSD", "C:XAUUSD"], STOP)
    assert {ticker: (quote.bid, quote.ask) for ticker, quote in forex.items() if isinstance(quote, ProviderQuote)} == {
        "C:EURUSD": (1.1549, 1.1551),
        "C:XAUUSD": (3885.2, 3886.2),
    }
    assert only(client.crypto_quotes(["X:BTCUSD"], STOP)).last_price == 108_000.0
    assert len(provider.calls) == 2


def test_a_ticker_asked_for_twice_is_asked_for_once(client: ProviderClient, provider: StandIn) -> None:
    assert len(client.quotes(["AAPL", "AAPL"], STOP)) == 1
    assert provider.calls[0].tickers == ["AAPL"]


def test_251_tickers_are_two_calls_and_250_are_one(client: ProviderClient, provider: StandIn) -> None:
    tickers = [f"T{number}" for number in range(251)]
    for ticker in tickers:
        provider.quote(ticker, 1.0, 2.0)
    assert len(client.quotes(tickers[:250], STOP)) == 250
    assert [len(call.tickers) for call in provider.calls] == [250]
    answers = client.quotes(tickers, STOP)
    assert all(isinstance(answer, ProviderQuote) for answer in answers.values())
    assert [len(call.tickers) for call in provider.calls[1:]] == [250, 1]


def test_no_tickers_are_no_call(client: ProviderClient, permits: Permits) -> None:
    assert client.quotes([], STOP) == {}
    assert client.forex_quotes([], STOP) == {}
    assert permits.granted == 0


@pytest.mark.parametrize("ticker", ["", "A,B", "A B", "Ä", "A\n"])
def test_what_cannot_be_a_ticker_is_not_asked_for(client: ProviderClient, permits: Permits, ticker: str) -> None:
    assert isinstance(only(client.quotes([ticker], STOP)), TickerNotFound)
    with pytest.raises(TickerNotFound):
        client.daily_bars(ticker, DAY, DAY, STOP)
    assert permits.granted == 0


@pytest.mark.parametrize("given", ["AAPL251121C00250000", "AAPL  251121C00250000", "O:AAPL251121C00250000"])
def test_options_are_asked_for_by_any_form_of_their_symbol(
    client: ProviderClient, provider: StandIn, given: str
) -> None:
    provider.quote("O:AAPL251121C00250000", 24.0, 24.2)
    assert client.option_quotes([given], STOP)[given].ask == 24.2  # type: ignore[union-attr]
    assert option_ticker(given) == "O:AAPL251121C00250000"


def test_a_chain_is_followed_over_its_pages(client: ProviderClient, provider: StandIn, permits: Permits) -> None:
    contracts = {f"O:AAPL251121C{strike * 1000:08d}" for strike in range(200, 207)}
    for contract in contracts | {"O:MSFT251121C00500000"}:
        provider.quote(contract, 1.0, 1.2)
    provider.page_size = 3
    assert client.option_chain("AAPL", STOP).keys() == contracts
    assert permits.granted == len(provider.calls) == client.calls_made == 3
    with pytest.raises(TickerNotFound):
        client.option_chain("NVDA", STOP)


def test_daily_bars_come_oldest_first_over_their_pages(client: ProviderClient, provider: StandIn) -> None:
    for day, close in ((30, 271.4), (28, 269.0), (29, 269.7), (27, 1.0)):
        provider.bar("AAPL", date(2025, 10, day), close)
    provider.page_size = 2
    bars = client.daily_bars("AAPL", date(2025, 10, 28), DAY, STOP)
    assert [(bar.day.day, bar.close) for bar in bars] == [(28, 269.0), (29, 269.7), (30, 271.4)]
    assert provider.calls[0].path == "/v2/aggs/ticker/AAPL/range/1/day/2025-10-28/2025-10-30"


def test_bars_as_traded_are_asked_for_where_they_are_wanted(client: ProviderClient, provider: StandIn) -> None:
    provider.bar("X:BTCUSD", DAY, 1.0)
    client.daily_bars("X:BTCUSD", DAY, DAY, STOP)
    client.daily_bars("X:BTCUSD", DAY, DAY, STOP, adjusted=False)
    assert [call.query["adjusted"] for call in provider.calls] == ["true", "false"]


def test_every_stock_of_a_day_comes_in_one_call(client: ProviderClient, provider: StandIn) -> None:
    provider.bar("AAPL", DAY, 271.4, h=275.0)
    provider.bar("MSFT", DAY, 525.8)
    assert client.grouped_daily(DAY, STOP) == {
        "AAPL": DailyBar("AAPL", DAY, 271.4, 275.0, 271.4, 271.4, 10.0),
        "MSFT": DailyBar("MSFT", DAY, 525.8, 525.8, 525.8, 525.8, 10.0),
    }
    assert len(provider.calls) == 1


# --- permits ---------------------------------------------------------------------------------------------------------


def test_every_request_takes_one_permit_whatever_becomes_of_it(
    client: ProviderClient, provider: StandIn, permits: Permits
) -> None:
    provider.plan(faults.refused(500), faults.dropped(), faults.body(b""), None)
    for _ in range(4):
        client.quotes(["AAPL"], STOP)
    assert permits.granted == client.calls_made == len(provider.calls) == 4


def test_who_is_stopped_while_waiting_for_a_permit_sends_nothing(
    client: ProviderClient, provider: StandIn, permits: Permits
) -> None:
    permits.is_stopped = True
    with pytest.raises(Stopped):
        client.quotes(["AAPL"], STOP)
    assert (client.calls_made, provider.calls) == (0, [])


NOW = "Thu, 30 Oct 2025 16:00:00 GMT"


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7.0),
        (" 30 ", 30.0),
        ("1.5", 1.5),
        ("0", 1.0),
        ("86400", 3600.0),
        ("Thu, 30 Oct 2025 16:02:00 GMT", 120.0),
        ("Thu, 30 Oct 2025 15:59:00 GMT", 60.0),
        (None, 60.0),
        ("", 60.0),
        ("-5", 60.0),
        ("soon", 60.0),
        ("nan", 60.0),
        ("inf", 60.0),
    ],
)
def test_a_429_pauses_everybody_for_as_long_as_it_says(
    client: ProviderClient, provider: StandIn, permits: Permits, retry_after: str | None, seconds: float
) -> None:
    def limited(reply: faults.Reply) -> faults.Reply:
        limited = faults.rate_limited(retry_after)(reply)
        return faults.replace(limited, headers={**limited.headers, "Date": NOW})

    provider.plan(limited)
    error = only(client.quotes(["AAPL"], STOP))
    assert isinstance(error, RateLimited)
    assert (error.retry_after_seconds, permits.pauses, error.status) == (seconds, [seconds], 429)


def test_a_retry_date_counts_from_the_server_s_own_clock(provider: StandIn, permits: Permits) -> None:
    provider.plan(faults.refused(429, Retry_After="Thu, 30 Oct 2025 16:02:00 GMT", Date=NOW))
    behind = VirtualClock(NOON - timedelta(minutes=30))
    client = ProviderClient(provider.url, KEY, permits, clock=behind)
    client.quotes(["AAPL"], STOP)
    client.close()
    assert permits.pauses == [120.0]


@pytest.mark.parametrize("fault", [faults.rate_limited("7"), faults.refused(401), faults.dropped()])
def test_after_a_failure_that_would_meet_the_next_call_too_nothing_more_is_asked(
    client: ProviderClient, provider: StandIn, fault: faults.Fault
) -> None:
    tickers = [f"T{number}" for number in range(600)]
    provider.schedule = lambda _: fault
    answers = client.quotes(tickers, STOP)
    assert len(provider.calls) == 1
    assert answers.keys() == set(tickers)
    assert len({type(answer) for answer in answers.values()}) == 1


def test_after_a_server_error_the_other_calls_are_still_made(client: ProviderClient, provider: StandIn) -> None:
    tickers = [f"T{number}" for number in range(251)]
    provider.quote("T250", 1.0, 2.0)
    provider.plan(faults.refused(502))
    answers = client.quotes(tickers, STOP)
    assert isinstance(answers["T0"], ServerError)
    assert isinstance(answers["T250"], ProviderQuote)


# --- failures --------------------------------------------------------------------------------------------------------

FAILURES: list[tuple[faults.Fault, type[ProviderError], int | None]] = [
    (faults.refused(401), NotAuthorised, 401),
    (faults.refused(403), NotAuthorised, 403),
    (faults.refused(404), TickerNotFound, 404),
    (faults.refused(400), UnexpectedStatus, 400),
    (faults.refused(302, Location="http://127.0.0.1:1/"), UnexpectedStatus, 302),
    (faults.refused(500), ServerError, 500),
    (faults.refused(503), ServerError, 503),
    (faults.dropped(), Unreachable, None),
    (faults.truncated(), MalformedBody, 200),
    (faults.body(b""), MalformedBody, 200),
    (faults.body(b"  \n"), MalformedBody, 200),
    (faults.body(b"<html>"), MalformedBody, 200),
    (faults.body(b'{"status":"OK"'), MalformedBody, 200),
    (faults.body(b'{"status":"OK","results":[NaN]}'), MalformedBody, 200),
    (faults.body(b"[]"), MalformedBody, 200),
    (faults.body(b"no gzip", Content_Encoding="gzip"), MalformedBody, 200),
    (faults.empty_results(), MalformedBody, 200),
    (faults.with_value("status", "ERROR"), MalformedBody, 200),
    (faults.with_value("results", None), MalformedBody, 200),
    (faults.with_value("results.0.last_quote.bid", "270.9"), MalformedBody, 200),
    (faults.with_value("results.0.last_quote.last_updated", 1_761_840_000_000), MalformedBody, 200),
    (faults.failing("AAPL", "NOT_ENTITLED"), NotAuthorised, 200),
    (faults.failing("AAPL", "NOT_FOUND"), TickerNotFound, 200),
]


@pytest.mark.parametrize(("fault", "kind", "status"), FAILURES)
def test_each_failure_is_its_own_error_with_the_status(
    client: ProviderClient, provider: StandIn, fault: faults.Fault, kind: type[ProviderError], status: int | None
) -> None:
    provider.plan(fault)
    error = only(client.quotes(["AAPL"], STOP))
    assert (type(error), error.status) == (kind, status)
    assert error.message
    assert isinstance(only(client.quotes(["AAPL"], STOP)), ProviderQuote)  # and it is over with the next call


@pytest.mark.parametrize(("fault", "kind", "status"), FAILURES[:18])
def test_calls_without_tickers_raise_what_went_wrong(
    client: ProviderClient, provider: StandIn, fault: faults.Fault, kind: type[ProviderError], status: int | None
) -> None:
    provider.bar("AAPL", DAY, 271.4)
    provider.schedule = lambda _: fault
    with pytest.raises(kind):
        client.grouped_daily(DAY, STOP)
    with pytest.raises(ProviderError):
        client.daily_bars("AAPL", DAY, DAY, STOP)
    with pytest.raises(ProviderError):
        client.option_chain("AAPL", STOP)


def test_a_ticker_that_the_answer_leaves_out_is_not_found(client: ProviderClient, provider: StandIn) -> None:
    provider.plan(faults.without("AAPL"))
    answers = client.quotes(["AAPL", "C:EURUSD"], STOP)
    assert isinstance(answers["AAPL"], TickerNotFound)
    assert isinstance(answers["C:EURUSD"], ProviderQuote)
    assert isinstance(client.forex_quotes(["C:EURUSD", "C:NONE"], STOP)["C:NONE"], TickerNotFound)


def test_what_was_not_asked_for_is_not_answered(client: ProviderClient, provider: StandIn) -> None:
    provider.plan(faults.with_value("results.0.ticker", "MSFT"))
    assert client.quotes(["AAPL", "C:EURUSD"], STOP).keys() == {"AAPL", "C:EURUSD"}


def test_a_ticker_that_comes_twice_has_its_newest_quote(client: ProviderClient, provider: StandIn) -> None:
    later = 1_761_840_000_500_000_000 + 30 * 10**9
    provider.plan(faults.duplicated("AAPL", "last_trade.sip_timestamp", later), faults.duplicated("AAPL"))
    assert only(client.quotes(["AAPL"], STOP)).timestamp > NOON
    assert only(client.quotes(["AAPL"], STOP)).timestamp == NOON


def test_two_prices_of_one_moment_are_no_price(client: ProviderClient, provider: StandIn) -> None:
    provider.plan(faults.duplicated("AAPL", "last_quote.bid", 1.0))
    assert isinstance(only(client.quotes(["AAPL"], STOP)), MalformedBody)


def test_bars_of_other_days_and_two_bars_of_one_day_are_refused(client: ProviderClient, provider: StandIn) -> None:
    provider.bar("AAPL", DAY, 271.4)
    provider.plan(
        faults.with_value("results.0.t", 1_700_000_000_000),
        faults.duplicated("AAPL"),
        faults.duplicated("AAPL", "c", 1),
    )
    with pytest.raises(MalformedBody, match="does not belong"):
        client.daily_bars("AAPL", DAY, DAY, STOP)
    assert isinstance(client.grouped_daily(DAY, STOP)["AAPL"], DailyBar)
    assert isinstance(client.grouped_daily(DAY, STOP)["AAPL"], MalformedBody)


def test_days_without_bars_are_a_failure(client: ProviderClient) -> None:
    with pytest.raises(TickerNotFound):
        client.daily_bars("AAPL", DAY, DAY, STOP)
    with pytest.raises(MalformedBody):
        client.grouped_daily(DAY, STOP)


def test_a_body_that_is_packed_is_unpacked(client: ProviderClient, provider: StandIn) -> None:
    answer = {
        "status": "OK",
        "results": [{"T": "AAPL", "t": 1_761_840_000_000, "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}],
    }
    provider.plan(faults.body(gzip.compress(json.dumps(answer).encode()), Content_Encoding="gzip"))
    assert client.grouped_daily(DAY, STOP)["AAPL"] == DailyBar("AAPL", DAY, 1, 1, 1, 1, 1)


# --- pages -----------------------------------------------------------------------------------------------------------


def test_pages_of_a_snapshot_are_followed_until_every_ticker_is_there(
    client: ProviderClient, provider: StandIn, permits: Permits
) -> None:
    provider.page_size = 1
    answers = client.quotes(["AAPL", "C:EURUSD", "X:BTCUSD"], STOP)
    assert all(isinstance(answer, ProviderQuote) for answer in answers.values())
    assert permits.granted == len(provider.calls) == 3


def test_where_a_later_page_fails_what_came_before_is_kept(client: ProviderClient, provider: StandIn) -> None:
    provider.page_size = 1
    provider.plan(None, faults.refused(500))
    answers = client.quotes(["AAPL", "C:EURUSD", "X:BTCUSD"], STOP)
    assert isinstance(answers["AAPL"], ProviderQuote)
    assert isinstance(answers["C:EURUSD"], ServerError)
    assert isinstance(answers["X:BTCUSD"], ServerError)
    assert len(provider.calls) == 2


def test_the_next_page_is_asked_of_our_own_address_whatever_it_names(client: ProviderClient, provider: StandIn) -> None:
    """The stand-in names api.massive.com, as the real one does, and a key of its own."""
    provider.page_size = 1
    client.quotes(["AAPL", "C:EURUSD"], STOP)
    assert provider.calls[1].headers["Authorization"] == f"Bearer {KEY}"
    assert "apiKey" not in provider.calls[1].query


@pytest.mark.parametrize("next_url", ["/v3/snapshot?ticker.any_of=AAPL", "http://[", "//x\x00", "?"])
def test_pages_that_lead_nowhere_end(client: ProviderClient, provider: StandIn, next_url: str) -> None:
    provider.schedule = lambda _: faults.with_value("next_url", next_url)
    answers = client.quotes(["AAPL", "C:NONE", "MSFT"], STOP)
    assert len(provider.calls) <= 3
    assert isinstance(answers["MSFT"], ProviderError)


def test_a_chain_without_end_ends(client: ProviderClient, provider: StandIn) -> None:
    provider.quote("O:AAPL251121C00250000", 1.0, 1.2)
    provider.schedule = lambda _: faults.with_value("next_url", "/v3/snapshot/options/AAPL")
    with pytest.raises(MalformedBody, match="nothing new"):
        client.option_chain("AAPL", STOP)


# --- slowness and absence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [faults.slow(30), faults.dripping(0.05)])
def test_an_answer_that_does_not_come_in_time_is_a_timeout(
    provider: StandIn, permits: Permits, fault: faults.Fault
) -> None:
    provider.plan(fault)
    client = ProviderClient(provider.url, KEY, permits, timeout_seconds=0.3)
    error = only(client.quotes(["AAPL"], STOP))
    client.close()
    assert isinstance(error, ProviderTimeout)
    assert "0.3 s" in error.message


def test_where_nobody_listens_the_provider_is_unreachable(permits: Permits) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = ProviderClient(f"http://127.0.0.1:{unused.getsockname()[1]}", KEY, permits)
        assert isinstance(only(client.quotes(["AAPL"], STOP)), Unreachable)
        client.close()


# --- the key ---------------------------------------------------------------------------------------------------------


def test_the_key_travels_in_a_header_and_appears_nowhere_else(
    client: ProviderClient, provider: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.page_size = 1
    provider.plan(None, None, faults.refused(401, f"Unknown API Key: {KEY}"), faults.rate_limited(), faults.dropped())
    texts = [repr(client.quotes(["AAPL", "C:EURUSD"], STOP)) for _ in range(4)]
    texts += [record.getMessage() + repr(vars(record)) for record in caplog.records]
    assert "Unknown API Key: ***" in texts[1]
    assert [text for text in texts if KEY in text] == []
    assert {call.headers["Authorization"] for call in provider.calls} == {f"Bearer {KEY}"}
    assert [call for call in provider.calls if KEY in repr((call.path, call.query))] == []


def test_without_a_key_no_header_is_sent(provider: StandIn, permits: Permits) -> None:
    client = ProviderClient(provider.url, "", permits)
    client.quotes(["AAPL"], STOP)
    client.close()
    assert "Authorization" not in provider.calls[0].headers


@pytest.mark.parametrize("key", [f"{KEY}\n", f"x {KEY}", f"{KEY}ü"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(permits: Permits, key: str) -> None:
    with pytest.raises(ConfigError, match="api_key") as refused:
        ProviderClient("http://127.0.0.1", key, permits)
    assert KEY not in refused.value.message


@pytest.mark.parametrize("address", ["demo", "ftp://provider", "http://", "", "http://[", "http://host:99999"])
def test_a_base_url_that_is_no_address_is_refused(permits: Permits, address: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        ProviderClient(address, KEY, permits)


def test_a_base_url_may_have_a_path(provider: StandIn, permits: Permits) -> None:
    client = ProviderClient(f"{provider.url}/massive/", KEY, permits)
    error = only(client.quotes(["AAPL"], STOP))
    client.close()
    assert isinstance(error, TickerNotFound)
    assert provider.calls[0].path == "/massive/v3/snapshot"


def test_the_times_of_calls_are_kept(client: ProviderClient, provider: StandIn) -> None:
    """What other tests judge the call budget by."""
    client.quotes(["AAPL"], STOP)
    client.quotes(["AAPL"], STOP)
    first, second = provider.calls
    assert (first.number, second.number) == (1, 2)
    assert first.at <= second.at
    assert datetime.now(UTC) > NOON
