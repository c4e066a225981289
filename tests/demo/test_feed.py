"""What the demo provider shows and remembers, without HTTP."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.business_days import Calendar
from position_server.demo import option_chain
from position_server.demo.build import LAST_DAY, Demo
from position_server.demo.feed import Feed
from position_server.demo.pricing import DayCurve
from position_server.demo.spot_market import ticking, traded

NOW = datetime(2026, 3, 4, 15, 30, 12, 345678, tzinfo=UTC)
FIRST_DAY = date(2025, 6, 2)
DEFAULT_ASSETS = [
    "C:XAUUSD", "C:EURUSD", "X:BTCUSD", "X:ETHUSD", "C:GBPUSD", "C:USDJPY", "C:XAGUSD", "C:AUDUSD", "C:USDCAD",
]  # fmt: skip


@pytest.fixture(scope="module")
def feed(demo: Demo) -> Feed:
    return Feed(demo.market, seed=1)


def quoted(feed: Feed, ticker: str, now: datetime = NOW) -> dict:
    return feed.at(now).v3_item(ticker)


def test_everything_that_the_demo_s_assets_name_is_quoted(feed: Feed, demo: Demo) -> None:
    known = set(feed.tickers())
    assert set(DEFAULT_ASSETS) <= known
    for row in demo.desk:
        if row.kind == "SPOT":
            assert {f"C:{row.instrument}", f"X:{row.instrument}"} & known
        if row.kind == "OPTION":
            assert f"O:{row.instrument}" in known
        if row.kind == "EQUITY":
            assert (row.instrument in known) == (row.instrument != "ZNEWCO")


def test_gold_and_silver_start_from_their_fixings(demo: Demo) -> None:
    rows = traded(demo.market, demo.desk)
    assert (rows["C:XAUUSD"].price, rows["C:XAGUSD"].price) == (3885.70, 47.605)


def test_the_others_start_from_their_last_real_price(demo: Demo) -> None:
    rows = traded(demo.market, demo.desk)
    assert rows["C:EURUSD"].price == demo.market.fx[LAST_DAY]["EURUSD"]
    assert rows["X:BTCUSD"].price == demo.market.bars["BTCUSD"][LAST_DAY].close
    assert rows["AAPL"].price == demo.market.bars["AAPL"][LAST_DAY].close


@given(
    number=st.integers(0, 10_000),
    seed=st.integers(0, 3),
    now=st.integers(0, 200_000_000_000).map(lambda milliseconds: NOW + timedelta(milliseconds=milliseconds)),
)
@settings(max_examples=100)
def test_any_ticker_at_any_time_is_plausible(demo: Demo, number: int, seed: int, now: datetime) -> None:
    rows = list(traded(demo.market, demo.desk).values())
    what = rows[number % len(rows)]
    shown = ticking(what, now, seed)
    assert 0 < shown.bid < shown.last < shown.ask
    assert (shown.ask - shown.bid) / shown.last < 0.003
    assert abs(shown.last / what.price - 1) <= what.band + what.tick / what.price
    assert shown.day.low <= shown.last <= shown.day.high
    assert shown.day.open == shown.previous_day.close
    assert shown.day.close == shown.minute.close == shown.last
    for price in (shown.bid, shown.last, shown.ask):
        assert price / what.tick == pytest.approx(round(price / what.tick), abs=1e-6)


def test_prices_move_and_the_day_s_extremes_only_widen(demo: Demo) -> None:
    for what in list(traded(demo.market, demo.desk).values())[::9]:
        shown = [ticking(what, NOW + timedelta(minutes=minute), 1) for minute in range(0, 300, 5)]
        assert len({one.last for one in shown}) > 10, what.ticker
        assert all(later.day.high >= one.day.high for one, later in pairwise(shown))
        assert all(later.day.low <= one.day.low for one, later in pairwise(shown))


def test_the_same_seed_and_time_show_the_same_and_another_seed_something_else(demo: Demo, feed: Feed) -> None:
    tickers = DEFAULT_ASSETS
    assert [quoted(Feed(demo.market, 1), t) for t in tickers] == [quoted(feed, t) for t in tickers]
    assert [quoted(Feed(demo.market, 2), t) for t in tickers] != [quoted(feed, t) for t in tickers]


def test_times_are_now_in_the_unit_of_each_version(feed: Feed) -> None:
    at = int(NOW.timestamp()) * 1_000_000 + 345678
    assert quoted(feed, "AAPL")["last_quote"]["last_updated"] == at * 1000
    assert feed.at(NOW).v2_item("C:EURUSD")["lastQuote"]["t"] == at // 1000
    assert feed.at(NOW).v2_item("X:BTCUSD")["lastTrade"]["t"] == at // 1000


# --- options ---------------------------------------------------------------------------------------------------------


def test_an_option_s_daily_close_is_the_store_s_model_close(feed: Feed, demo: Demo) -> None:
    for row in [row for row in demo.desk if row.kind == "OPTION"][::12]:
        served = feed.bars(f"O:{row.instrument}", date(2025, 9, 2), LAST_DAY, is_adjusted=True)
        assert [bar["c"] for bar in served] == list(demo.model_closes[row.instrument].values())
        assert all(bar["l"] <= min(bar["o"], bar["c"]) <= max(bar["o"], bar["c"]) <= bar["h"] for bar in served)


def test_an_option_is_worth_its_model_close_where_the_underlying_is_at_its_last_close(demo: Demo) -> None:
    contracts = option_chain.chains(demo.market, Calendar.named("XNYS"))
    curve = DayCurve(demo.market.par[LAST_DAY], LAST_DAY)
    for row in [row for row in demo.desk if row.kind == "OPTION"]:
        contract, bars = contracts[f"O:{row.instrument}"], demo.market.bars[row.underlying]
        by = option_chain.model(contract, option_chain.volatility(bars, LAST_DAY), curve)
        assert option_chain.values(contract, [bars[LAST_DAY].close], by) == [
            demo.model_closes[row.instrument][LAST_DAY]
        ]


def test_options_follow_their_underlying(feed: Feed) -> None:
    moments = [NOW + timedelta(minutes=30 * n) for n in range(20)]
    by_spot = sorted(
        (call["underlying_asset"]["price"], call["last_trade"]["price"], put["last_trade"]["price"])
        for call, put in (
            (quoted(feed, "O:AAPL251219C00240000", now), quoted(feed, "O:AAPL251219P00240000", now)) for now in moments
        )
    )
    assert [call for _, call, _ in by_spot] == sorted(call for _, call, _ in by_spot)
    assert [put for _, _, put in by_spot] == sorted((put for _, _, put in by_spot), reverse=True)


def test_every_contract_of_every_chain_has_a_plausible_quote(feed: Feed) -> None:
    moment = feed.at(NOW)
    items = [moment.v3_item(ticker) for ticker in feed.tickers() if ticker.startswith("O:")]
    assert len(items) > 1000
    for item in items:
        bid, ask, last = item["last_quote"]["bid"], item["last_quote"]["ask"], item["last_trade"]["price"]
        assert 0 <= bid < last < ask
        assert item["session"]["low"] <= last <= item["session"]["high"]


# --- history ---------------------------------------------------------------------------------------------------------


def test_bars_of_stocks_and_coins_are_the_shipped_ones(feed: Feed, demo: Demo) -> None:
    for ticker, symbol in (("AAPL", "AAPL"), ("X:BTCUSD", "BTCUSD"), ("QQQ", "QQQ")):
        served = feed.bars(ticker, FIRST_DAY, LAST_DAY, is_adjusted=True)
        assert [(bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]) for bar in served] == [
            tuple(bar) for bar in demo.market.bars[symbol].values()
        ]


def test_a_split_is_taken_out_of_the_history_unless_it_is_wanted_as_traded(feed: Feed) -> None:
    days = (date(2025, 6, 9), date(2025, 6, 10))
    before, after = feed.bars("ORLY", *days, is_adjusted=True)
    assert abs(after["c"] / before["c"] - 1) < 0.05
    before, after = feed.bars("ORLY", *days, is_adjusted=False)
    assert after["c"] / before["c"] < 0.1


def test_a_day_has_every_stock_and_proxy_at_once(feed: Feed) -> None:
    names = {bar["T"] for bar in feed.grouped(LAST_DAY, is_adjusted=True)}
    assert len(names) == 110
    assert {"AAPL", "QQQ", "PXMKT", "PXTSY"} <= names
    assert feed.grouped(date(2025, 10, 25), is_adjusted=True) == []
    assert feed.grouped(date(2026, 3, 4), is_adjusted=True) == []


def test_what_has_no_history_has_no_bars(feed: Feed) -> None:
    for ticker in ("C:EURUSD", "C:XAUUSD", "SPY", "ZNEWCO", "BTCUSD", "X:AAPL"):
        assert feed.bars(ticker, FIRST_DAY, LAST_DAY, is_adjusted=True) == []
