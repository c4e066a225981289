"""The figures of a range against empyrical-reloaded, and where they have no meaning."""

from __future__ import annotations

import math
from dataclasses import astuple

import empyrical
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.simulation.figures import figures

RETURNS = st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=300).filter(lambda found: np.std(found) > 1e-6)


@settings(max_examples=60)
@given(returns=RETURNS)
def test_figures_are_those_of_an_independent_library(returns: list[float]) -> None:
    found, given_returns = figures(returns), np.array(returns)
    expected = (
        empyrical.cum_returns_final(given_returns) * 100,
        empyrical.annual_return(given_returns) * 100,
        empyrical.annual_volatility(given_returns) * 100,
        empyrical.sharpe_ratio(given_returns),
        empyrical.max_drawdown(given_returns) * 100,
    )
    assert astuple(found) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_one_day_has_a_return_and_no_more() -> None:
    found = figures([-0.01])
    assert found.period_return_pct == pytest.approx(-1)
    assert found.max_drawdown_pct == pytest.approx(-1)
    assert (found.annualised_return_pct, found.volatility_pct, found.sharpe_ratio) == (None, None, None)


def test_without_volatility_there_is_no_sharpe_ratio() -> None:
    assert figures([0.0] * 5).sharpe_ratio is None
    assert figures([0.001] * 5).sharpe_ratio is None


def test_the_start_counts_as_a_peak() -> None:
    assert figures([-0.1, -0.1, 0.5]).max_drawdown_pct == pytest.approx(-19)


def test_a_portfolio_that_lost_everything_has_lost_everything_a_year() -> None:
    found = figures([0.1, -1.0])
    assert found.annualised_return_pct == -100
    assert math.isclose(found.max_drawdown_pct, -100)
