"""Private holdings: the newest value by hand counts, with its day and who; nothing is looked up or invented."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from position_server.sections.base.wrapper import open_workbench
from position_server.store.engine import open_store
from tests.desk import Compute, outcome_of
from tests.store.factories import Row, close, instrument, position, put

JUNE, WEDNESDAY, TODAY = date(2025, 6, 30), date(2025, 10, 29), date(2025, 10, 30)
Private = Callable[..., dict[str, Any]]


def valuation(book: str, name: str, valued_on: date, market_value: float, valued_by: str = "ada") -> Row:
    entered = datetime(2025, 10, 30, 12, tzinfo=UTC)
    who = {"valued_on": valued_on, "valued_by": valued_by, "entered_at": entered}
    return {"book": book, "instrument": name, "market_value": market_value, **who}


@pytest.fixture
def private(tmp_path: Path) -> Private:
    """`private(overrides, ...)`: the section's answer on three holdings of two books."""
    url = f"sqlite:///{tmp_path / 'private.sqlite'}"
    with open_store(url) as store:
        store.upgrade()
        put(store, "instruments", *(instrument(name, kind="PRIVATE") for name in ("FUND", "LOAN", "NEW")))
        for book in ("CUPS", "EXO"):
            held = (position(book, name, WEDNESDAY, investment_class="PRIVATE") for name in ("FUND", "LOAN", "NEW"))
            put(store, "positions", *held)
        put(store, "closes", close("FUND", JUNE, 20.0, "manual"), close("LOAN", TODAY, 30.0, "manual"))
        put(store, "private_valuations", valuation("CUPS", "FUND", WEDNESDAY, 2500.0, "ada"))
        put(store, "private_valuations", valuation("CUPS", "FUND", TODAY, 2600.0, "bob"))
        put(store, "private_valuations", valuation("CUPS", "LOAN", WEDNESDAY, 1.0))

    def compute(overrides: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
        found = outcome_of(
            open_workbench(url, "XNYS", "USD"), "private", overrides, **{"books": ("CUPS", "EXO"), **given}
        )
        assert found.data is not None, found.error_stack
        return orjson.loads(found.data)

    return compute


def rows(data: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["book"], row["instrument"]): row for row in data["positions"]}


def test_the_newest_value_by_hand_counts_with_its_day_and_who(private: Private) -> None:
    found = rows(private())
    fund = found["CUPS", "FUND"]
    assert (fund["market_value"], fund["valued_on"], fund["valued_by"]) == (2600.0, "2025-10-30", "bob")
    assert (fund["price"], fund["price_source"]) == (26.0, "manual")
    assert fund["daily_pnl"] == 100.0  # against yesterday's value
    assert fund["total_pnl"] == 2600.0 - 100 * 10.0


def test_a_newer_mark_counts_before_an_older_valuation(private: Private) -> None:
    loan = rows(private())["CUPS", "LOAN"]
    assert (loan["market_value"], loan["valued_on"], loan["valued_by"]) == (3000.0, "2025-10-30", "load")


def test_a_valuation_is_of_one_book_and_the_other_keeps_its_mark(private: Private) -> None:
    fund = rows(private())["EXO", "FUND"]
    assert (fund["market_value"], fund["valued_on"], fund["price_source"]) == (2000.0, "2025-06-30", "manual")


def test_a_value_of_later_than_the_day_asked_for_is_not_known_yet(private: Private) -> None:
    for asked in ({"time_of_day": "SOD"}, {"env_date": WEDNESDAY}):
        assert rows(private(**asked))["CUPS", "FUND"]["valued_by"] == "ada"
    assert rows(private(env_date=date(2025, 10, 28)))["CUPS", "FUND"]["valued_on"] == "2025-06-30"


def test_a_holding_without_a_value_is_null_named_and_left_out_of_totals(private: Private) -> None:
    data = private()
    new = rows(data)["CUPS", "NEW"]
    assert [new[f] for f in ("price", "market_value", "market_value_base", "valued_on", "valued_by")] == [None] * 5
    assert data["warnings"] == ["no price for NEW"]
    assert data["coverage"]["priced"] == 4
    assert data["totals"]["by_book"]["CUPS"]["market_value_base"] == 5600.0


def test_an_override_is_the_positions_value_also_of_one_that_has_none(private: Private) -> None:
    data = private({"market_value_overrides": {"NEW": 500.0, "FUND": 1.0, "NOBODY": 2.0}}, books=("CUPS",))
    found = rows(data)
    assert (found["CUPS", "NEW"]["market_value"], found["CUPS", "NEW"]["price_source"]) == (500.0, "override")
    assert found["CUPS", "FUND"]["market_value"] == 1.0
    assert found["CUPS", "LOAN"]["price_source"] == "manual"
    assert data["overrides_applied"] == {"NEW": 500.0, "FUND": 1.0}
    assert data["warnings"] == ["market_value_overrides: no position in NOBODY"]


def test_the_demos_marks_are_of_the_end_of_september(compute: Compute) -> None:
    found = compute("private", books=("CUPS", "YCSO", "EXO"))["positions"]
    assert len(found) == 5
    for row in found:
        assert (row["valued_on"], row["valued_by"], row["price_source"]) == ("2025-09-30", "load", "manual")
        assert row["market_value"] == pytest.approx(row["quantity"] * row["price"])
