from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.demo.holdings import Holding, Trade, after, traded

QUANTITIES = st.integers(-1000, 1000).filter(bool).map(float)
PRICES = st.floats(1, 1000)


def test_the_first_trade_is_the_holding():
    assert Holding(100.0, 12.5) == traded(None, 100.0, 12.5)


def test_adding_averages_the_price_by_quantity():
    assert Holding(400.0, 11.5) == traded(Holding(100.0, 10.0), 300.0, 12.0)


def test_reducing_keeps_the_entry_price():
    assert Holding(40.0, 10.0) == traded(Holding(100.0, 10.0), -60.0, 15.0)


def test_crossing_zero_starts_again_at_the_price_of_the_trade():
    assert Holding(-50.0, 15.0) == traded(Holding(100.0, 10.0), -150.0, 15.0)


def test_a_short_position_averages_like_a_long_one():
    assert Holding(-400.0, 11.5) == traded(Holding(-100.0, 10.0), -300.0, 12.0)


def test_nothing_is_left_of_a_position_that_is_sold_out():
    holdings = {"AAPL": Holding(100.0, 10.0), "MSFT": Holding(5.0, 1.0)}
    assert {"MSFT": Holding(5.0, 1.0)} == after(holdings, [_trade("AAPL", "SELL", 100.0)])


@given(st.lists(st.tuples(QUANTITIES, PRICES), min_size=1, max_size=20))
def test_quantities_add_up_and_the_entry_price_stays_within_the_prices_paid(fills: list[tuple[float, float]]):
    holding = None
    for quantity, price in fills:
        holding = traded(holding, quantity, price)
    assert (holding.quantity if holding else 0.0) == sum(quantity for quantity, _ in fills)
    if holding is not None:
        prices = [price for _, price in fills]
        assert min(prices) - 1e-9 <= holding.entry_price <= max(prices) + 1e-9


@pytest.mark.parametrize(("side", "signed"), [("BUY", 7.0), ("SELL", -7.0)])
def test_the_side_is_the_sign_of_the_quantity(side: str, signed: float):
    assert signed == _trade("AAPL", side, 7.0).signed_quantity


def _trade(instrument: str, side: str, quantity: float) -> Trade:
    at = datetime(2025, 10, 30, 15, tzinfo=UTC)
    return Trade("T1", date(2025, 10, 30), at, "CUPS", instrument, side, quantity, 11.0)
