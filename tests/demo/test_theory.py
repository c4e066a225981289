from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from position_server.business_days import Calendar
from position_server.demo.build import LAST_DAY, MODEL_FROM, Demo
from position_server.demo.contracts import futures
from position_server.demo.sources import Market
from position_server.demo.theory import theory

XNYS = Calendar.named("XNYS")


@pytest.mark.parametrize(
    ("contract", "low", "high"),
    [
        ("ZNZ25", 112, 113.5),
        ("ZTZ25", 103.8, 104.5),
        ("ZFZ25", 108.8, 109.8),
        ("ZBZ25", 116.5, 119),
        ("UBZ25", 120, 123),
    ],
)
def test_treasury_futures_are_where_the_market_was(demo: Demo, contract: str, low: float, high: float):
    assert low <= demo.model_closes[contract][LAST_DAY] <= high


@pytest.mark.parametrize(
    ("contract", "pair", "inverse"),
    [("6EZ25", "EURUSD", False), ("6BZ25", "GBPUSD", False), ("6JZ25", "USDJPY", True), ("6SZ25", "USDCHF", True),
     ("6CZ25", "USDCAD", True), ("6AZ25", "AUDUSD", False), ("6MZ25", "USDMXN", True)],
)  # fmt: skip
def test_currency_futures_are_near_spot_in_dollars_per_unit(demo: Demo, contract: str, pair: str, inverse: bool):
    for day in (date(2025, 9, 30), LAST_DAY):
        rate = demo.market.fx[day][pair]
        assert demo.model_closes[contract][day] == pytest.approx(1 / rate if inverse else rate, rel=0.015)


def test_currencies_with_low_rates_are_dearer_forward_and_those_with_high_rates_cheaper(demo: Demo):
    closes = {name: values[LAST_DAY] for name, values in demo.model_closes.items() if len(name) == 5}
    assert closes["6JZ25"] < closes["6JH26"] < closes["6JM26"]
    assert closes["6MZ25"] > closes["6MH26"] > closes["6MM26"]


def test_coin_futures_carry_a_little_over_their_coin(demo: Demo):
    spot = demo.market.bars["BTCUSD"][LAST_DAY].close
    assert spot - 5 <= demo.model_closes["MBTV25"][LAST_DAY] < demo.model_closes["MBTF26"][LAST_DAY] < spot * 1.02


def test_closes_are_on_their_tick(demo: Demo):
    ticks = {row.instrument: row.tick_size for row in demo.desk if row.kind in ("FUTURE", "OPTION")}
    for name, tick in ticks.items():
        steps = [close / tick for close in demo.model_closes[name].values()]
        assert all(step == pytest.approx(round(step), abs=1e-6) for step in steps), name


def test_every_future_and_option_has_a_close_on_every_day(demo: Demo):
    days = set(XNYS.between(MODEL_FROM, LAST_DAY))
    names = [row.instrument for row in demo.desk if row.kind in ("FUTURE", "OPTION")]
    assert all(set(demo.model_closes[name]) == days for name in names)


def test_about_a_quarter_of_the_bonds_have_a_dealers_close_and_the_others_none(demo: Demo):
    dealt = [bond.isin for bond in demo.market.treasuries if bond.isin in demo.model_closes]
    assert len(dealt) == 26


def test_options_are_worth_at_least_what_exercise_at_the_forward_gives(demo: Demo):
    bars = demo.market.bars
    for row in demo.desk:
        if row.kind == "OPTION" and row.strike is not None:
            spot = bars[row.underlying][LAST_DAY].close
            intrinsic = max(0.0, spot - row.strike if row.right == "C" else 0.98 * row.strike - spot)
            assert demo.model_closes[row.instrument][LAST_DAY] >= intrinsic - 0.01


def test_no_close_depends_on_a_later_day(demo: Demo):
    cut = date(2025, 10, 10)
    days = XNYS.between(cut - timedelta(days=4), cut)
    known = _until(demo.market, cut)
    early = theory(known, futures(known, XNYS), demo.desk, days)
    for name in ("ZNZ25", "6EZ25", "MBTX25", "AAPL251121C00240000"):
        assert early.closes[name] == {day: demo.model_closes[name][day] for day in days}


def _until(market: Market, last: date) -> Market:
    """The market as it was known on that day."""
    return replace(
        market,
        par={day: rates for day, rates in market.par.items() if day <= last},
        fx={day: rates for day, rates in market.fx.items() if day <= last},
        bars={name: {day: bar for day, bar in bars.items() if day <= last} for name, bars in market.bars.items()},
        policy_rates=tuple(rate for rate in market.policy_rates if rate[1] <= last),
        treasuries=tuple(bond for bond in market.treasuries if bond.is_issued(last)),
    )
