"""Coupon periods: which coupon dates surround settlement, and how much of the period has passed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.analytics.coupon_periods import coupon_periods
from tests.analytics.reference import QuantLibBond, cases

DATES = st.dates(date(1990, 1, 1), date(2070, 12, 31))


@pytest.mark.parametrize(
    ("maturity", "settlement", "previous", "following", "remaining"),
    [
        ("2035-08-15", "2025-10-15", "2025-08-15", "2026-02-15", 20),
        ("2035-08-15", "2026-02-15", "2026-02-15", "2026-08-15", 19),
        ("2035-08-15", "2026-02-14", "2025-08-15", "2026-02-15", 20),
        ("2028-08-31", "2028-01-15", "2027-08-31", "2028-02-29", 2),
        ("2028-02-29", "2025-09-01", "2025-08-31", "2026-02-28", 5),
        ("2026-02-28", "2025-09-01", "2025-08-31", "2026-02-28", 1),
        ("2030-06-30", "2025-12-31", "2025-12-31", "2026-06-30", 9),
        ("2030-08-30", "2026-01-15", "2025-08-30", "2026-02-28", 10),
        ("2028-02-28", "2027-09-01", "2027-08-28", "2028-02-28", 1),
    ],
)
def test_coupon_dates_fall_on_the_maturity_day_or_on_month_ends(
    maturity: str, settlement: str, previous: str, following: str, remaining: int
) -> None:
    periods = coupon_periods(date.fromisoformat(maturity), date.fromisoformat(settlement))
    found = (str(periods.previous[0]), str(periods.next[0]), periods.remaining[0])
    assert found == (previous, following, remaining)


def test_schedules_are_those_of_quantlib() -> None:
    made = cases(600)
    periods = coupon_periods(
        np.array([case.maturity for case in made], dtype="datetime64[D]"),
        np.array([case.settlement for case in made], dtype="datetime64[D]"),
    )
    expected = [(bond.previous, bond.next, bond.remaining) for bond in map(QuantLibBond, made)]
    found = list(zip(periods.previous.astype(str), periods.next.astype(str), periods.remaining, strict=True))
    assert found == expected


@given(maturity=DATES, settlement=DATES)
def test_settlement_lies_in_its_period(maturity: date, settlement: date) -> None:
    periods = coupon_periods(maturity, settlement)
    if settlement >= maturity:
        assert periods.remaining[0] == 0
        assert np.isnat(periods.previous[0])
        assert np.isnan(periods.remaining_fraction[0])
        return
    assert periods.previous[0] <= np.datetime64(settlement) < periods.next[0] <= np.datetime64(maturity)
    assert 0 < periods.remaining_fraction[0] <= 1
    assert periods.remaining_fraction[0] + periods.accrued_fraction[0] == pytest.approx(1, abs=1e-15)


def test_an_unknown_maturity_leaves_the_other_bonds_alone() -> None:
    periods = coupon_periods(np.array(["NaT", "2035-08-15"], dtype="datetime64[D]"), date(2025, 10, 15))
    assert periods.remaining.tolist() == [0, 20]
    assert np.isnan(periods.years_to_maturity).tolist() == [True, False]


def test_each_bond_may_have_its_own_settlement() -> None:
    periods = coupon_periods(date(2035, 8, 15), np.array(["2025-10-15", "2034-10-15"], dtype="datetime64[D]"))
    assert periods.remaining.tolist() == [20, 2]


def test_coupons_on_the_later_date_count_and_those_on_the_earlier_do_not() -> None:
    maturity = np.array(["2035-08-15", "2025-10-31", "NaT"], dtype="datetime64[D]")
    days = (date(2025, 8, 14), date(2025, 8, 15), date(2025, 11, 3))
    first, second, third = (coupon_periods(maturity, day).remaining for day in days)
    assert (first - second).tolist() == [1, 0, 0]
    assert (second - third).tolist() == [0, 1, 0]
