"""Snapshots of books: valued as their sections do, whole or not at all, and nothing unknown taken for zero."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete

from position_server.errors import SectionTimeout
from position_server.portfolio.portfolios_batch import run_portfolios
from position_server.portfolio.records import factors, runs, snapshots
from position_server.portfolio.records.runs import PORTFOLIO_REFRESH, SYMBOL_BATCH
from position_server.portfolio.records.snapshots import HeldPosition
from position_server.portfolio.snapshots import SECTION_OF_KIND, PositionsChanged, take
from position_server.portfolio.symbols_batch import run_symbols
from position_server.sections.base.wrapper import open_workbench
from position_server.settings import PortfolioSettings
from position_server.store.engine import Store, open_store
from position_server.store.tables import factor_fits, portfolio_snapshots, positions, snapshot_positions
from tests.desk import outcome_of
from tests.portfolio.books import BOOKS, THURSDAY, night_on, settings_on
from tests.portfolio.desk import NIGHT, PORTFOLIO, Source, Told, contents
from tests.store.factories import instrument, position, put

TABLES = ("portfolio_snapshots", "snapshot_positions", "factor_fits", "factor_exposures")


@pytest.fixture
def two_nights(two_nights_file: Path, tmp_path: Path) -> str:
    """The URL of a copy."""
    return f"sqlite:///{shutil.copy(two_nights_file, tmp_path)}"


def sections_of(file: Path, book: str) -> dict[str, Any]:
    """What the EOD environment shows of a book."""
    workbench = open_workbench(f"sqlite:///{file}", "XNYS", "USD")
    found = {}
    for name in (*SECTION_OF_KIND.values(), "exposures"):
        outcome = outcome_of(workbench, name, books=(book,), pos_date=THURSDAY)
        assert outcome.data is not None, outcome.error_stack
        found[name] = orjson.loads(outcome.data)
    workbench.source.reader.close()
    return found


@pytest.mark.parametrize("book", BOOKS)
def test_a_snapshot_is_what_the_eod_environment_shows(two_nights_file: Path, book: str) -> None:
    sections = sections_of(two_nights_file, book)
    with open_store(f"sqlite:///{two_nights_file}", read_only=True) as store, store.read() as connection:
        snapshot = snapshots.newest(connection, book, date.max)
        rows = snapshots.positions_of(connection, book, THURSDAY)
    assert snapshot is not None
    shown = {row["instrument"]: row for name in SECTION_OF_KIND.values() for row in sections[name]["positions"]}
    assert {row.instrument for row in rows} == shown.keys()
    for row in rows:
        expected = shown[row.instrument]
        for field in ("quantity", "price", "price_source", "market_value_base", "fx_rate", "daily_pnl", "total_pnl"):
            assert getattr(row, field) == expected[field]
    totals = sections["exposures"]["totals"]["by_book"][book]
    assert snapshot.total_value == pytest.approx(totals["market_value_base"], rel=1e-12)
    assert snapshot.exposures["exposures"] == sections["exposures"]["by_book"][book]["exposures"]
    assert set(snapshot.exposures["exposures"]) == {
        *("VUG", "VTV", "MTUM", "QUAL", "IWM", "SPY", "USMV", "TLT"),
        "market_beta",
    }
    assert snapshot.position_count == len(rows)


def test_value_less_cost_is_the_profit_but_for_accrued_interest(two_nights_file: Path) -> None:
    with open_store(f"sqlite:///{two_nights_file}", read_only=True) as store, store.read() as connection:
        rows = [row for book in BOOKS for row in snapshots.positions_of(connection, book, THURSDAY)]
    for row in rows:
        if row.kind != "BOND" and row.market_value is not None:
            assert row.market_value_base is not None
            assert row.cost_base is not None
            assert row.total_pnl is not None
            assert row.fx_rate is not None
            assert row.market_value_base - row.cost_base == pytest.approx(row.total_pnl * row.fx_rate, abs=1e-4)


def test_a_missing_price_is_named_and_in_no_sum(two_nights_file: Path) -> None:
    with open_store(f"sqlite:///{two_nights_file}", read_only=True) as store, store.read() as connection:
        snapshot = snapshots.newest(connection, "EXO", date.max)
        rows = {row.instrument: row for row in snapshots.positions_of(connection, "EXO", THURSDAY)}
    assert snapshot is not None
    assert "equities: no price for ZNEWCO" in snapshot.warnings
    assert (rows["ZNEWCO"].price, rows["ZNEWCO"].market_value_base, rows["ZNEWCO"].price_source) == (None, None, None)
    assert snapshot.priced_count == snapshot.position_count - 1
    assert snapshot.counts["by_price_source"]["none"] == 1
    assert snapshot.gross_share is not None
    assert 0.9 < snapshot.gross_share < 1
    valued = [row.market_value_base for row in rows.values() if row.market_value_base is not None]
    assert snapshot.total_value == pytest.approx(sum(valued))


def test_a_second_run_changes_nothing_but_the_list_of_runs(two_nights: str) -> None:
    with open_store(two_nights) as store:
        before = contents(store, *TABLES)
        first = current(store, THURSDAY)
        again = run_portfolios(night_on(store, settings_on(two_nights, compute={"workers": 1}), THURSDAY))
        assert contents(store, *TABLES) == before
    assert (again.supersedes, again.input_hash) == (first.run_id, first.input_hash)
    assert again.counts == first.counts


def test_a_rerun_replaces_also_the_snapshot_of_a_book_that_is_gone(two_nights: str) -> None:
    with open_store(two_nights) as store:
        with store.write() as connection:
            held = positions.c
            connection.execute(delete(positions).where(held.pos_date == THURSDAY, held.book == "YCSO"))
        done = run_portfolios(night_on(store, settings_on(two_nights, compute={"workers": 1}), THURSDAY))
        assert done.counts["books"] == 2
        assert done.counts["books_without_positions"] == ["YCSO"]
        with store.read() as connection:
            newest = snapshots.newest(connection, "YCSO", date.max)
            assert newest is not None
            assert newest.snapshot_date < THURSDAY
            assert snapshots.positions_of(connection, "YCSO", THURSDAY) == []


def current(store: Store, day: date) -> runs.BatchRun:
    with store.read() as connection:
        found = runs.current(connection, PORTFOLIO_REFRESH, day)
    assert found is not None
    return found


# --- on the small desk -----------------------------------------------------------------------------------------------


class Meddler(Told):
    """Progress that does something, once, when the first book has been valued."""

    def __init__(self, meddle: Callable[[], None]) -> None:
        super().__init__()
        self._meddle: Callable[[], None] | None = meddle

    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.phases[-1][0] == "snapshots" and self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            meddle()


@pytest.fixture
def small(desk_store: Store) -> tuple[Store, Any]:
    """The small desk after its symbols run, and its settings."""
    settings = settings_on(f"sqlite:///{desk_store.location}", compute={"workers": 1})
    settings = settings.model_copy(update={"portfolio": PortfolioSettings(**PORTFOLIO)})
    run_symbols(night_on(desk_store, settings, NIGHT), Source)
    return desk_store, settings


def test_a_private_position_without_a_value_is_left_out_and_named(small: tuple[Store, Any]) -> None:
    store, settings = small
    run_portfolios(night_on(store, settings, NIGHT))
    with store.read() as connection:
        snapshot = snapshots.newest(connection, "EXO", NIGHT)
        rows = {row.instrument: row for row in snapshots.positions_of(connection, "EXO", NIGHT)}
    assert snapshot is not None
    assert "left out, as nobody has valued it: PVT" in snapshot.warnings
    assert rows["PVT"].market_value is None
    assert snapshot.private_allocation_pct == 0
    assert (snapshot.position_count, snapshot.priced_count) == (4, 3)


def test_fits_that_a_book_still_lacks_are_computed_before_its_snapshot(small: tuple[Store, Any]) -> None:
    store, settings = small
    with store.write() as connection:
        fitted = factors.fits(connection, NIGHT, ["AAA"])["AAA"]
        connection.execute(delete(factor_fits).where(factor_fits.c.instrument == "AAA"))
    done = run_portfolios(night_on(store, settings, NIGHT))
    assert done.counts["fits_computed"] == ["AAA"]
    with store.read() as connection:
        assert factors.fits(connection, NIGHT, ["AAA"])["AAA"] == fitted
        snapshot = snapshots.newest(connection, "CUPS", NIGHT)
    assert snapshot is not None
    assert snapshot.exposure_coverage == 1.0


def test_positions_that_change_meanwhile_have_it_start_over(small: tuple[Store, Any]) -> None:
    store, settings = small

    def load() -> None:
        put(store, "positions", position("NEW", "DDD", NIGHT))

    meddler = Meddler(load)
    done = run_portfolios(night_on(store, settings, NIGHT, meddler))
    assert done.counts["books"] == 3
    assert [phase for phase, _ in meddler.phases].count("snapshots") == 2
    assert f"symbols or positions of {NIGHT} have changed meanwhile: starting over" in meddler.lines


def test_symbols_that_are_processed_again_have_it_wait_and_start_over(small: tuple[Store, Any]) -> None:
    store, settings = small
    meddler = Meddler(lambda: run_symbols(night_on(store, settings, NIGHT), Source))
    done = run_portfolios(night_on(store, settings, NIGHT, meddler))
    with store.read() as connection:
        symbols = runs.current(connection, SYMBOL_BATCH, NIGHT)
    assert symbols is not None
    assert done.counts["symbols_run"] == symbols.run_id
    assert [phase for phase, _ in meddler.phases].count("snapshots") == 2


def test_a_section_that_fails_fails_the_run_and_nothing_is_written(small: tuple[Store, Any]) -> None:
    store, settings = small
    impatient = settings.model_copy(update={"timeouts": {"default": 0.0001}})
    with pytest.raises(SectionTimeout):
        run_portfolios(night_on(store, impatient, NIGHT))
    assert current(store, NIGHT).status == "failed"
    assert contents(store, "portfolio_snapshots", "snapshot_positions") == {
        "portfolio_snapshots": [],
        "snapshot_positions": [],
    }


def test_a_date_without_positions_is_completed_without_snapshots(small: tuple[Store, Any]) -> None:
    store, settings = small
    with store.write() as connection:
        connection.execute(delete(positions))
    done = run_portfolios(night_on(store, settings, NIGHT))
    assert (done.status, done.counts["books"]) == ("completed", 0)


# --- adding up -------------------------------------------------------------------------------------------------------


def held(name: str = "AAA", **values: Any) -> HeldPosition:
    given = {"kind": "EQUITY", "investment_class": "PUBLIC", "currency": "USD", "multiplier": 1.0, "quantity": 10.0}
    return HeldPosition("CUPS", name, **{**given, "entry_price": 4.0, **values})


def answers(*rows: dict[str, Any]) -> dict[str, Any]:
    known = {"price": None, "price_date": None, "price_source": None, "fx_rate": 1.0, "market_value": None}
    common = {**known, "market_value_base": None, "daily_pnl": None, "total_pnl": None, "currency": "USD"}
    exposure = {"exposures": {}, "exposures_as_of": None, "note": "", "coverage": None}
    allocations = {"private_allocation_pct": None, "options_allocation_pct": None}
    return {
        "equities": {"positions": [{**common, **row} for row in rows], "warnings": ["w", "w"]},
        "exposures": {"by_book": {"CUPS": {**exposure, **allocations}}, "warnings": ["no value for AAA"]},
    }


def test_a_book_of_which_nothing_is_known_has_no_total_not_zero() -> None:
    snapshot, _ = take("CUPS", NIGHT, "USD", [held()], answers({"instrument": "AAA", "quantity": 10.0}))
    assert (snapshot.total_value, snapshot.total_cost, snapshot.total_pnl) == (None, None, None)
    assert (snapshot.priced_count, snapshot.gross_share) == (0, 0.0)
    assert snapshot.warnings == ["equities: w"]
    json.dumps(snapshot.counts)


@pytest.mark.parametrize("row", [{"instrument": "BBB", "quantity": 10.0}, {"instrument": "AAA", "quantity": 11.0}])
def test_rows_of_other_positions_than_the_stores_are_refused(row: dict[str, Any]) -> None:
    with pytest.raises(PositionsChanged):
        take("CUPS", NIGHT, "USD", [held()], answers(row))


def test_snapshots_are_read_as_they_were_written(store: Store) -> None:
    put(store, "instruments", instrument("AAA"))
    row = {"instrument": "AAA", "quantity": 10.0, "price": 5.0, "price_date": "2025-10-30", "price_source": "close"}
    worth = {"market_value": 50.0, "market_value_base": 50.0, "daily_pnl": 1.0, "total_pnl": 10.0}
    taken = take("CUPS", NIGHT, "USD", [held()], answers({**row, **worth}))
    for _ in range(2):
        with store.write() as connection:
            snapshots.write(connection, NIGHT, [taken])
    with store.read() as connection:
        assert snapshots.listed(connection, "CUPS", NIGHT, NIGHT) == [taken[0]]
        assert snapshots.positions_of(connection, "CUPS", NIGHT) == taken[1]
    assert (taken[0].total_value, taken[0].total_cost, taken[0].total_pnl) == (50.0, 40.0, 10.0)
    with store.write() as connection:
        connection.execute(delete(snapshot_positions))
        connection.execute(delete(portfolio_snapshots))
