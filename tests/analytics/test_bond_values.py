"""One valuation of bonds for every view: quotes, the curve, a moved curve, and prices that somebody fixed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from position_server.analytics.bond_values import BondTerms, BondValues, value_bonds
from position_server.analytics.curves import bootstrap
from tests.analytics.test_curves import RATES, YEARS

SETTLEMENT = date(2025, 10, 31)
CURVE = bootstrap(YEARS, RATES)
UP = bootstrap(YEARS, RATES + 0.01)
MATURITIES = np.array(["2027-05-15", "2035-08-15", "2045-02-15", "2025-10-15"], dtype="datetime64[D]")
TERMS = BondTerms(np.array([0.03, 0.0425, 0.05, 0.04]), MATURITIES)  # the last one has matured
NONE = np.full(4, np.nan)
QUOTED = np.array([np.nan, 101.5, np.nan, 100.0])


def prices(values: BondValues) -> np.ndarray:
    return values.clean_price[:3]


def test_a_quote_is_kept_and_explained_by_its_spread() -> None:
    values = value_bonds(TERMS, SETTLEMENT, QUOTED, CURVE)
    assert values.clean_price[1] == 101.5
    assert values.spread[1] != 0
    assert values.spread[[0, 2]].tolist() == [0, 0]
    np.testing.assert_allclose(prices(values)[[0, 2]], prices(value_bonds(TERMS, SETTLEMENT, NONE, CURVE))[[0, 2]])


def test_a_matured_bond_is_unknown_even_with_a_quote() -> None:
    values = value_bonds(TERMS, SETTLEMENT, QUOTED, CURVE)
    assert np.isnan(values.clean_price[3])
    assert np.isnan(values.dirty_price[3])


def test_a_moved_curve_moves_every_bond_at_its_spread() -> None:
    still, moved = (value_bonds(TERMS, SETTLEMENT, QUOTED, CURVE, moved_curve=to) for to in (CURVE, UP))
    assert (prices(moved) < prices(still)).all()
    np.testing.assert_allclose(moved.spread[:3], still.spread[:3])
    np.testing.assert_allclose(prices(still)[1], 101.5)


def test_a_fixed_price_is_moved_by_nothing() -> None:
    fixed = np.array([95.0, np.nan, np.nan, 95.0])
    values = value_bonds(TERMS, SETTLEMENT, QUOTED, CURVE, moved_curve=UP, fixed_price=fixed)
    assert values.clean_price[0] == 95.0
    assert np.isnan(values.clean_price[3])


def test_without_a_curve_quotes_still_have_yields_and_no_curve_risk() -> None:
    values = value_bonds(TERMS, SETTLEMENT, QUOTED, None)
    assert np.isnan(values.clean_price).tolist() == [True, False, True, True]
    assert 0.03 < values.yields[1] < 0.05
    assert np.isnan(values.curve_risk.curve_dv01).all()


@pytest.mark.parametrize("quoted", [QUOTED, NONE])
def test_an_unchanged_curve_changes_nothing(quoted: np.ndarray) -> None:
    plain = value_bonds(TERMS, SETTLEMENT, quoted, CURVE)
    same = value_bonds(TERMS, SETTLEMENT, quoted, CURVE, moved_curve=CURVE)
    np.testing.assert_allclose(same.clean_price, plain.clean_price, atol=1e-9)
    np.testing.assert_allclose(same.curve_risk.curve_dv01, plain.curve_risk.curve_dv01, atol=1e-9)
