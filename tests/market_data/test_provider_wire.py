"""The provider's published examples (documented.json) read as documented, and what deviates from them is refused."""

from __future__ import annotations

import copy
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.market_data.provider import (
    DailyBar,
    MalformedBody,
    NotAuthorised,
    ProviderError,
    ProviderQuote,
    ServerError,
    TickerNotFound,
    wire,
)

DOCUMENTED = json.loads((Path(__file__).parent / "documented.json").read_text())
FOREX = "/v2/snapshot/locale/global/markets/forex/tickers"
CRYPTO = "/v2/snapshot/locale/global/markets/crypto/tickers"
CHAIN = "/v3/snapshot/options/{underlyingAsset}"
BARS = "/v2/aggs/ticker/{{{}Ticker}}/range/{{multiplier}}/{{timespan}}/{{from}}/{{to}}"
GROUPED = "/v2/aggs/grouped/locale/us/market/stocks/{date}"
SECOND = 1_000_000_000


def documented(name: str) -> Any:
    return copy.deepcopy(DOCUMENTED[name])


def read(read_answer: Any, body: Any, *arguments: Any) -> Any:
    return read_answer(wire.checked(body), *arguments)


def quote_of(item: dict[str, Any], ticker: str = "AAPL") -> ProviderQuote | ProviderError:
    """What a v3 item comes to."""
    return read(wire.universal_quotes, {"status": "OK", "results": [{"ticker": ticker, **item}]})[ticker]


def quoted(bid: Any = 1.0, ask: Any = 2.0, at: Any = 1_700_000_000 * SECOND) -> dict[str, Any]:
    return {"last_quote": {"bid": bid, "ask": ask, "last_updated": at}}


def traded(price: Any = 1.5, at: Any = 1_700_000_000 * SECOND) -> dict[str, Any]:
    return {"last_trade": {"price": price, "sip_timestamp": at}}


# --- the documented examples -----------------------------------------------------------------------------------------


def test_the_documented_forex_snapshot_is_dated_in_milliseconds() -> None:
    quotes = read(wire.market_quotes, documented(FOREX))
    at = datetime(2020, 11, 13, 15, 21, 59, tzinfo=UTC)
    middle = (0.11777952 + 0.11780678) / 2
    day = (0.11797149, 0.11812263, 0.11766631, 0.11778221, 77794.0)
    assert quotes == {"C:HKDCHF": ProviderQuote("C:HKDCHF", 0.11777952, 0.11780678, middle, *day, at)}


def test_the_documented_crypto_snapshot_has_a_trade_and_neither_bid_nor_ask() -> None:
    quote = read(wire.market_quotes, documented(CRYPTO))["X:FSNUSD"]
    assert (quote.bid, quote.ask, quote.last_price) == (None, None, 0.293)
    assert quote.timestamp == datetime(2020, 11, 13, 18, 38, 6, 10_000, tzinfo=UTC)


def test_the_documented_universal_snapshot_has_an_option_a_stock_and_an_unknown_ticker() -> None:
    quotes = read(wire.universal_quotes, documented("/v3/snapshot"))
    option, stock = quotes["O:NCLH221014C00005000"], quotes["AAPL"]
    assert (option.bid, option.ask) == (None, None)  # the quote of the example is a year older than the trade
    assert option.last_price == 0.05
    assert option.timestamp == datetime(2023, 2, 1, 19, 49, 18, 783136, tzinfo=UTC)
    assert (stock.open, stock.high, stock.low, stock.close, stock.volume) == (22.49, 22.49, 21.35, 21.4, 37.0)
    assert isinstance(quotes["TSLAAPL"], TickerNotFound)


def test_the_documented_indices_snapshot_has_values_and_a_ticker_that_is_not_in_the_plan() -> None:
    quotes = read(wire.universal_quotes, documented("/v3/snapshot/indices"))
    assert quotes["I:DJI"].last_price == 3822.39
    assert isinstance(quotes["APx"], TickerNotFound)
    assert isinstance(quotes["APy"], NotAuthorised)


def test_the_documented_chain_is_by_contract() -> None:
    quotes = read(wire.chain_quotes, documented(CHAIN))
    assert quotes["O:AAPL211022C000150000"].last_price == 0.05
    assert quotes["O:AAPL211022C000150000"].close == 120.73


@pytest.mark.parametrize(
    ("kind", "ticker", "first", "volume"),
    [
        ("stocks", "AAPL", date(2020, 1, 2), 135647456.0),  # written at midnight in New York
        ("crypto", "X:BTCUSD", date(2020, 6, 1), 303067.6562332156),
        ("forex", "C:EURUSD", date(2021, 7, 22), 125329.0),  # at midnight UTC
    ],
)
def test_the_documented_bars_belong_to_their_market_s_day(kind: str, ticker: str, first: date, volume: float) -> None:
    bars = read(wire.bars_of, documented(BARS.format(kind)), ticker)
    assert (bars[0].day, bars[0].volume) == (first, volume)


def test_the_documented_grouped_bars_are_those_of_the_day_asked_for() -> None:
    bars = read(wire.grouped_bars, documented(GROUPED), date(2020, 10, 14))
    assert bars["VSAT"] == DailyBar("VSAT", date(2020, 10, 14), 34.9, 35.47, 34.21, 34.24, 312583.0)
    assert len(bars) == 3


def test_bars_of_another_day_are_not_taken_for_those_asked_for() -> None:
    bars = read(wire.grouped_bars, documented(GROUPED), date(2020, 10, 15))
    assert {type(bar) for bar in bars.values()} == {MalformedBody}


# --- what is not there -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, 0, 0.0])
def test_a_missing_side_is_none_and_never_zero(missing: float | None) -> None:
    quote = quote_of(quoted(bid=missing))
    assert isinstance(quote, ProviderQuote)
    assert (quote.bid, quote.ask, quote.last_price) == (None, 2.0, None)


def test_a_field_that_is_left_out_is_none() -> None:
    quote = quote_of({"last_quote": {"ask": 2.0, "last_updated": 1_700_000_000 * SECOND}})
    assert isinstance(quote, ProviderQuote)
    assert (quote.bid, quote.open, quote.volume) == (None, None, None)


def test_nobody_bidding_for_an_option_that_is_offered_is_a_bid_of_zero() -> None:
    quote = quote_of(quoted(bid=0, ask=0.05), "O:AAPL251121C00250000")
    assert isinstance(quote, ProviderQuote)
    assert (quote.bid, quote.ask) == (0.0, 0.05)


def test_a_day_that_has_not_begun_has_no_prices() -> None:
    quote = quote_of({**quoted(), "session": dict.fromkeys(("open", "high", "low", "close", "volume"), 0)})
    assert isinstance(quote, ProviderQuote)
    assert (quote.open, quote.high, quote.low, quote.close, quote.volume) == (None, None, None, None, 0.0)


def test_negative_and_crossed_prices_are_passed_on_as_they_are() -> None:
    quote = quote_of(quoted(bid=3.0, ask=-2.0))
    assert isinstance(quote, ProviderQuote)
    assert (quote.bid, quote.ask) == (3.0, -2.0)


# --- which price counts ----------------------------------------------------------------------------------------------


def test_last_price_is_the_trade_s_where_it_is_as_new_as_the_quote() -> None:
    quote = quote_of({**quoted(), **traded(1.9, (1_700_000_000 - 900) * SECOND)})
    assert isinstance(quote, ProviderQuote)
    assert (quote.last_price, quote.timestamp) == (1.9, datetime.fromtimestamp(1_700_000_000, UTC))


def test_a_trade_of_long_ago_does_not_get_the_quote_s_time() -> None:
    quote = quote_of({**quoted(), **traded(1.9, (1_700_000_000 - 901) * SECOND)})
    assert isinstance(quote, ProviderQuote)
    assert quote.last_price == 1.5
    one_sided = quote_of({**quoted(ask=None), **traded(1.9, (1_700_000_000 - 901) * SECOND)})
    assert isinstance(one_sided, ProviderQuote)
    assert (one_sided.bid, one_sided.last_price) == (1.0, None)


def test_a_quote_of_long_ago_does_not_get_the_trade_s_time() -> None:
    quote = quote_of({**quoted(at=(1_700_000_000 - 901) * SECOND), **traded(1.9)})
    assert isinstance(quote, ProviderQuote)
    assert (quote.bid, quote.ask, quote.last_price) == (None, None, 1.9)


def test_without_quote_and_trade_the_session_s_price_counts_where_it_is_dated() -> None:
    session = {"price": 7.0, "close": 6.0, "last_updated": 1_700_000_000 * SECOND}
    quote = quote_of({"session": session})
    assert isinstance(quote, ProviderQuote)
    assert (quote.last_price, quote.timestamp) == (7.0, datetime.fromtimestamp(1_700_000_000, UTC))
    assert isinstance(quote_of({"session": {"price": 7.0}}), MalformedBody)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["1.5", True, [1.5], {"p": 1}, float("nan"), float("inf"), -float("inf")])
def test_a_price_that_is_no_finite_number_is_refused_with_its_name(wrong: Any) -> None:
    error = quote_of(quoted(bid=wrong))
    assert isinstance(error, MalformedBody)
    assert error.message.startswith("AAPL.last_quote.bid: not a number")


@pytest.mark.parametrize("wrong", ["1700000000000000000", 1.7e18, True, 1_700_000_000_000, -1, 10**30])
def test_a_time_that_is_none_in_the_endpoint_s_unit_is_refused(wrong: Any) -> None:
    error = quote_of(quoted(at=wrong))
    assert isinstance(error, MalformedBody)
    assert "AAPL.last_quote.last_updated" in error.message


def test_nanoseconds_where_milliseconds_belong_are_refused() -> None:
    body = documented(FOREX)
    body["tickers"][0]["lastQuote"]["t"] *= 1_000_000
    assert isinstance(read(wire.market_quotes, body)["C:HKDCHF"], MalformedBody)


@pytest.mark.parametrize("item", [{}, quoted(bid=None, ask=None), traded(price=None), {"last_quote": {"bid": 1.0}}])
def test_an_item_without_a_price_and_its_time_is_refused(item: dict[str, Any]) -> None:
    error = quote_of(item)
    assert isinstance(error, MalformedBody)
    assert "no price with a time" in error.message


def test_one_wrong_item_leaves_the_others_alone() -> None:
    body = {"status": "OK", "results": [{"ticker": "A", **quoted("x")}, {"ticker": "B", **quoted()}]}
    quotes = read(wire.universal_quotes, body)
    assert isinstance(quotes["A"], MalformedBody)
    assert isinstance(quotes["B"], ProviderQuote)


def test_an_unknown_error_of_a_ticker_is_the_server_s() -> None:
    error = quote_of({"error": "INTERNAL", "message": "sorry"})
    assert isinstance(error, ServerError)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "OK",
        {"status": "ERROR"},
        {"status": 7},
        {"status": "OK", "results": {}},
        {"status": "OK", "results": [None]},
        {"status": "OK", "results": [{}]},
        {"status": "OK", "results": [{"ticker": 7}]},
        {"status": "OK", "results": [{"ticker": ""}]},
    ],
)
def test_an_answer_that_is_wrong_as_a_whole_is_refused_as_a_whole(body: Any) -> None:
    with pytest.raises(MalformedBody):
        read(wire.universal_quotes, body)


@pytest.mark.parametrize("results", [None, []])
def test_bars_that_are_counted_and_not_there_are_refused(results: Any) -> None:
    with pytest.raises(MalformedBody, match="empty, though there are 3"):
        read(wire.bars_of, {"status": "OK", "resultsCount": 3, "results": results}, "AAPL")


@pytest.mark.parametrize("change", [{"o": None}, {"c": "1"}, {"h": -1.0}, {"l": 0}, {"v": -1}, {"t": None}, {"t": "x"}])
def test_a_bar_that_lacks_something_is_refused(change: dict[str, Any]) -> None:
    body = documented(BARS.format("stocks"))
    body["results"][0] |= change
    with pytest.raises(MalformedBody, match="AAPL"):
        read(wire.bars_of, body, "AAPL")


# --- the same ticker twice -------------------------------------------------------------------------------------------


def twice(first: dict[str, Any], second: dict[str, Any]) -> ProviderQuote | ProviderError:
    body = {"status": "OK", "results": [{"ticker": "A", **first}, {"ticker": "A", **second}]}
    return read(wire.universal_quotes, body)["A"]


def test_of_two_quotes_of_one_ticker_the_newer_counts_wherever_it_stands() -> None:
    old, new = quoted(bid=1.0, at=1_700_000_000 * SECOND), quoted(bid=1.2, at=1_700_000_001 * SECOND)
    assert twice(old, new) == twice(new, old)
    assert getattr(twice(old, new), "bid", None) == 1.2


def test_two_quotes_of_one_time_that_differ_are_refused_and_equal_ones_are_one() -> None:
    assert isinstance(twice(quoted(bid=1.0), quoted(bid=1.2)), MalformedBody)
    assert isinstance(twice(quoted(), quoted()), ProviderQuote)


def test_a_third_quote_does_not_settle_what_two_disagree_on() -> None:
    items = [{"ticker": "A", **quoted(bid=bid)} for bid in (1.0, 1.2, 1.0)]
    assert isinstance(read(wire.universal_quotes, {"status": "OK", "results": items})["A"], MalformedBody)


def test_a_quote_counts_beside_an_error_of_the_same_ticker() -> None:
    error = {"error": "NOT_FOUND", "message": "Ticker not found."}
    assert isinstance(twice(error, quoted()), ProviderQuote)
    assert isinstance(twice(quoted(), error), ProviderQuote)


# --- anything at all -------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = ["ticker", "error", "last_quote", "last_trade", "session", "value", "last_updated"]
INNER = ["bid", "ask", "price", "last_updated", "sip_timestamp", "open", "close", "volume"]


@given(item=st.dictionaries(st.sampled_from(PLACES), JSON | st.dictionaries(st.sampled_from(INNER), JSON)))
def test_whatever_comes_is_a_whole_quote_or_a_named_failure(item: dict[str, Any]) -> None:
    body = {"status": "OK", "results": [{**quoted(), **traded(), **item}]}
    try:
        answers = read(wire.universal_quotes, body)
    except MalformedBody:
        return
    for answer in answers.values():
        if isinstance(answer, ProviderQuote):
            assert any(price is not None for price in (answer.bid, answer.ask, answer.last_price))
            assert answer.timestamp.utcoffset() == timedelta(0)
        else:
            assert isinstance(answer, ProviderError)
