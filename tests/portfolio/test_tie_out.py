"""Tie-outs: the demo's books tie out to the cent on every day; whatever does not is shown where it is."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.business_days import Calendar
from position_server.portfolio.records import snapshots, trades
from position_server.portfolio.records.snapshots import Snapshot, SnapshotPosition
from position_server.portfolio.records.trades import Trade
from position_server.portfolio.snapshots import SECTION_OF_KIND, by_book, take
from position_server.portfolio.tie_out import Earlier, Holding, Taken, rolled_forward, tie_out, traded
from position_server.sections.base.wrapper import open_workbench
from position_server.store.engine import open_store
from tests.desk import outcome_of
from tests.portfolio.books import BOOKS, THURSDAY, WEDNESDAY

FIRST = date(2025, 9, 29)
Rows = dict[str, dict[str, Any]]


def eod_rows(file: Path, day: date) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What the sections show of every book at the EOD of that day, by section and book."""
    workbench = open_workbench(f"sqlite:///{file}", "XNYS", "USD")
    shown: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in SECTION_OF_KIND.values():
        outcome = outcome_of(workbench, name, books=BOOKS, env_date=day, pos_date=day)
        assert outcome.data is not None, outcome.error_stack
        by_name: dict[str, list[dict[str, Any]]] = {book: [] for book in BOOKS}
        for row in orjson.loads(outcome.data)["positions"]:
            by_name[row["book"]].append(row)
        shown[name] = by_name
    workbench.source.reader.close()
    return shown


EXPOSURE = {"exposures": {}, "exposures_as_of": None, "note": "", "coverage": None}
ALLOCATIONS = {"private_allocation_pct": None, "options_allocation_pct": None}


def taken_on(file: Path, day: date) -> dict[str, tuple[Taken, Rows]]:
    """Each book's snapshot of a day, and its rows of the environment."""
    shown = eod_rows(file, day)
    with open_store(f"sqlite:///{file}", read_only=True) as store, store.read() as connection:
        held = by_book(snapshots.held_on(connection, day))
    found = {}
    for book, positions in held.items():
        answers: dict[str, Any] = {
            name: {"positions": by_name[book], "warnings": []} for name, by_name in shown.items()
        }
        answers["exposures"] = {"by_book": {book: {**EXPOSURE, **ALLOCATIONS}}, "warnings": []}
        snapshot, rows = take(book, day, "USD", positions, answers)
        multipliers = {one.instrument: one.multiplier for one in positions}
        environment = {row["instrument"]: row for by_name in shown.values() for row in by_name[book]}
        found[book] = (Taken(snapshot, rows, multipliers), environment)
    return found


def test_every_book_of_the_demo_ties_out_to_the_cent_from_day_to_day(demo_store: Path) -> None:
    days = Calendar.named("XNYS").between(FIRST, THURSDAY)
    traded_in_all, earlier = 0, taken_on(demo_store, days[0])
    for before, day in pairwise(days):
        today = taken_on(demo_store, day)
        with open_store(f"sqlite:///{demo_store}", read_only=True) as store, store.read() as connection:
            done = {book: trades.between(connection, book, before, day) for book in BOOKS}
        for book, (taken, environment) in today.items():
            found = tie_out(taken, environment, Earlier(before, earlier[book][0].positions, done[book]))
            assert [one for one in found["positions"] if one["differences"]] == []
            assert found["ties_out"] is True
            assert found["positions_compared"] == taken.snapshot.position_count
            totals = found["totals"]
            assert totals["snapshot"] == pytest.approx(totals["environment"], abs=0.005)
            assert totals["snapshot"] == pytest.approx(totals["rolled_forward"], abs=0.005)
            traded_in_all += found["trades"]
        earlier = today
    with sqlite3.connect(demo_store) as connection:
        assert traded_in_all == connection.execute("SELECT count(*) FROM trades").fetchone()[0] > 300
    connection.close()


def test_what_the_nights_wrote_ties_out_with_the_night_before(two_nights_file: Path) -> None:
    shown = eod_rows(two_nights_file, THURSDAY)
    with open_store(f"sqlite:///{two_nights_file}", read_only=True) as store, store.read() as connection:
        for book in BOOKS:
            snapshot = snapshots.newest(connection, book, THURSDAY)
            before = snapshots.newest(connection, book, WEDNESDAY)
            assert snapshot is not None
            assert before is not None
            rows = snapshots.positions_of(connection, book, THURSDAY)
            multipliers = snapshots.multipliers_of(connection, [row.instrument for row in rows])
            done = trades.between(connection, book, WEDNESDAY, THURSDAY)
            earlier = Earlier(WEDNESDAY, snapshots.positions_of(connection, book, WEDNESDAY), done)
            environment = {row["instrument"]: row for by_name in shown.values() for row in by_name[book]}
            found = tie_out(Taken(snapshot, rows, multipliers), environment, earlier)
            assert (found["ties_out"], found["positions_off"]) == (True, 0)
            assert found["trades"] == len(done) > 0


# --- what does not tie out -------------------------------------------------------------------------------------------


def taken_position(name: str = "AAA", **values: Any) -> SnapshotPosition:
    worth = {"price": 12.0, "market_value": 1200.0, "market_value_base": 1200.0, "cost_base": 1000.0, "daily_pnl": 0.0}
    common = {"kind": "EQUITY", "investment_class": "PUBLIC", "currency": "USD", "quantity": 100.0, "entry_price": 10.0}
    dated = {"price_date": THURSDAY, "price_source": "close", "fx_rate": 1.0, "total_pnl": 200.0}
    return SnapshotPosition(**{"instrument": name, **common, **worth, **dated, **values})


def taken_book(*rows: SnapshotPosition) -> Taken:
    nothing: Any = {"exposures": {}, "exposures_as_of": None, "note": ""}
    total = sum(row.market_value_base or 0.0 for row in rows)
    figures = (total, None, None, None, len(rows), len(rows), 1.0)
    snapshot = Snapshot("CUPS", THURSDAY, "USD", *figures, {}, nothing, None, None, None, ())
    return Taken(snapshot, rows, {row.instrument: 1.0 for row in rows})


def shown(*rows: SnapshotPosition) -> Rows:
    return {row.instrument: {"quantity": row.quantity, "market_value_base": row.market_value_base} for row in rows}


def only(found: dict[str, Any]) -> list[str]:
    (position,) = [one for one in found["positions"] if one["differences"]]
    assert (found["ties_out"], found["positions_off"]) == (False, 1)
    differences: list[str] = position["differences"]
    return differences


def test_a_trade_that_is_missing_shows_as_a_quantity() -> None:
    now = taken_position(quantity=130.0)
    earlier = Earlier(WEDNESDAY, [taken_position()], [])
    assert only(tie_out(taken_book(now), shown(now), earlier)) == ["rolled_forward: quantity 100.0, not 130.0"]


def test_a_price_that_was_corrected_after_the_night_shows_in_the_environment() -> None:
    now = taken_position()
    moved = replace(now, market_value_base=1200.01)
    assert only(tie_out(taken_book(now), shown(moved), None)) == ["environment: market value 1200.01, not 1200.0"]
    within = replace(now, market_value_base=1200.004)
    assert tie_out(taken_book(now), shown(within), None)["ties_out"] is True


def test_an_entry_price_that_no_trade_explains_shows_in_a_futures_value() -> None:
    future = {"kind": "FUTURE", "market_value": 200.0, "market_value_base": 200.0}
    now, before = taken_position(**future), taken_position(**future, entry_price=9.0)
    found = tie_out(taken_book(now), shown(now), Earlier(WEDNESDAY, [before], []))
    assert only(found) == ["rolled_forward: market value 300.0, not 200.0"]


def test_a_position_of_one_side_only_shows() -> None:
    now, gone = taken_position(), taken_position("GONE")
    assert only(tie_out(taken_book(now), shown(now, gone), None)) == ["environment: quantity 100.0, not None"]
    earlier = Earlier(WEDNESDAY, [now, gone], [])
    assert only(tie_out(taken_book(now), shown(now), earlier)) == ["rolled_forward: quantity 100.0, not None"]


def test_a_private_position_is_worth_its_value_by_hand_whatever_was_traded() -> None:
    now = taken_position("PVT", kind="PRIVATE", quantity=110.0)
    before = taken_position("PVT", kind="PRIVATE", market_value=900.0, market_value_base=900.0)
    earlier = Earlier(WEDNESDAY, [before], [Trade("1", "PVT", 10.0, 9.0)])
    assert tie_out(taken_book(now), shown(now), earlier)["ties_out"] is True


def test_an_unknown_value_ties_out_with_an_unknown_one_only() -> None:
    unknown = taken_position(price=None, market_value=None, market_value_base=None)
    assert tie_out(taken_book(unknown), shown(unknown), Earlier(WEDNESDAY, [unknown], []))["ties_out"] is True
    assert only(tie_out(taken_book(unknown), shown(taken_position()), None)) == [
        "environment: market value 1200.0, not None"
    ]


# --- rolling forward -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holding", "quantity", "price", "after"),
    [
        (None, 5.0, 2.0, Holding(5.0, 2.0)),
        (Holding(10.0, 2.0), 10.0, 4.0, Holding(20.0, 3.0)),
        (Holding(-10.0, 2.0), -30.0, 4.0, Holding(-40.0, 3.5)),
        (Holding(10.0, 2.0), -4.0, 9.0, Holding(6.0, 2.0)),
        (Holding(10.0, 2.0), -14.0, 9.0, Holding(-4.0, 9.0)),
        (Holding(10.0, 2.0), -10.0, 9.0, None),
        (Holding(10.0, None), 5.0, 9.0, Holding(15.0, None)),
    ],
)
def test_a_trade_changes_a_holding_by_weighted_average_cost(
    holding: Holding | None, quantity: float, price: float, after: Holding | None
) -> None:
    assert traded(holding, quantity, price) == after


Trades = st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.floats(1, 100)), max_size=12)


@given(Trades)
def test_rolled_quantities_are_the_sums_of_trades(done: list[tuple[int, float]]) -> None:
    listed = [Trade(str(n), "AAA", float(quantity), price) for n, (quantity, price) in enumerate(done)]
    found = rolled_forward(Earlier(WEDNESDAY, [taken_position()], listed))
    whole = 100 + sum(quantity for quantity, _ in done)
    assert (found["AAA"].quantity if "AAA" in found else 0) == pytest.approx(whole)
    if "AAA" in found:
        prices = [10.0, *(price for _, price in done)]
        entry = found["AAA"].entry_price
        assert entry is not None
        assert min(prices) - 1e-9 <= entry <= max(prices) + 1e-9  # an average of what was paid
