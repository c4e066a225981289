"""Futures and forwards: published facts of the exchange, and what no-arbitrage demands."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from position_server.analytics.bonds import clean_price_from_yield
from position_server.analytics.coupon_periods import coupon_periods
from position_server.analytics.curve_bonds import clean_price_from_curve
from position_server.analytics.curves import bootstrap, down_bumps
from position_server.analytics.futures import (
    GRADES,
    Deliverables,
    carry_forward,
    conversion_factor,
    covered_interest_forward,
    curve_forward_clean,
    is_deliverable,
    treasury_future_price,
)
from tests.analytics.test_curves import RATES, TENORS, YEARS

SETTLEMENT, DELIVERY = date(2025, 10, 31), date(2025, 12, 31)
CURVE = bootstrap(YEARS, RATES)


def days(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[D]")


def basket() -> Deliverables:
    """Three notes that ZNZ25 takes, one of them with a coupon on the way to delivery."""
    maturity = days("2032-08-15", "2032-11-15", "2033-02-15")
    coupon = np.array([0.0275, 0.04125, 0.035])
    factor = conversion_factor(coupon, maturity, date(2025, 12, 1), "ZN")
    return Deliverables(coupon, maturity, factor, np.array([0.0, 0.0003, -0.0002]))


@pytest.mark.parametrize(
    ("root", "coupon", "maturity", "month", "factor"),
    [
        ("ZT", 0.015, "2010-10-31", "2008-12-01", 0.9229),
        ("ZF", 0.0275, "2013-10-31", "2008-12-01", 0.8653),
        ("ZN", 0.0375, "2018-11-15", "2008-12-01", 0.8357),
    ],
)
def test_conversion_factors_are_those_of_the_exchanges_examples(
    root: str, coupon: float, maturity: str, month: str, factor: float
) -> None:
    """Calculating U.S. Treasury Futures Conversion Factors, CME Group: the examples for December 2008."""
    assert conversion_factor(coupon, days(maturity), days(month), root).tolist() == [factor]


@pytest.mark.parametrize("root", GRADES)
def test_six_percent_makes_one_on_a_coupon_date(root: str) -> None:
    assert conversion_factor(0.06, date(2040, 6, 15), date(2030, 12, 1), root).tolist() == [1.0]


def test_a_factor_is_the_price_at_six_percent_of_the_rounded_term() -> None:
    """With whole half-years left the exchange's rule is the bond formula."""
    coupon = np.linspace(0, 0.1, 21)
    periods = coupon_periods(date(2037, 6, 1), date(2025, 12, 1))
    expected = np.round(clean_price_from_yield(0.06, coupon, periods) / 100, 4)
    np.testing.assert_allclose(conversion_factor(coupon, date(2037, 6, 30), date(2025, 12, 1), "ZB"), expected)


def test_notes_round_to_quarters_and_short_notes_to_months() -> None:
    maturity = days("2030-08-31", "2030-07-31", "2030-06-30")
    assert len(set(conversion_factor(0.03, maturity, date(2025, 12, 1), "ZF").tolist())) == 3
    assert len(set(conversion_factor(0.03, maturity, date(2025, 12, 1), "ZN").tolist())) == 1


@pytest.mark.parametrize(
    ("root", "maturity", "issue", "months"),
    [
        ("ZT", "2019-04-15", "2016-04-15", ["2017-06"]),
        ("TN", "2026-02-15", "2016-02-16", ["2016-06", "2016-09"]),
        ("UB", "2046-02-15", "2016-02-16", [f"{y}-{m}" for y in range(2016, 2021) for m in ("03", "06", "09", "12")]),
        ("ZB", "2046-02-15", "2016-02-16", [f"{y}-{m}" for y in range(2021, 2031) for m in ("03", "06", "09", "12")]),
    ],
)
def test_bonds_are_deliverable_in_the_months_the_exchange_announced(
    root: str, maturity: str, issue: str, months: list[str]
) -> None:
    """CME's notice on the auctions of 12 to 14 April 2016."""
    quarters = [f"{y}-{m}" for y in range(2016, 2036) for m in ("03", "06", "09", "12")]
    found = [
        month
        for month in quarters
        if is_deliverable(root, days(maturity), days(issue), np.datetime64(month, "D"))[0]
        and (root, month) != ("TN", "2016-03")  # before the notice
    ]
    assert found == months


def test_ten_year_futures_take_terms_from_six_and_a_half_to_below_eight_years() -> None:
    maturity = days("2032-05-31", "2032-06-15", "2033-11-30", "2033-12-15")
    issue = days("2025-06-02", "2025-06-15", "2023-11-30", "2023-12-15")
    assert is_deliverable("ZN", maturity, issue, date(2025, 12, 1)).tolist() == [False, True, True, False]


def test_an_old_bond_is_no_note_though_its_remaining_term_fits() -> None:
    maturity, issue = days("2030-05-15", "2030-05-31"), days("2000-05-15", "2025-06-02")
    assert is_deliverable("ZF", maturity, issue, date(2025, 12, 1)).tolist() == [False, True]


def test_an_unknown_issue_date_counts_as_the_caller_says() -> None:
    maturity, issue = days("2030-05-31", "2028-05-31", "NaT"), days("NaT", "NaT", "NaT")
    assert is_deliverable("ZF", maturity, issue, date(2025, 12, 1)).tolist() == [False, False, False]
    assert is_deliverable("ZF", maturity, issue, date(2025, 12, 1), unknown_issue=True).tolist() == [True, False, False]
    assert is_deliverable("ZB", days("2045-05-15"), days("NaT"), date(2025, 12, 1)).tolist() == [True]


def test_an_unknown_root_is_refused() -> None:
    with pytest.raises(KeyError, match="ES"):
        conversion_factor(0.04, date(2035, 5, 15), date(2025, 12, 1), "ES")


def by_repo(clean: np.ndarray, made: Deliverables, repo: float) -> np.ndarray:
    """Forward clean prices as a trader reckons them: financed at a repo rate, simple ACT/360; coupons earn it too."""
    now, then = coupon_periods(made.maturity, SETTLEMENT), coupon_periods(made.maturity, DELIVERY)
    half = made.coupon * 50
    dirty = (clean + half * now.accrued_fraction) * (1 + repo * (DELIVERY - SETTLEMENT).days / 360)
    on_the_way = now.remaining > then.remaining
    earning_days = (np.datetime64(DELIVERY) - now.next) / np.timedelta64(1, "D")
    received = np.where(on_the_way, half * (1 + repo * earning_days / 360), 0.0)
    return dirty - received - half * then.accrued_fraction


def test_a_forward_of_today_is_the_price_itself() -> None:
    today = curve_forward_clean(CURVE, basket(), SETTLEMENT, SETTLEMENT)
    periods = coupon_periods(basket().maturity, SETTLEMENT)
    spot = clean_price_from_curve(CURVE, basket().coupon, periods, basket().spread)
    np.testing.assert_allclose(today, spot, rtol=1e-14)


def test_a_bond_that_matures_before_delivery_has_no_forward() -> None:
    maturity = days("2025-11-30", "2032-11-15")
    both = Deliverables(np.array([0.04, 0.04]), maturity, np.array([1.0, 0.9]), np.zeros(2))
    assert np.isnan(curve_forward_clean(CURVE, both, SETTLEMENT, DELIVERY)).tolist() == [True, False]
    assert np.isfinite(treasury_future_price(CURVE, both, SETTLEMENT, DELIVERY)).all()


def test_curve_forwards_are_the_flows_after_delivery_seen_from_there() -> None:
    """Without a spread, discounting from delivery on the same curve is the same thing."""
    flat = bootstrap([1.0], [0.04])
    made = basket()
    plain = Deliverables(made.coupon, made.maturity, made.factor, np.zeros(3))
    found = curve_forward_clean(flat, plain, SETTLEMENT, DELIVERY)
    then = coupon_periods(made.maturity, DELIVERY)
    np.testing.assert_allclose(found, clean_price_from_curve(flat, made.coupon, then), rtol=1e-12)


def test_curve_financing_is_near_repo_financing_at_the_same_rate() -> None:
    made = basket()
    periods = coupon_periods(made.maturity, SETTLEMENT)
    spot = clean_price_from_curve(CURVE, made.coupon, periods, made.spread)
    repo = float(CURVE.zero_rate(61 / 365)) * 360 / 365
    expected = by_repo(spot, made, repo)
    np.testing.assert_allclose(curve_forward_clean(CURVE, made, SETTLEMENT, DELIVERY), expected, atol=0.01)


def test_the_future_is_the_cheapest_forward_over_its_factor() -> None:
    made = basket()
    forwards = curve_forward_clean(CURVE, made, SETTLEMENT, DELIVERY)
    price = treasury_future_price(CURVE, made, SETTLEMENT, DELIVERY)
    assert price.tolist() == [(forwards / made.factor).min()]


def test_a_ten_year_future_moves_with_the_tenors_around_seven_years() -> None:
    prices = treasury_future_price(bootstrap(YEARS, down_bumps(RATES)), basket(), SETTLEMENT, DELIVERY)
    deltas = prices[2:] - prices[0]
    assert prices.shape == (13,)
    assert deltas.sum() == pytest.approx(prices[1] - prices[0], rel=0.005)
    assert TENORS[int(np.argmax(deltas))] == "7Y"
    assert 0.05 < prices[1] - prices[0] < 0.09


def test_an_empty_basket_has_no_price() -> None:
    none = np.array([])
    empty = Deliverables(none, none.astype("datetime64[D]"), none, none)
    assert np.isnan(treasury_future_price(CURVE, empty, SETTLEMENT, DELIVERY)).tolist() == [True]


def test_covered_interest_leaves_no_arbitrage() -> None:
    forward = covered_interest_forward(1.16, 0.04, 0.02, 90)
    assert forward * (1 + 0.02 * 90 / 360) == pytest.approx(1.16 * (1 + 0.04 * 90 / 360), rel=1e-15)
    assert covered_interest_forward(1.16, 0.03, 0.03, 90) == pytest.approx(1.16)


def test_a_coin_is_carried_at_the_rate_of_money() -> None:
    np.testing.assert_allclose(carry_forward([100_000.0, 4_000.0], 0.04, 36), [100_400.0, 4_016.0])
