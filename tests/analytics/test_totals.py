"""Sums over positions leave out what is unknown, and say how much that is."""

from __future__ import annotations

import numpy as np

from position_server.analytics.totals import coverage, groups, totals_by_book

BOOKS = np.array(["EXO", "CUPS", "EXO"], dtype=object)


def test_sums_are_by_book_and_in_all_without_unknown_rows() -> None:
    found = totals_by_book(BOOKS, {"pnl": np.array([1.0, 2.0, np.nan])})
    assert found == {"by_book": {"CUPS": {"pnl": 2.0}, "EXO": {"pnl": 1.0}}, "all": {"pnl": 3.0}}


def test_a_sum_of_nothing_known_is_unknown_and_not_zero() -> None:
    found = totals_by_book(BOOKS, {"pnl": np.array([np.nan, 2.0, np.nan])})
    assert found["by_book"]["EXO"] == {"pnl": None}


def test_without_positions_there_is_nothing_to_sum() -> None:
    none = np.array([])
    assert totals_by_book(none.astype(object), {"pnl": none}) == {"by_book": {}, "all": {"pnl": None}}
    assert coverage(none, none, none, none) == {"positions": 0, "priced": 0, "gross_share": None}


def test_an_unpriced_position_counts_by_its_entry_price() -> None:
    one, unknown = np.ones(2), np.nan
    found = coverage(np.array([3.0, -1.0]), np.array([10.0, unknown]), np.array([9.0, 10.0]), one)
    assert found == {"positions": 2, "priced": 1, "gross_share": 0.75}


def test_groups_are_numbered_as_they_appear() -> None:
    names = np.array(["YCSO", "CUPS", "YCSO", None, "CUPS"], dtype=object)
    first, place = groups(names)
    assert (first.tolist(), place.tolist()) == ([0, 1, 3], [0, 1, 0, 2, 1])
    assert [index.tolist() for index in groups(names[:0])] == [[], []]
