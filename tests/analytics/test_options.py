"""Black-Scholes against QuantLib and parity, and the volatility of closes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given
from hypothesis import strategies as st

from position_server.analytics.options import black_scholes, realised_volatility


@pytest.mark.parametrize("right", ["C", "P"])
@pytest.mark.parametrize("strike", [60.0, 95.0, 100.0, 140.0])
@pytest.mark.parametrize("dividend_yield", [0.0, 0.03])
def test_values_are_quantlibs(right: str, strike: float, dividend_yield: float) -> None:
    years, rate, volatility = 0.75, 0.04, 0.3
    forward = 100 * math.exp((rate - dividend_yield) * years)
    kind = ql.Option.Call if right == "C" else ql.Option.Put
    expected = ql.blackFormula(kind, strike, forward, volatility * math.sqrt(years), math.exp(-rate * years))
    found = black_scholes(right, 100.0, strike, years, rate, volatility, dividend_yield)
    assert found[0] == pytest.approx(expected, abs=1e-9)


@given(
    spot=st.floats(1, 1000), strike=st.floats(1, 1000), years=st.floats(0, 5), rate=st.floats(-0.02, 0.1),
    volatility=st.floats(0, 2),
)  # fmt: skip
def test_a_call_less_a_put_is_a_forward(
    spot: float, strike: float, years: float, rate: float, volatility: float
) -> None:
    call, put = black_scholes(["C", "P"], spot, strike, years, rate, volatility)
    assert call - put == pytest.approx(spot - strike * math.exp(-rate * years), abs=1e-9)
    assert min(call, put) >= -1e-9


def test_at_expiry_an_option_is_worth_its_exercise() -> None:
    assert black_scholes(["C", "C", "P", "P"], 100.0, [90.0, 110.0, 90.0, 110.0], 0.0, 0.04, 0.3).tolist() == [
        10.0,
        0.0,
        0.0,
        10.0,
    ]


def test_what_cannot_be_known_is_nan() -> None:
    found = black_scholes(["C", "X", "C", "C", "C"], [np.nan, 100, -1, 100, 100], 100, [1, 1, 1, -1, 1], 0.04, 0.3)
    assert np.isnan(found).tolist() == [True, True, True, True, False]


def test_realised_volatility_is_the_yearly_root_mean_square_of_log_returns() -> None:
    closes = [100.0, 101.0, 99.0, 99.0]
    squares = [math.log(101 / 100) ** 2, math.log(99 / 101) ** 2, 0.0]
    assert realised_volatility(closes) == pytest.approx(math.sqrt(252 * sum(squares) / 3))


@pytest.mark.parametrize("closes", [[], [100.0], [100.0, math.nan], [100.0, -1.0]])
def test_too_few_or_broken_closes_have_no_volatility(closes: list[float]) -> None:
    assert math.isnan(realised_volatility(closes))
