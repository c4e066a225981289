"""Bond formulas against QuantLib, against themselves, and at their edges."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
import QuantLib as ql
from hypothesis import given
from hypothesis import strategies as st

from position_server.analytics.bonds import (
    BASIS_POINT,
    Convention,
    accrued,
    clean_price_from_yield,
    coupon_income,
    dirty_price_from_yield,
    risk,
    yield_from_clean_price,
)
from position_server.analytics.coupon_periods import CouponPeriods, coupon_periods
from tests.analytics.reference import Case, QuantLibBond, cases, flows

BOTH: tuple[Convention, ...] = ("street", "treasury")
CASES = cases(800)
COUPON = np.array([case.coupon for case in CASES])
YIELD = np.array([case.bond_yield for case in CASES])


def periods_of(made: list[Case]) -> CouponPeriods:
    return coupon_periods(
        np.array([case.maturity for case in made], dtype="datetime64[D]"),
        np.array([case.settlement for case in made], dtype="datetime64[D]"),
    )


@pytest.fixture(scope="module")
def references() -> list[QuantLibBond]:
    return [QuantLibBond(case) for case in CASES]


def assert_close(found: np.ndarray, expected: list[float]) -> None:
    """To 1e-9, absolute for small numbers and relative for large ones."""
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-9, atol=1e-9)


def test_the_cases_stand_in_every_position_of_the_period() -> None:
    periods = periods_of(CASES)
    days_left = (periods.next - np.array([case.settlement for case in CASES], dtype="datetime64[D]")).astype(int)
    assert np.sum(periods.accrued_fraction == 0) > 50
    assert np.sum(days_left == 1) > 50
    assert np.sum(periods.remaining == 1) > 50
    assert np.sum(periods.remaining > 40) > 50


def test_accrued_interest_is_quantlibs(references: list[QuantLibBond]) -> None:
    assert_close(accrued(COUPON, periods_of(CASES)), [bond.accrued() for bond in references])


def test_street_prices_are_quantlibs(references: list[QuantLibBond]) -> None:
    expected = [bond.clean_price(case.bond_yield) for bond, case in zip(references, CASES, strict=True)]
    assert_close(clean_price_from_yield(YIELD, COUPON, periods_of(CASES)), expected)


def test_treasury_prices_are_quantlibs_with_a_simple_first_period(references: list[QuantLibBond]) -> None:
    simple = ql.SimpleThenCompounded
    expected = [bond.clean_price(case.bond_yield, simple) for bond, case in zip(references, CASES, strict=True)]
    assert_close(clean_price_from_yield(YIELD, COUPON, periods_of(CASES), "treasury"), expected)


def test_yields_are_quantlibs(references: list[QuantLibBond]) -> None:
    periods = periods_of(CASES)
    clean = clean_price_from_yield(YIELD, COUPON, periods)
    expected = [bond.yield_of(price) for bond, price in zip(references, clean.tolist(), strict=True)]
    assert_close(yield_from_clean_price(clean, COUPON, periods), expected)


def test_durations_and_convexity_are_quantlibs(references: list[QuantLibBond]) -> None:
    measures = risk(YIELD, COUPON, periods_of(CASES))
    pairs = list(zip(references, CASES, strict=True))
    assert_close(measures.modified_duration, [bond.modified_duration(case.bond_yield) for bond, case in pairs])
    assert_close(measures.macaulay_duration, [bond.macaulay_duration(case.bond_yield) for bond, case in pairs])
    assert_close(measures.convexity, [bond.convexity(case.bond_yield) for bond, case in pairs])


def test_dv01_is_quantlibs_price_change_for_a_yield_down_one_basis_point(references: list[QuantLibBond]) -> None:
    expected = [
        bond.clean_price(case.bond_yield - BASIS_POINT) - bond.clean_price(case.bond_yield)
        for bond, case in zip(references, CASES, strict=True)
    ]
    measures = risk(YIELD, COUPON, periods_of(CASES))
    assert_close(measures.dv01, expected)
    assert np.all(measures.dv01 > 0)


def test_treasury_risk_is_that_of_the_plain_sum_of_flows() -> None:
    periods = periods_of(CASES)
    measures = risk(YIELD, COUPON, periods, "treasury")
    for row, case in enumerate(CASES[::8]):
        price, first, second, timed = _treasury_sums(case, periods, row * 8)
        assert measures.modified_duration[row * 8] == pytest.approx(-first / price, rel=1e-11)
        assert measures.convexity[row * 8] == pytest.approx(second / price, rel=1e-11)
        assert measures.macaulay_duration[row * 8] == pytest.approx(timed / price, rel=1e-11)


def _treasury_sums(case: Case, periods: CouponPeriods, row: int) -> tuple[float, float, float, float]:
    """Price, its derivatives in the yield, and the sum of time × present value, flow by flow."""
    h, w = case.bond_yield / 2, float(periods.remaining_fraction[row])
    price = first = second = timed = 0.0
    for number, (years, amount) in enumerate(flows(case.coupon, int(periods.remaining[row]), w)):
        value = amount / (1 + w * h) * (1 + h) ** -number
        rate = -w / (1 + w * h) - number / (1 + h)  # d log(value) / dh
        curve = (w / (1 + w * h)) ** 2 + number / (1 + h) ** 2
        price, timed = price + value, timed + years * value
        first, second = first + value * rate / 2, second + value * (rate**2 + curve) / 4
    return price, first, second, timed


@pytest.mark.parametrize(("convention", "clean"), [("treasury", 101.057226), ("street", 101.061897)])
def test_the_first_period_of_the_auctioned_note_of_august_2035(convention: Convention, clean: float) -> None:
    """91282CNT4 as the Treasury and the street price it, on the same day at the same yield."""
    periods = coupon_periods(date(2035, 8, 15), date(2025, 10, 15))
    assert clean_price_from_yield(0.04117, 0.0425, periods, convention)[0] == pytest.approx(clean, abs=5e-7)


@pytest.mark.parametrize("convention", BOTH)
def test_a_bond_that_yields_its_coupon_is_worth_par_on_a_coupon_date(convention: Convention) -> None:
    periods = coupon_periods(date(2045, 2, 15), date(2025, 8, 15))
    assert clean_price_from_yield([0.0475], 0.0475, periods, convention)[0] == pytest.approx(100, abs=1e-12)


@pytest.mark.parametrize("tiny", [0.0, 1e-300, 1e-16, 1e-12, 1e-9, 1e-6, -1e-9, -1e-4, 3.9e-4, 4.1e-4, 7e-4])
def test_near_a_yield_of_zero_nothing_is_lost(tiny: float) -> None:
    periods = coupon_periods(date(2055, 8, 15), date(2025, 10, 15))
    measures = risk(tiny, 0.04, periods)
    w, h = float(periods.remaining_fraction[0]), tiny / 2
    made = flows(0.04, int(periods.remaining[0]), w)
    price = sum(amount * (1 + h) ** (-2 * t) for t, amount in made)
    first = sum(-t * amount * (1 + h) ** (-2 * t - 1) for t, amount in made)
    second = sum(t * (t + 0.5) * amount * (1 + h) ** (-2 * t - 2) for t, amount in made)
    assert measures.dirty_price[0] == pytest.approx(price, rel=1e-13)
    assert measures.modified_duration[0] == pytest.approx(-first / price, rel=1e-12)
    assert measures.convexity[0] == pytest.approx(second / price, rel=1e-12)


def test_a_bill_in_its_last_half_year_earns_simple_interest() -> None:
    periods = coupon_periods(date(2026, 1, 15), date(2025, 10, 30))
    years = float(periods.remaining_fraction[0]) / 2
    assert dirty_price_from_yield(0.04, 0.0, periods)[0] == pytest.approx(100 / (1 + 0.04 * years), abs=1e-12)
    assert accrued(0.0, periods)[0] == 0


@given(
    coupon=st.floats(0, 0.15),
    bond_yield=st.floats(-0.1, 0.3),
    days_left=st.integers(1, 50 * 365),
    convention=st.sampled_from(BOTH),
)
def test_a_price_gives_back_its_yield(coupon: float, bond_yield: float, days_left: int, convention: Convention) -> None:
    settlement = np.datetime64("2025-10-31")
    periods = coupon_periods(settlement + np.timedelta64(days_left, "D"), settlement)
    clean = clean_price_from_yield(bond_yield, coupon, periods, convention)
    assert yield_from_clean_price(clean, coupon, periods, convention)[0] == pytest.approx(bond_yield, abs=1e-12)


@given(
    price=st.floats(1, 300),
    coupon=st.floats(0, 0.15),
    days_left=st.integers(1, 50 * 365),
    convention=st.sampled_from(BOTH),
)
def test_every_price_from_1_to_300_has_a_yield(
    price: float, coupon: float, days_left: int, convention: Convention
) -> None:
    settlement = np.datetime64("2025-10-31")
    periods = coupon_periods(settlement + np.timedelta64(days_left, "D"), settlement)
    found = yield_from_clean_price(price, coupon, periods, convention)
    assert clean_price_from_yield(found, coupon, periods, convention)[0] == pytest.approx(price, rel=1e-9)


@pytest.mark.parametrize("convention", BOTH)
@pytest.mark.parametrize("bond_yield", [-0.9, -0.5, -0.2, 0.5, 1.0, 3.0])
def test_yields_far_from_the_market_are_found_too(bond_yield: float, convention: Convention) -> None:
    maturities = np.array(["2025-11-15", "2026-05-15", "2028-02-29", "2035-08-15"], dtype="datetime64[D]")
    periods = coupon_periods(maturities, date(2025, 10, 31))
    clean = clean_price_from_yield(bond_yield, 0.04, periods, convention)
    found = yield_from_clean_price(clean, 0.04, periods, convention)
    np.testing.assert_allclose(found, bond_yield, rtol=0, atol=1e-11)


def test_one_bad_bond_is_nan_and_the_others_are_not() -> None:
    maturities = ["2035-08-15", "2025-10-15", "2020-08-15", "NaT", "2035-08-15", "2035-08-15", "2035-08-15"]
    periods = coupon_periods(np.array(maturities, dtype="datetime64[D]"), date(2025, 10, 15))
    coupon = np.array([0.04, 0.04, 0.04, 0.04, np.nan, 0.04, 0.04])
    price = np.array([99.0, 99.0, 99.0, 99.0, 99.0, np.nan, -5.0])
    found = yield_from_clean_price(price, coupon, periods)
    assert np.isnan(found).tolist() == [False, True, True, True, True, True, True]
    measures = risk(found, coupon, periods)
    for column in (measures.dirty_price, measures.macaulay_duration, measures.modified_duration, measures.convexity):
        assert np.isnan(column).tolist() == [False, True, True, True, True, True, True]
    assert np.isnan(measures.dv01[1:]).all()


@pytest.mark.parametrize("bond_yield", [-2.0, -3.0, np.nan, np.inf, -np.inf])
def test_an_impossible_yield_has_no_price_and_no_risk(bond_yield: float) -> None:
    periods = coupon_periods(date(2035, 8, 15), date(2025, 10, 15))
    measures = risk(bond_yield, 0.04, periods)
    found = (measures.dirty_price, measures.modified_duration, measures.macaulay_duration, measures.dv01)
    assert np.isnan(found).all()


@pytest.mark.parametrize("price", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_price_has_no_yield(price: float) -> None:
    maturities = np.array(["2035-08-15", "2026-01-15"], dtype="datetime64[D]")
    periods = coupon_periods(maturities, date(2025, 10, 15))
    assert np.isnan(yield_from_clean_price(price, 0.0, periods)).all()


def test_no_bonds_are_no_error() -> None:
    none = np.array([], dtype="datetime64[D]")
    periods = coupon_periods(none, date(2025, 10, 15))
    found = yield_from_clean_price(np.array([]), np.array([]), periods)
    assert len(found) == len(risk(found, np.array([]), periods).dv01) == 0


def test_coupons_paid_between_two_settlement_dates_are_income() -> None:
    maturity = np.array(["2035-08-15", "2035-09-30", "NaT"], dtype="datetime64[D]")
    found = coupon_income(
        [0.04, 0.05, 0.05],
        maturity,
        coupon_periods(maturity, date(2025, 8, 14)),
        coupon_periods(maturity, date(2025, 8, 15)),
    )
    np.testing.assert_array_equal(found, [2.0, 0.0, np.nan])


def test_the_price_falls_and_bends_as_duration_and_convexity_say() -> None:
    periods, step = periods_of(CASES), 1e-4
    measures = risk(YIELD, COUPON, periods)
    up, down = (dirty_price_from_yield(YIELD + move, COUPON, periods) for move in (step, -step))
    np.testing.assert_allclose((down - up) / (2 * step) / measures.dirty_price, measures.modified_duration, rtol=1e-5)
    bend = (up - 2 * measures.dirty_price + down) / step**2 / measures.dirty_price
    np.testing.assert_allclose(bend, measures.convexity, rtol=1e-3, atol=1e-3)
