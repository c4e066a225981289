from __future__ import annotations

from datetime import date

import pytest

from position_server.business_days import Calendar
from position_server.demo.contracts import futures, nth_weekday, occ_symbol, option_expiry
from position_server.demo.sources import read_market

XNYS = Calendar.named("XNYS")


@pytest.mark.parametrize(
    ("symbol", "expiry"),
    [
        ("ZNZ25", date(2025, 12, 19)),  # seventh business day before the last of the month
        ("ZTZ25", date(2025, 12, 31)),  # last business day of the month
        ("6EZ25", date(2025, 12, 15)),  # second business day before the third Wednesday
        ("6CZ25", date(2025, 12, 16)),  # the one before it
        ("MBTV25", date(2025, 10, 31)),  # last Friday
        ("METF26", date(2026, 1, 30)),
    ],
)
def test_a_future_stops_trading_on_its_exchange_day(symbol: str, expiry: date):
    known = {contract.symbol: contract.expiry for contract in futures(read_market(), XNYS)}
    assert expiry == known[symbol]


@pytest.mark.parametrize(
    ("month", "expiry"),
    [((2025, 11), date(2025, 11, 21)), ((2025, 12), date(2025, 12, 19)), ((2026, 1), date(2026, 1, 16))],
)
def test_options_expire_on_the_third_friday(month: tuple[int, int], expiry: date):
    assert expiry == option_expiry(*month, XNYS)


def test_an_option_on_a_friday_that_is_a_holiday_expires_the_day_before():
    assert date(2014, 4, 17) == option_expiry(2014, 4, XNYS)  # Good Friday 2014-04-18


def test_occ_symbols_carry_date_right_and_strike_in_thousandths():
    assert occ_symbol("AAPL", date(2025, 11, 21), "C", 250.0) == "AAPL251121C00250000"
    assert occ_symbol("PLTR", date(2025, 12, 19), "P", 147.5) == "PLTR251219P00147500"


def test_the_first_weekday_may_be_the_first_of_the_month():
    assert date(2025, 10, 1) == nth_weekday(2025, 10, 2, 1)
