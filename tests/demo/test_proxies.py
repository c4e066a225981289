from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from position_server.demo.build import Demo
from position_server.demo.proxies import PROXIES, proxy_bars
from position_server.demo.sources import Bar, Market
from position_server.demo.splits import SPLITS, adjusted

Bars = dict[str, dict[date, Bar]]
ETFS = {"VUG", "VTV", "MTUM", "QUAL", "IWM", "SPY", "USMV", "TLT"}
ORLY_SPLIT = SPLITS["ORLY"][0]


@pytest.fixture(scope="module")
def market(demo: Demo) -> Market:
    return demo.market


@pytest.fixture(scope="module")
def bars(market: Market) -> Bars:
    return proxy_bars(market)


def without_days_after(market: Market, last: date) -> Market:
    kept = {symbol: {day: bar for day, bar in days.items() if day <= last} for symbol, days in market.bars.items()}
    return replace(market, bars=kept, par={day: rates for day, rates in market.par.items() if day <= last})


def test_each_factor_etf_has_a_proxy_whose_name_is_no_ticker_of_the_desk(market: Market) -> None:
    assert {proxy.stands_for for proxy in PROXIES} == ETFS
    symbols = {proxy.symbol for proxy in PROXIES}
    assert len(symbols) == len(PROXIES)
    assert not symbols & (ETFS | set(market.bars))
    assert all(symbol.startswith("PX") and len(symbol) == 5 for symbol in symbols)


def test_levels_begin_at_100_and_last_to_the_end(bars: Bars) -> None:
    for days in bars.values():
        assert days[min(days)].close == 100
        assert max(days) == date(2025, 10, 30)
    assert min(bars["PXMKT"]) == min(bars["PXTSY"]) == date(2025, 6, 2)
    assert {min(bars[name]) for name in bars.keys() - {"PXMKT", "PXTSY"}} == {date(2025, 7, 2)}
    assert {len(days) for days in bars.values()} == {106, 85}  # over the 60 that a regression needs


def test_the_market_s_return_is_the_mean_of_the_stocks_returns(market: Market, bars: Bars) -> None:
    before, day = date(2025, 9, 9), date(2025, 9, 10)
    stocks = [days for symbol, days in market.bars.items() if symbol not in (*market.coins, "QQQ")]
    mean = np.mean([days[day].close / days[before].close for days in stocks])
    level = bars["PXMKT"]
    assert level[day].close / level[before].close == pytest.approx(mean, rel=1e-6)


def test_a_split_moves_no_proxy(market: Market, bars: Bars) -> None:
    level = bars["PXMKT"]
    day_before = max(day for day in level if day < ORLY_SPLIT)
    assert abs(level[ORLY_SPLIT].close / level[day_before].close - 1) < 0.02
    orly = adjusted("ORLY", market.bars["ORLY"])
    assert abs(orly[ORLY_SPLIT].close / orly[day_before].close - 1) < 0.05
    assert orly[day_before].volume == 15 * market.bars["ORLY"][day_before].volume


def test_no_level_knows_the_days_after_it(market: Market, bars: Bars) -> None:
    last = date(2025, 8, 29)
    then = proxy_bars(without_days_after(market, last))
    assert then == {name: {day: bar for day, bar in days.items() if day <= last} for name, days in bars.items()}


def test_what_rose_most_before_is_what_momentum_holds(market: Market, bars: Bars) -> None:
    """The same choice, worked out the long way for one day."""
    days = sorted(bars["PXMKT"])
    row = days.index(date(2025, 10, 6))
    held_since, chosen_from, before, day = days[row - 1], days[row - 22], days[row - 1], days[row]
    assert held_since == before
    stocks = {s: adjusted(s, b) for s, b in market.bars.items() if s not in (*market.coins, "QQQ")}
    ranked = sorted(stocks, key=lambda s: stocks[s][before].close / stocks[s][chosen_from].close, reverse=True)
    top = ranked[: len(ranked) // 3]
    mean = np.mean([stocks[s][day].close / stocks[s][before].close for s in top])
    assert bars["PXMOM"][day].close / bars["PXMOM"][before].close == pytest.approx(mean, rel=1e-6)


def test_tilts_move_as_their_names_say(bars: Bars) -> None:
    def yearly_volatility(name: str) -> float:
        closes = np.array([bar.close for bar in bars[name].values()])
        return float(np.std(np.diff(np.log(closes))) * np.sqrt(252))

    assert yearly_volatility("PXLOV") < yearly_volatility("PXMKT") < yearly_volatility("PXHIV")
    assert yearly_volatility("PXTSY") < yearly_volatility("PXLOV")


def test_no_proxy_is_a_combination_of_the_others(bars: Bars) -> None:
    """A regression on all of them at once can be solved."""
    days = sorted(bars["PXMOM"])
    returns = np.array([np.diff(np.log([bars[name][day].close for day in days])) for name in bars])
    assert np.linalg.matrix_rank(returns) == len(bars)
    assert np.abs(np.corrcoef(returns) - np.eye(len(bars))).max() < 0.95


def test_the_treasury_proxy_earns_its_coupon_and_loses_when_rates_rise(market: Market, bars: Bars) -> None:
    before, day = date(2025, 9, 8), date(2025, 9, 9)
    old, new = (market.par[on][9] / 100 for on in (before, day))  # the 20-year rate
    flows = [(half / 2, old / 2 + (1 if half == 40 else 0)) for half in range(1, 41)]
    price = sum(flow / (1 + new / 2) ** (2 * years) for years, flow in flows)
    level = bars["PXTSY"]
    assert level[day].close / level[before].close == pytest.approx(price + old / 365.25, rel=1e-6)
    holiday, friday = date(2025, 10, 13), date(2025, 10, 10)  # no curve on the holiday
    assert level[holiday].close / level[friday].close - 1 == pytest.approx(
        market.par[friday][9] / 100 * 3 / 365.25, rel=1e-3
    )


def test_a_bar_encloses_its_open_and_close(bars: Bars) -> None:
    assert all(bar.low <= min(bar.open, bar.close) for days in bars.values() for bar in days.values())
    assert all(bar.high >= max(bar.open, bar.close) for days in bars.values() for bar in days.values())
