"""Discount curves: par bonds are worth par, and bumps move what they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from position_server.analytics.curves import bootstrap, down_bumps, shifted

TENORS = ("1M", "3M", "6M", "1Y", "2Y", "3Y", "5Y", "7Y", "10Y", "20Y", "30Y")
YEARS = np.array([1 / 12, 0.25, 0.5, 1, 2, 3, 5, 7, 10, 20, 30])
RATES = np.array([4.06, 3.89, 3.81, 3.66, 3.58, 3.58, 3.69, 3.87, 4.11, 4.65, 4.67]) / 100


@given(st.floats(0, 0.1), st.lists(st.floats(-0.01, 0.01), min_size=11, max_size=11))
def test_every_half_yearly_par_bond_is_worth_par(level: float, shape: list[float]) -> None:
    rates = level + np.array(shape)
    curve = bootstrap(YEARS, rates)
    assume(np.isfinite(curve.log_discounts).all())  # 9 % to 20 years and 10 % to 30 has no positive discount factors
    for years in (0.5, 1.0, 4.5, 10.0, 27.5, 30.0):
        coupon = np.interp(years, YEARS, rates)
        times = np.arange(1, round(2 * years) + 1) / 2
        discounts = curve.discount(times)
        assert coupon / 2 * discounts.sum() + discounts[-1] == pytest.approx(1, abs=1e-12)


def test_a_flat_curve_discounts_at_its_rate() -> None:
    curve = bootstrap([1, 10], [0.04, 0.04])
    years = np.array([0.5, 1.0, 7.25, 30.0, 35.0])
    np.testing.assert_allclose(curve.discount(years), 1.02 ** (-2 * years), rtol=1e-12)
    np.testing.assert_allclose(curve.zero_rate(years), 2 * np.log(1.02), rtol=1e-12)


def test_tenors_below_six_months_are_simple_interest() -> None:
    curve = bootstrap(YEARS, RATES)
    np.testing.assert_allclose(curve.discount(YEARS[:3]), 1 / (1 + RATES[:3] * YEARS[:3]), rtol=1e-15)
    assert curve.discount(0.0) == 1


def test_between_nodes_discount_factors_are_log_linear() -> None:
    curve = bootstrap(YEARS, RATES)
    halfway = np.sqrt(curve.discount(4.5) * curve.discount(5.0))
    assert curve.discount(4.75) == pytest.approx(halfway, rel=1e-15)


def test_many_curves_are_bootstrapped_as_one_by_one() -> None:
    bumped = down_bumps(RATES)
    together = bootstrap(YEARS, bumped).discount([0.1, 3.3, 29.9])
    one_by_one = [bootstrap(YEARS, rates).discount([0.1, 3.3, 29.9]) for rates in bumped]
    np.testing.assert_allclose(together, one_by_one, rtol=1e-15)


def test_a_tenor_without_a_rate_is_left_out() -> None:
    rates = np.where(np.array(TENORS) == "3Y", np.nan, RATES)
    known = ~np.isnan(rates)
    np.testing.assert_array_equal(
        bootstrap(YEARS, rates).discount([2.5, 25.0]), bootstrap(YEARS[known], rates[known]).discount([2.5, 25.0])
    )


def test_a_curve_without_any_rate_is_unknown() -> None:
    assert np.isnan(bootstrap(YEARS, np.full(11, np.nan)).discount([1.0, 7.0])).all()


def test_a_curve_that_cannot_be_is_unknown_from_there_on() -> None:
    discounts = bootstrap([1, 2, 30], [0.01, 0.01, 3.0]).discount([1.0, 29.0])
    assert np.isnan(discounts).tolist() == [False, True]


@pytest.mark.parametrize("tenors", [[1, 2], [1, 2, 2], [3, 2, 1]])
def test_tenors_that_do_not_fit_the_rates_are_refused(tenors: list[float]) -> None:
    with pytest.raises(ValueError, match="tenor_years"):
        bootstrap(tenors, [0.01, 0.02, 0.03])


def test_a_shift_moves_all_tenors_or_those_named() -> None:
    np.testing.assert_allclose(shifted(TENORS, RATES, -25) - RATES, -0.0025, rtol=1e-12)
    moved = shifted(TENORS, RATES, {"10Y": 10, "1M": -5}) - RATES
    np.testing.assert_allclose(moved, [-0.0005, 0, 0, 0, 0, 0, 0, 0, 0.001, 0, 0], atol=1e-17)


def test_a_shift_of_a_tenor_that_is_not_there_names_it() -> None:
    with pytest.raises(ValueError, match="no tenor 4Y, X"):
        shifted(TENORS, RATES, {"4Y": 1, "10Y": 1, "X": 2})


def test_the_bumps_of_the_tenors_add_up_to_the_parallel_one() -> None:
    moved = down_bumps(RATES) - RATES
    np.testing.assert_allclose(moved[0], 0, atol=0)
    np.testing.assert_allclose(moved[2:].sum(axis=0), moved[1], rtol=1e-9)
