"""The bonds section on the demo desk, its rows recomputed by QuantLib and its overrides by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import QuantLib as ql

from tests.desk import Compute, outcome_of

TOLERANCE = 1e-6


def ql_date(text: str) -> ql.Date:
    day = date.fromisoformat(text)
    return ql.Date(day.day, day.month, day.year)


def quantlib_bond(row: dict[str, Any]) -> ql.FixedRateBond:
    """The Treasury of a row on its regular schedule; months end on month ends where its maturity does."""
    maturity = ql_date(row["maturity"])
    month_end = ql.Date.isEndOfMonth(maturity)
    first = ql_date(row["settlement"]) - ql.Period(2, ql.Years)
    schedule = ql.Schedule(
        first,
        maturity,
        ql.Period(ql.Semiannual),
        ql.NullCalendar(),
        ql.Unadjusted,
        ql.Unadjusted,
        ql.DateGeneration.Backward,
        month_end,
    )
    return ql.FixedRateBond(0, 100.0, schedule, [row["coupon"]], ql.ActualActual(ql.ActualActual.ISMA, schedule))


def rows_by_isin(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["isin"]: row for row in data["positions"]}


@pytest.mark.parametrize("env_date", [date(2025, 10, 30), date(2025, 10, 14), date(2025, 9, 29)])
def test_rows_agree_with_quantlib(compute: Compute, env_date: date) -> None:
    rows = compute("bonds", env_date=env_date, books=("CUPS", "YCSO", "EXO"))["positions"]
    assert len(rows) > 100
    for row in rows:
        if row["coupon"] == 0:
            continue  # bills are zero-coupon bonds of their own convention: tests/analytics
        bond, settlement = quantlib_bond(row), ql_date(row["settlement"])
        assert bond.accruedAmount(settlement) == pytest.approx(row["accrued"], abs=TOLERANCE)
        day_count = bond.dayCounter()
        last_period = bond.nextCashFlowDate(settlement) == ql_date(row["maturity"])
        compounding = ql.Simple if last_period else ql.Compounded
        price = ql.BondPrice(row["clean_price"], ql.BondPrice.Clean)
        found = ql.BondFunctions.bondYield(
            bond, price, day_count, compounding, ql.Semiannual, settlement, 1e-12, 200, 0.04
        )
        assert found == pytest.approx(row["yield"], abs=TOLERANCE)
        rate = ql.InterestRate(row["yield"], day_count, compounding, ql.Semiannual)
        modified = ql.BondFunctions.duration(bond, rate, ql.Duration.Modified, settlement)
        assert modified == pytest.approx(row["modified_duration"], abs=TOLERANCE)
        assert ql.BondFunctions.convexity(bond, rate, settlement) == pytest.approx(row["convexity"], abs=1e-5)


def test_value_is_face_times_dirty_price(compute: Compute) -> None:
    for row in compute("bonds")["positions"]:
        assert row["dirty_price"] == pytest.approx(row["clean_price"] + row["accrued"])
        assert row["market_value"] == pytest.approx(row["face"] * row["dirty_price"] / 100)
        assert row["price"] == row["clean_price"]
        assert row["face"] == row["quantity"]


def test_key_rates_sum_to_the_curve_delta(compute: Compute) -> None:
    for row in compute("bonds")["positions"]:
        assert sum(row["key_rate_dv01"].values()) == pytest.approx(row["curve_dv01"], rel=0.005)
        assert row["curve_dv01"] * row["face"] > 0  # positive for who is long


def test_settlement_is_the_next_day_of_the_bond_market(compute: Compute) -> None:
    before_columbus_day = compute("bonds", env_date=date(2025, 10, 10))["positions"]
    assert {row["settlement"] for row in before_columbus_day} == {"2025-10-14"}


def test_sources_tell_quotes_from_the_curve(compute: Compute) -> None:
    rows = compute("bonds")["positions"]
    assert {row["price_source"] for row in rows} == {"curve", "model"}
    assert all((row["curve_spread"] == 0) == (row["price_source"] == "curve") for row in rows)


def test_a_bond_holiday_carries_curve_and_quotes(compute: Compute) -> None:
    data = compute("bonds", env_date=date(2025, 10, 13))  # Columbus Day: stocks trade, bonds do not
    assert data["curve_date"] == "2025-10-10"
    assert {row["price_source"] for row in data["positions"]} == {"curve", "carried"}
    assert {row["price_date"] for row in data["positions"]} == {"2025-10-10"}


def test_daily_pnl_is_the_change_since_the_previous_eod_plus_coupons(compute: Compute) -> None:
    today = rows_by_isin(compute("bonds", books=("YCSO",)))
    before = rows_by_isin(compute("bonds", books=("YCSO",), env_date=date(2025, 10, 29)))
    assert any(row["coupon_income"] for row in today.values()), "coupons are paid on 2025-10-31"
    for isin, row in today.items():
        change = row["market_value"] - before[isin]["market_value"]
        assert row["daily_pnl"] == pytest.approx(change + row["coupon_income"], abs=1e-4)


def test_a_price_override_moves_its_bond_alone(compute: Compute) -> None:
    plain = rows_by_isin(compute("bonds", books=("CUPS",)))
    isin, other = list(plain)[3], list(plain)[4]
    data = compute("bonds", {"clean_price_overrides": {isin: 90.0, "US0000000000": 1.0}}, books=("CUPS",))
    rows = rows_by_isin(data)
    assert (rows[isin]["clean_price"], rows[isin]["price_source"]) == (90.0, "override")
    assert rows[other] == plain[other]
    assert data["overrides_applied"] == {"clean_price_overrides": {isin: 90.0}}
    assert data["warnings"] == ["clean_price_overrides: no position in US0000000000"]


def test_a_yield_override_prices_from_the_yield(compute: Compute) -> None:
    isin = compute("bonds", books=("CUPS",))["positions"][5]["isin"]
    row = rows_by_isin(compute("bonds", {"yield_overrides": {isin: 0.05}}, books=("CUPS",)))[isin]
    assert row["yield"] == pytest.approx(0.05, abs=1e-12)
    assert row["price_source"] == "override"


def test_excluded_bonds_are_left_out_and_named(compute: Compute) -> None:
    plain = compute("bonds", books=("CUPS",))
    isin = plain["positions"][0]["isin"]
    data = compute("bonds", {"exclude_isins": [isin, "XX"]}, books=("CUPS",))
    assert data["excluded_isins"] == [isin]
    assert data["warnings"] == ["exclude_isins: no position in XX"]
    assert len(data["positions"]) == len(plain["positions"]) - 1
    assert data["coverage"]["positions"] == len(data["positions"])


def test_a_parallel_shift_moves_every_bond_by_its_curve_delta(compute: Compute) -> None:
    plain = rows_by_isin(compute("bonds", books=("CUPS",)))
    moved = rows_by_isin(compute("bonds", {"curve_shift_bp": -1}, books=("CUPS",)))
    for isin, row in plain.items():
        gained = moved[isin]["market_value"] - row["market_value"]
        assert gained == pytest.approx(row["curve_dv01"], rel=1e-6, abs=1e-4)
        assert moved[isin]["curve_spread"] == pytest.approx(row["curve_spread"], abs=1e-12)


def test_a_shift_of_one_tenor_is_its_key_rate(compute: Compute) -> None:
    plain = rows_by_isin(compute("bonds", books=("CUPS",)))
    moved = rows_by_isin(compute("bonds", {"curve_shift_bp": {"10Y": -1}}, books=("CUPS",)))
    for isin, row in plain.items():
        gained = moved[isin]["market_value"] - row["market_value"]
        assert gained == pytest.approx(row["key_rate_dv01"]["10Y"], rel=1e-6, abs=1e-4)


def test_a_tenor_that_the_curve_does_not_have_is_refused_by_name(workbench: Any) -> None:
    outcome = outcome_of(workbench, "bonds", {"curve_shift_bp": {"11Y": 1}})
    assert outcome.data is None
    assert "11Y" in outcome.error_line


def test_a_short_position_has_negative_value_and_risk(compute: Compute) -> None:
    shorts = [row for row in compute("bonds", books=("CUPS", "YCSO", "EXO"))["positions"] if row["quantity"] < 0]
    assert shorts
    assert all(row["market_value"] < 0 and row["dv01"] < 0 for row in shorts)
