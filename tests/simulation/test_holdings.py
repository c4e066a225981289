"""Shares and cents: what trades, costs and splits do to an account, and what never happens to one."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.simulation.holdings import Account, Costs, Holding, Refused, rounded, total_of

PRICE = st.integers(1, 5_000_000_000)  # up to 5,000.00
AMOUNT = st.integers(1, 10_000)
COSTS = st.builds(
    Costs,
    st.decimals(0, 20, places=2),
    st.decimals(0, 1, places=3),
    st.decimals(0, 50, places=1),
)
ORDERS = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.sampled_from(["A", "B"]), AMOUNT, PRICE), max_size=30)


def micros(price: str) -> int:
    return int(Decimal(price) * 1_000_000)


def test_a_buy_takes_amount_times_price_from_the_cash() -> None:
    account = Account(100_000)
    trade = account.buy("A", 3, micros("201.35"))
    assert (trade.total_cents, trade.costs_cents, account.cash_cents) == (60_405, 0, 39_595)
    assert account.holdings == {"A": Holding(3, 60_405)}


def test_costs_are_paid_on_top_of_a_buy_and_out_of_a_sale() -> None:
    account = Account(100_000, costs=Costs(Decimal("1.00"), Decimal("0.01"), Decimal(10)))
    bought = account.buy("A", 10, micros("50"))
    sold = account.sell("A", 10, micros("50"))
    assert (bought.costs_cents, bought.total_cents) == (160, 50_160)
    assert (sold.costs_cents, sold.total_cents) == (160, 49_840)
    assert account.cash_cents == 100_000 - 320


def test_a_sale_keeps_the_average_cost_of_what_is_left() -> None:
    account = Account(1_000_000)
    account.buy("A", 1, micros("100"))
    account.buy("A", 3, micros("200"))
    account.sell("A", 2, micros("500"))
    assert account.holdings["A"] == Holding(2, 35_000)


def test_what_is_sold_whole_is_gone() -> None:
    account = Account(100_000)
    account.buy("A", 2, micros("100"))
    account.sell("A", 2, micros("101"))
    assert account.holdings == {}
    assert account.cash_cents == 100_200


def test_a_split_multiplies_the_shares_and_leaves_their_cost() -> None:
    account = Account(0, {"A": Holding(7, 943_670)})
    account.split("A", 15)
    account.split("B", 2)
    assert account.holdings == {"A": Holding(105, 943_670)}


@pytest.mark.parametrize("amount", [0, -1, 1.5, True, "3", None])
def test_an_amount_that_is_no_whole_number_above_zero_is_refused(amount: object) -> None:
    account = Account(100_000, {"A": Holding(10, 1)})
    for order in (account.buy, account.sell):
        with pytest.raises(Refused, match="whole number"):
            order("A", amount, micros("1"))  # type: ignore[arg-type]


def test_more_than_the_cash_buys_is_refused_and_changes_nothing() -> None:
    account = Account(10_000)
    with pytest.raises(Refused, match=r"cost 100\.01; there are 100\.00"):
        account.buy("A", 1, micros("100.01"))
    assert (account.cash_cents, account.holdings, account.trades) == (10_000, {}, [])


def test_more_than_is_held_is_refused_unless_shorts_are_allowed() -> None:
    with pytest.raises(Refused, match="0 A are held"):
        Account(10_000).sell("A", 1, micros("100"))
    short = Account(10_000, allow_short=True)
    short.sell("A", 2, micros("100"))
    assert (short.cash_cents, short.holdings["A"]) == (30_000, Holding(-2, -20_000))
    short.buy("A", 3, micros("90"))
    assert (short.cash_cents, short.holdings["A"]) == (3_000, Holding(1, 9_000))


def test_costs_that_exceed_cash_and_proceeds_are_refused() -> None:
    account = Account(50, {"A": Holding(1, 100)}, costs=Costs(per_trade=Decimal(5)))
    with pytest.raises(Refused, match="exceed the cash"):
        account.sell("A", 1, micros("1"))


def test_a_holding_without_a_price_is_named() -> None:
    with pytest.raises(ValueError, match="no price is known of B"):
        Account(0, {"A": Holding(1, 1), "B": Holding(1, 1)}).value_cents({"A": 1})


@given(st.integers(-(10**18), 10**18), st.integers(1, 10**9))
def test_rounding_is_half_to_even(numerator: int, denominator: int) -> None:
    expected = round(Fraction(numerator, denominator))
    assert rounded(numerator, denominator) == expected


@given(COSTS, AMOUNT, PRICE)
def test_costs_are_those_of_decimal_arithmetic(costs: Costs, amount: int, price: int) -> None:
    traded = Decimal(amount) * Decimal(price) / 1_000_000
    exact = costs.per_trade + costs.per_share * amount + traded * costs.bps / 10_000
    assert costs.cents(amount, price) == int((exact * 100).quantize(Decimal(1), ROUND_HALF_EVEN))


@given(st.integers(0, 10**9), AMOUNT, PRICE, COSTS)
def test_what_is_affordable_can_be_bought_and_one_more_cannot(cash: int, wanted: int, price: int, costs: Costs) -> None:
    amount = Account(cash, costs=costs).affordable(wanted, price)
    assert 0 <= amount <= wanted
    if amount:
        assert Account(cash, costs=costs).buy("A", amount, price)
    if amount < wanted:
        with pytest.raises(Refused):
            Account(cash, costs=costs).buy("A", amount + 1, price)


@given(ORDERS, COSTS, st.booleans())
def test_cash_is_never_negative_and_reconciles_with_the_trades(
    orders: list[tuple[str, str, int, int]], costs: Costs, allow_short: bool
) -> None:
    account = Account(10_000_000, costs=costs, allow_short=allow_short)
    held: dict[str, int] = {}
    for action, symbol, amount, price in orders:
        try:
            getattr(account, action)(symbol, amount, price)
        except Refused:
            continue
        held[symbol] = held.get(symbol, 0) + (amount if action == "buy" else -amount)
        assert account.cash_cents >= 0
    assert account.cash_cents == 10_000_000 + total_of(account.trades)
    assert {name: one.quantity for name, one in account.holdings.items()} == {n: q for n, q in held.items() if q}
    assert allow_short or all(one.quantity > 0 for one in account.holdings.values())
    assert [trade.sequence for trade in account.trades] == list(range(1, len(account.trades) + 1))
