"""Bonds on a curve, against sums over cash flows in plain Python."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from position_server.analytics.bonds import accrued, risk, yield_from_clean_price
from position_server.analytics.coupon_periods import CouponPeriods, coupon_periods
from position_server.analytics.curve_bonds import (
    clean_price_from_curve,
    curve_risk,
    dirty_price_from_curve,
    spread_from_clean_price,
)
from position_server.analytics.curves import DiscountCurve, bootstrap, shifted
from tests.analytics.reference import flows
from tests.analytics.test_curves import RATES, TENORS, YEARS

SETTLEMENT = date(2025, 10, 31)
CURVE = bootstrap(YEARS, RATES)


def bonds(count: int, seed: int = 3) -> tuple[np.ndarray, CouponPeriods]:
    """Coupons and periods of bonds with up to thirty years left, at the middle and the end of months and elsewhere."""
    dice = np.random.default_rng(seed)
    month = np.datetime64("2025-12", "M") + dice.integers(0, 358, count).astype("timedelta64[M]")
    day = np.array([14, -1, 14, -1, 6])[dice.integers(0, 5, count)].astype("timedelta64[D]")
    return dice.integers(0, 64, count) / 800, coupon_periods(month.astype("datetime64[D]") + day, SETTLEMENT)


def plain_discounts(rates: np.ndarray) -> dict[float, float]:
    """log(DF) by node, bootstrapped one bond at a time."""
    logs = {0.0: 0.0}
    for years, rate in zip(YEARS.tolist(), rates.tolist(), strict=True):
        if years < 0.5:
            logs[years] = -math.log(1 + rate * years)
    annuity = 0.0
    for half in range(1, 61):
        par = float(np.interp(half / 2, YEARS, rates))
        discount = (1 - par / 2 * annuity) / (1 + par / 2)
        annuity += discount
        logs[half / 2] = math.log(discount)
    return logs


def plain_price(rates: np.ndarray, coupon: float, periods: CouponPeriods, row: int, spread: float = 0.0) -> float:
    """The dirty price, one flow at a time."""
    logs = plain_discounts(rates)
    nodes = list(logs)
    made = flows(coupon, int(periods.remaining[row]), float(periods.remaining_fraction[row]))
    return sum(amount * math.exp(np.interp(t, nodes, list(logs.values())) - spread * t) for t, amount in made)


def test_prices_are_those_of_a_plain_sum_over_flows() -> None:
    coupon, periods = bonds(60)
    spread = np.linspace(-0.01, 0.02, 60)
    found = dirty_price_from_curve(CURVE, coupon, periods, spread)
    expected = [plain_price(RATES, float(coupon[row]), periods, row, float(spread[row])) for row in range(60)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_par_bond_on_its_coupon_date_is_worth_exactly_par() -> None:
    maturities = np.array(["2026-04-15", "2030-10-15", "2035-10-15", "2055-10-15"], dtype="datetime64[D]")
    periods = coupon_periods(maturities, date(2025, 10, 15))
    coupon = np.interp(periods.years_to_maturity, YEARS, RATES)
    np.testing.assert_allclose(clean_price_from_curve(CURVE, coupon, periods), 100, rtol=1e-14)


def test_on_a_flat_curve_the_price_is_that_of_the_yield_between_coupon_dates_too() -> None:
    coupon, periods = bonds(200)
    clean = clean_price_from_curve(bootstrap([1.0], [0.05]), coupon, periods)
    longer = periods.remaining > 1  # in the last period the yield is simple interest
    np.testing.assert_allclose(yield_from_clean_price(clean, coupon, periods)[longer], 0.05, atol=1e-12)


def test_bonds_with_settlements_of_their_own_are_priced_like_each_alone() -> None:
    maturities = np.array(["2030-05-15", "2030-05-15", "2041-02-28"], dtype="datetime64[D]")
    settlements = np.array(["2025-10-31", "2026-02-03", "2025-01-17"], dtype="datetime64[D]")
    together = clean_price_from_curve(CURVE, 0.04, coupon_periods(maturities, settlements))
    alone = [
        clean_price_from_curve(CURVE, 0.04, coupon_periods(maturity, settlement))[0]
        for maturity, settlement in zip(maturities, settlements, strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-15)


def test_many_curves_price_as_one_by_one() -> None:
    coupon, periods = bonds(50)
    many = np.array([RATES, RATES + 0.01, RATES - 0.01])
    found = clean_price_from_curve(bootstrap(YEARS, many), coupon, periods, 0.001)
    expected = [clean_price_from_curve(bootstrap(YEARS, rates), coupon, periods, 0.001) for rates in many]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_more_bonds_than_a_block_are_all_priced() -> None:
    coupon, periods = bonds(9000)
    found = clean_price_from_curve(CURVE, coupon, periods)
    some = np.arange(0, 9000, 450)
    alone = [clean_price_from_curve(CURVE, coupon[[row]], _one(periods, row))[0] for row in some]
    np.testing.assert_allclose(found[some], alone, rtol=1e-14)


def _one(periods: CouponPeriods, row: int) -> CouponPeriods:
    return CouponPeriods(
        periods.previous[[row]],
        periods.next[[row]],
        periods.remaining[[row]],
        periods.remaining_fraction[[row]],
        periods.accrued_fraction[[row]],
    )


def test_the_spread_gives_back_the_quoted_price() -> None:
    coupon, periods = bonds(3000)
    quoted = clean_price_from_curve(CURVE, coupon, periods) * np.random.default_rng(1).uniform(0.7, 1.3, 3000)
    spread = spread_from_clean_price(CURVE, quoted, coupon, periods)
    np.testing.assert_allclose(clean_price_from_curve(CURVE, coupon, periods, spread), quoted, rtol=1e-12)


@pytest.mark.parametrize("price", [1e-200, 1e-9, 1.0, 300.0, 1e4])
def test_an_absurd_quote_still_has_its_spread(price: float) -> None:
    """A zero-coupon bond's price can be anything, and so can its spread."""
    maturities = np.array(["2025-11-15", "2026-02-15", "2027-02-15", "2055-08-15"], dtype="datetime64[D]")
    periods = coupon_periods(maturities, SETTLEMENT)
    spread = spread_from_clean_price(CURVE, price, 0.0, periods)
    np.testing.assert_allclose(np.log(clean_price_from_curve(CURVE, 0.0, periods, spread)), np.log(price), atol=1e-9)
    assert np.isfinite(curve_risk(CURVE, 0.0, periods, spread).curve_dv01).all()


def test_a_quote_beyond_all_numbers_is_no_exception() -> None:
    maturities = np.array(["2025-11-15", "2035-08-15"], dtype="datetime64[D]")
    periods = coupon_periods(maturities, SETTLEMENT)
    spread = spread_from_clean_price(CURVE, [1e300, 99.0], 0.04, periods)
    assert np.isnan(spread).tolist() == [True, False]
    assert np.isnan(curve_risk(CURVE, 0.04, periods, spread).curve_dv01).tolist() == [True, False]


def test_the_curves_own_price_has_no_spread() -> None:
    coupon, periods = bonds(300)
    clean = clean_price_from_curve(CURVE, coupon, periods)
    np.testing.assert_allclose(spread_from_clean_price(CURVE, clean, coupon, periods), 0, atol=1e-12)


def test_one_bad_bond_is_nan_and_the_others_are_not() -> None:
    maturities = np.array(["2035-08-15", "2025-10-31", "NaT", "2035-08-15", "2035-08-15"], dtype="datetime64[D]")
    periods = coupon_periods(maturities, SETTLEMENT)
    coupon = np.array([0.04, 0.04, 0.04, np.nan, 0.04])
    spread = spread_from_clean_price(CURVE, [99.0, 99.0, 99.0, 99.0, -200.0], coupon, periods)
    assert np.isnan(spread).tolist() == [False, True, True, True, True]
    found = curve_risk(CURVE, coupon, periods, spread)
    assert np.isnan(found.curve_dv01).tolist() == [False, True, True, True, True]
    assert np.isnan(found.key_rate_dv01).all(axis=1).tolist() == [False, True, True, True, True]


def test_without_a_curve_nothing_is_known() -> None:
    coupon, periods = bonds(5)
    unknown = bootstrap(YEARS, np.full(11, np.nan))
    assert np.isnan(clean_price_from_curve(unknown, coupon, periods)).all()
    assert np.isnan(spread_from_clean_price(unknown, 100.0, coupon, periods)).all()
    assert np.isnan(curve_risk(unknown, coupon, periods).curve_dv01).all()


def test_a_curve_that_is_unknown_at_the_long_end_still_prices_short_bonds() -> None:
    impossible = shifted(TENORS, RATES, {"30Y": 2000})
    periods = coupon_periods(np.array(["2030-05-15", "2055-05-15"], dtype="datetime64[D]"), SETTLEMENT)
    broken = bootstrap(YEARS, impossible)
    found = clean_price_from_curve(broken, 0.04, periods)
    assert np.isnan(found).tolist() == [False, True]
    assert found[0] == pytest.approx(clean_price_from_curve(CURVE, 0.04, periods)[0], rel=1e-14)
    assert np.isnan(spread_from_clean_price(broken, found, 0.04, periods)).tolist() == [False, True]
    assert np.isnan(curve_risk(broken, 0.04, periods).curve_dv01).tolist() == [False, True]


def test_no_bonds_are_no_error() -> None:
    none = np.array([], dtype=np.float64)
    periods = coupon_periods(none.astype("datetime64[D]"), SETTLEMENT)
    assert clean_price_from_curve(CURVE, none, periods).shape == (0,)
    assert curve_risk(CURVE, none, periods).key_rate_dv01.shape == (0, 11)


def test_key_rates_are_exact_repricing_on_bumped_curves() -> None:
    coupon, periods = bonds(12)
    spread = np.linspace(-0.005, 0.01, 12)
    found = curve_risk(CURVE, coupon, periods, spread)
    for row in range(12):
        bond = (float(coupon[row]), periods, row, float(spread[row]))
        base = plain_price(RATES, *bond)
        assert found.curve_dv01[row] == pytest.approx(plain_price(RATES - 1e-4, *bond) - base, rel=1e-9, abs=1e-11)
        for number, bump in enumerate(np.eye(11) * 1e-4):
            expected = plain_price(RATES - bump, *bond) - base
            assert found.key_rate_dv01[row, number] == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_key_rates_add_up_to_the_whole_curve() -> None:
    coupon, periods = bonds(5000)
    found = curve_risk(CURVE, coupon, periods, np.random.default_rng(2).normal(0, 0.005, 5000))
    assert np.all(found.curve_dv01 > 0)
    np.testing.assert_allclose(found.key_rate_dv01.sum(axis=1), found.curve_dv01, rtol=0.005)


def test_a_par_bond_moves_with_its_own_tenor_alone() -> None:
    periods = coupon_periods(date(2035, 10, 15), date(2025, 10, 15))
    found = curve_risk(CURVE, RATES[TENORS.index("10Y")], periods)
    at_ten = found.key_rate_dv01[0, TENORS.index("10Y")]
    assert at_ten == pytest.approx(found.curve_dv01[0], rel=1e-3)
    others = np.delete(found.key_rate_dv01[0], TENORS.index("10Y"))
    np.testing.assert_allclose(others, 0, atol=1e-6)


def test_curve_dv01_is_near_the_dv01_of_the_yield() -> None:
    coupon, periods = bonds(500)
    clean = clean_price_from_curve(CURVE, coupon, periods)
    of_yield = risk(yield_from_clean_price(clean, coupon, periods), coupon, periods).dv01
    years = periods.years_to_maturity
    near = (coupon > 0.02) & (years > 1)
    np.testing.assert_allclose(curve_risk(CURVE, coupon, periods).curve_dv01[near], of_yield[near], rtol=0.05)


def test_a_tenor_without_a_rate_has_no_key_rate_and_harms_no_other() -> None:
    coupon, periods = bonds(20)
    rates = np.where(np.array(TENORS) == "3Y", np.nan, RATES)
    found = curve_risk(bootstrap(YEARS, rates), coupon, periods)
    assert np.all(found.key_rate_dv01[:, TENORS.index("3Y")] == 0)
    np.testing.assert_allclose(found.key_rate_dv01.sum(axis=1), found.curve_dv01, rtol=0.005)


def test_a_shifted_curve_moves_quoted_bonds_at_constant_spread() -> None:
    coupon, periods = bonds(100)
    quoted = clean_price_from_curve(CURVE, coupon, periods) + 0.5
    spread = spread_from_clean_price(CURVE, quoted, coupon, periods)
    moved = clean_price_from_curve(bootstrap(YEARS, shifted(TENORS, RATES, -1)), coupon, periods, spread)
    np.testing.assert_allclose(moved - quoted, curve_risk(CURVE, coupon, periods, spread).curve_dv01, atol=1e-10)


def test_the_accrued_interest_is_the_same_as_without_a_curve() -> None:
    coupon, periods = bonds(50)
    difference = dirty_price_from_curve(CURVE, coupon, periods) - clean_price_from_curve(CURVE, coupon, periods)
    np.testing.assert_allclose(difference, accrued(coupon, periods), atol=1e-12)


def test_beyond_the_last_node_the_forward_rate_stays() -> None:
    curve: DiscountCurve = CURVE
    last = curve.log_discount([29.5, 30.0, 31.0])
    assert last[2] - last[1] == pytest.approx(2 * (last[1] - last[0]), rel=1e-12)
