"""Minimum variance: the shrinkage against its definition, the weights against a general optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from position_server.analytics.minimum_variance import Array, long_only_weights, shrunk_covariance


def returns(seed: int, periods: int, assets: int) -> Array:
    dice = np.random.default_rng(seed)
    common = dice.normal(0, 0.01, (periods, 1)) * dice.uniform(0.2, 1.5, assets)
    return common + dice.normal(0, 1, (periods, assets)) * dice.uniform(0.005, 0.03, assets)


def test_the_shrinkage_is_that_of_its_definition() -> None:
    """Ledoit and Wolf (2004), written out period by period as the paper has it."""
    sample = returns(1, 40, 5)
    centred = sample - sample.mean(axis=0)
    covariance = sum(np.outer(row, row) for row in centred) / 40
    m = np.trace(covariance) / 5
    d2 = np.linalg.norm(covariance - m * np.eye(5)) ** 2 / 5
    b2 = sum(np.linalg.norm(np.outer(row, row) - covariance) ** 2 / 5 for row in centred) / 40**2
    weight = min(b2, d2) / d2
    expected = weight * m * np.eye(5) + (1 - weight) * covariance
    assert np.allclose(shrunk_covariance(sample), expected, rtol=1e-12, atol=0)
    assert 0 < weight < 1


def test_fewer_periods_than_assets_still_give_a_covariance_that_can_be_inverted() -> None:
    assert np.linalg.eigvalsh(shrunk_covariance(returns(2, 20, 101))).min() > 0


@pytest.mark.parametrize("sample", [np.zeros((10, 3)), np.ones((1, 3))])
def test_returns_without_variance_or_of_one_period_are_refused(sample: Array) -> None:
    with pytest.raises(ValueError, match=r"varies|two periods"):
        shrunk_covariance(sample)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
def test_weights_are_those_of_a_general_optimiser(seed: int, assets: int) -> None:
    covariance = shrunk_covariance(returns(seed, 60, assets))
    weights = long_only_weights(covariance)
    general = minimize(
        lambda w: w @ covariance @ w * 1e4,
        np.full(assets, 1 / assets),
        jac=lambda w: 2e4 * covariance @ w,
        bounds=[(0, 1)] * assets,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert weights == pytest.approx(general.x, abs=1e-4)
    assert weights @ covariance @ weights <= general.x @ covariance @ general.x * (1 + 1e-9)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_no_weight_can_be_moved_to_less_variance(seed: int, assets: int) -> None:
    """The optimality conditions: held assets have the portfolio's covariance with it, the others at least that."""
    covariance = shrunk_covariance(returns(seed, 30, assets))
    weights = long_only_weights(covariance)
    assert weights.sum() == pytest.approx(1)
    assert weights.min() >= 0
    marginal, variance = covariance @ weights, weights @ covariance @ weights
    assert marginal[weights > 0] == pytest.approx(variance, rel=1e-8)
    assert (marginal >= variance * (1 - 1e-8)).all()
