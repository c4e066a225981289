from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.analytics import factors as module
from position_server.analytics.factors import FLAGS, FactorFits, fit_factors
from position_server.analytics.returns import DailyReturns, daily_returns, split_like

Floats = npt.NDArray[np.float64]
DAYS, FACTORS, SYMBOLS, MARKET = 252, 8, 500, 5


def market(days: int = DAYS, symbols: int = SYMBOLS, seed: int = 1) -> tuple[Floats, Floats]:
    """Returns of factors, correlated as factors are, and of symbols that follow them."""
    dice = np.random.default_rng(seed)
    common = dice.normal(0, 0.01, (days, 1))
    factors = common + dice.normal(0, 0.004, (days, FACTORS))
    betas = dice.normal(0.1, 0.4, (FACTORS, symbols))
    return factors, 0.0002 + factors @ betas + dice.normal(0, 0.015, (days, symbols))


def returns(values: Floats) -> DailyReturns:
    return DailyReturns(values, np.zeros(values.shape, np.bool_))


def flags_of(fits: FactorFits, column: int = 0) -> list[str]:
    return [name for name in FLAGS if fits.flags[name][column]]


def reference(values: Floats, factors: Floats) -> tuple[Any, Any]:
    """statsmodels' fits of one symbol: on all factors, and on the market alone."""
    import statsmodels.api as sm  # here: it takes two seconds, of every worker that collects the tests

    rows = ~np.isnan(values)
    whole = sm.OLS(values[rows], sm.add_constant(factors[rows])).fit()
    return whole, sm.OLS(values[rows], sm.add_constant(factors[rows][:, MARKET])).fit()


def test_500_symbols_on_8_factors_over_252_days_agree_with_statsmodels() -> None:
    factors, values = market()
    fits = fit_factors(returns(values), factors, MARKET)
    for column in range(SYMBOLS):
        whole, alone = reference(values[:, column], factors)
        np.testing.assert_allclose(fits.betas[column], whole.params[1:], rtol=0, atol=1e-9)
        assert fits.r_squared[column] == pytest.approx(whole.rsquared, abs=1e-9)
        assert fits.market_beta[column] == pytest.approx(alone.params[1], abs=1e-9)
        assert fits.observations[column] == whole.nobs
    assert not any(flags.any() for flags in fits.flags.values())


def test_complete_windows_take_one_call_of_linear_algebra() -> None:
    factors, values = market()
    with patch.object(module.np.linalg, "lstsq", wraps=np.linalg.lstsq) as lstsq:
        fit_factors(returns(values), factors, MARKET)
    assert lstsq.call_count == 1


def test_symbols_with_gaps_are_fitted_on_their_own_days_and_flagged() -> None:
    factors, values = market(symbols=20)
    holes = np.random.default_rng(2).random((DAYS, 6)) < 0.1
    values[:, :6][holes] = np.nan
    values[:, 6] = values[:, 7]  # two symbols of one group, one with a gap in the same places
    values[100:110, 6:8] = np.nan
    fits = fit_factors(returns(values), factors, MARKET)
    for column in range(20):
        whole, alone = reference(values[:, column], factors)
        np.testing.assert_allclose(fits.betas[column], whole.params[1:], rtol=0, atol=1e-9)
        assert fits.market_beta[column] == pytest.approx(alone.params[1], abs=1e-9)
        assert fits.observations[column] == whole.nobs
        assert flags_of(fits, column) == (["gaps"] if column < 8 else [])


def test_a_day_without_one_factor_is_everybody_s_gap() -> None:
    factors, values = market(symbols=2)
    factors[100, 0] = np.nan
    values[:150, 1] = np.nan
    fits = fit_factors(returns(values), factors, MARKET)
    assert (fits.observations.tolist(), flags_of(fits, 0), flags_of(fits, 1)) == ([DAYS - 1, DAYS - 150], ["gaps"], [])


def test_days_before_the_youngest_factor_are_nobody_s_gap() -> None:
    factors, values = market(symbols=2)
    factors[:20, 0] = np.nan  # a factor that is younger than the others
    fits = fit_factors(returns(values), factors, MARKET)
    whole, _ = reference(values[20:, 0], factors[20:])
    np.testing.assert_allclose(fits.betas[0], whole.params[1:], rtol=0, atol=1e-9)
    assert (fits.observations[0], flags_of(fits)) == (DAYS - 20, [])


def test_a_symbol_with_under_60_returns_has_no_betas_and_says_so() -> None:
    factors, values = market(symbols=2)
    values[:-59, 0] = np.nan
    values[:-60, 1] = np.nan
    fits = fit_factors(returns(values), factors, MARKET)
    assert np.isnan(fits.betas[0]).all()
    assert np.isnan([fits.r_squared[0], fits.market_beta[0]]).all()
    assert (flags_of(fits, 0), fits.observations[0]) == (["too_little_history"], 59)
    assert not np.isnan(fits.betas[1]).any()
    assert flags_of(fits, 1) == []  # new, but without a gap since its first day


@pytest.mark.parametrize("daily", [0.0, 0.0001])
def test_a_price_that_never_moves_has_no_betas_and_says_so(daily: float) -> None:
    factors, values = market(symbols=2)
    values[:, 0] = daily
    fits = fit_factors(returns(values), factors, MARKET)
    assert np.isnan(fits.betas[0]).all()
    assert flags_of(fits) == ["constant_price"]
    assert not np.isnan(fits.betas[1]).any()


def test_factors_that_repeat_each_other_are_flagged_instead_of_shared_out() -> None:
    factors, values = market(symbols=2)
    factors[:, 1] = 2 * factors[:, 0]
    fits = fit_factors(returns(values), factors, MARKET)
    assert np.isnan(fits.betas).all()
    assert flags_of(fits) == ["dependent_factors"]


def test_a_split_is_left_out_of_the_fit_and_flagged() -> None:
    factors, values = market(symbols=2)
    closes = 100 * np.cumprod(np.vstack([np.zeros(2), values]) + 1, axis=0)
    closes[150:, 0] /= 15
    fits = fit_factors(daily_returns(closes), factors, MARKET)
    values[149, 0] = np.nan
    whole, _ = reference(values[:, 0], factors)
    np.testing.assert_allclose(fits.betas[0], whole.params[1:], rtol=0, atol=1e-9)
    assert (flags_of(fits, 0), fits.observations[0]) == (["jump"], DAYS - 1)
    assert flags_of(fits, 1) == []


@pytest.mark.parametrize("ratio", [1 / 15, 1 / 2, 1 / 3, 1 / 1.5, 10.0, 1 / 15.3])
def test_what_looks_like_a_split_is_a_jump(ratio: float) -> None:
    assert split_like(np.array([ratio])).all()


@pytest.mark.parametrize("moved", [-0.358, -0.386, 0.289, 0.237])
def test_what_stocks_really_did_in_a_day_is_no_jump(moved: float) -> None:
    """Synopsys, The Trade Desk, Warner Bros. Discovery and AMD in 2025."""
    assert not split_like(np.array([1 + moved])).any()


def test_a_return_needs_two_prices_above_zero() -> None:
    closes = np.array([[100.0], [110.0], [np.nan], [121.0], [0.0], [100.0], [101.0]])
    values = daily_returns(closes).values[:, 0]
    np.testing.assert_allclose(values, [0.1, np.nan, np.nan, np.nan, np.nan, 0.01], rtol=1e-12)


def test_nothing_to_fit_is_an_empty_answer() -> None:
    factors, values = market()
    assert fit_factors(returns(values[:, :0]), factors, MARKET).betas.shape == (0, FACTORS)
    alone = fit_factors(returns(values[:0]), factors[:0], MARKET)
    assert flags_of(alone) == ["too_little_history"]


@given(seed=st.integers(0, 2**32 - 1), days=st.integers(60, 120), holes=st.floats(0, 0.3))
@settings(max_examples=25)
def test_what_is_explained_and_what_is_left_are_apart(seed: int, days: int, holes: float) -> None:
    """Residuals of least squares have no mean and no product with a factor, whatever the gaps."""
    factors, values = market(days, 3, seed)
    values[np.random.default_rng(seed).random(values.shape) < holes] = np.nan
    fits = fit_factors(returns(values), factors, MARKET)
    for column in range(3):
        rows = ~np.isnan(values[:, column])
        if flags_of(fits, column) in ([], ["gaps"]):
            left = values[rows, column] - factors[rows] @ fits.betas[column]
            left -= left.mean()
            assert np.abs(factors[rows].T @ left).max() < 1e-12
            assert 0 <= fits.r_squared[column] <= 1
        else:
            assert fits.observations[column] < 60
