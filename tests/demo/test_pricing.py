from __future__ import annotations

from datetime import date

import pytest

from position_server.business_days import Calendar
from position_server.demo.contracts import Contract, futures
from position_server.demo.pricing import BondDesk, DayCurve
from position_server.demo.sources import read_market

DAY = date(2025, 10, 30)
MARKET = read_market()
CURVE = DayCurve(MARKET.par[DAY], DAY)
DESK = BondDesk(MARKET.treasuries)


def test_bonds_settle_on_the_next_day_of_their_own_market():
    assert date(2025, 10, 14) == DayCurve(MARKET.par[date(2025, 10, 10)], date(2025, 10, 10)).settlement


def test_a_new_ten_year_note_trades_near_the_ten_year_yield():
    prices = dict(zip((bond.isin for bond in MARKET.treasuries), DESK.clean_prices(CURVE), strict=True))
    assert pytest.approx(101.1, abs=0.2) == prices["US91282CNT44"]  # 4.25 % August 2035 at about 4.11 %


def test_a_spread_lowers_the_price_by_about_the_duration():
    number = [bond.isin for bond in MARKET.treasuries].index("US91282CNT44")
    lower = DESK.clean_prices(CURVE, 10.0)[number] - DESK.clean_prices(CURVE)[number]
    assert pytest.approx(-0.81, abs=0.03) == lower


def test_short_rates_are_near_the_bill_yields():
    assert pytest.approx(0.0392, abs=0.001) == CURVE.money_market_rate(date(2026, 1, 30))
    assert CURVE.rate(date(2026, 1, 30)) < 0.0405


@pytest.mark.parametrize(
    ("symbol", "first", "last"),
    [
        ("ZTZ25", date(2027, 9, 30), date(2027, 12, 31)),
        ("ZFZ25", date(2030, 3, 31), date(2030, 9, 30)),
        ("ZNZ25", date(2032, 6, 30), date(2033, 11, 15)),
        ("TNZ25", date(2035, 5, 15), date(2035, 8, 15)),
        ("ZBZ25", date(2041, 2, 15), date(2050, 5, 15)),
        ("UBZ25", date(2051, 2, 15), date(2055, 8, 15)),
    ],
)
def test_baskets_hold_what_the_exchange_would_take(symbol: str, first: date, last: date):
    rows = DESK.deliverable(_contract(symbol), DAY)
    maturities = [bond.maturity for bond, fits in zip(MARKET.treasuries, rows, strict=True) if fits]
    assert (first, last) == (min(maturities), max(maturities))


def test_five_year_futures_take_no_note_that_was_issued_with_seven_years():
    rows = DESK.deliverable(_contract("ZFZ25"), DAY)
    assert {bond.term_years for bond, fits in zip(MARKET.treasuries, rows, strict=True) if fits} == {5}


def test_nothing_is_delivered_before_it_is_issued():
    early = date(2025, 8, 14)
    contract = _contract("TNH26")
    assert not DESK.deliverable(contract, early).any()
    assert DESK.future_price(contract, DayCurve(MARKET.par[early], early)) is None


def _contract(symbol: str) -> Contract:
    return next(c for c in futures(MARKET, Calendar.named("XNYS")) if c.symbol == symbol)
