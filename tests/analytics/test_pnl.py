"""What positions are worth and have earned."""

from __future__ import annotations

import numpy as np

from position_server.analytics.pnl import (
    bond_daily_pnl,
    bond_market_value,
    bond_total_pnl,
    market_value,
    per_unit,
    price_gain,
)


def test_a_position_is_worth_quantity_times_multiplier_times_price() -> None:
    assert market_value([10.0, -5.0], [100.0, 1.0], [2.5, 40.0]).tolist() == [2500.0, -200.0]


def test_a_bond_counts_by_the_hundred_of_its_face_and_all_else_by_its_multiplier() -> None:
    kinds = np.array(["BOND", "FUTURE", "EQUITY"], dtype=object)
    assert per_unit(kinds, [1.0, 1000.0, 1.0]).tolist() == [0.01, 1000.0, 1.0]


def test_a_short_position_gains_when_the_price_falls() -> None:
    assert price_gain([-3.0], [1000.0], [112.25], [112.5]).tolist() == [750.0]


def test_unknown_stays_unknown_and_harms_no_other() -> None:
    found = price_gain([1.0, 1.0, 1.0], 1.0, [np.nan, 5.0, 5.0], [4.0, np.nan, 4.0])
    np.testing.assert_array_equal(found, [np.nan, np.nan, 1.0])


def test_a_bond_is_worth_its_dirty_price_on_its_face() -> None:
    assert bond_market_value([2_000_000.0], [101.5]).tolist() == [2_030_000.0]


def test_a_coupon_paid_makes_up_for_the_accrued_interest_lost() -> None:
    """The day a coupon of 2 is paid, the dirty price falls by it: nothing was lost."""
    assert bond_daily_pnl([100_000.0], [99.0], [101.0], [2.0]).tolist() == [0.0]


def test_the_total_of_a_bond_compares_clean_prices() -> None:
    assert bond_total_pnl([100_000.0], [99.5], [99.0]).tolist() == [500.0]
