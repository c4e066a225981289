"""Loading files: what is in the store afterwards; twice is the same, on both backends."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from position_server.store import tables
from position_server.store.engine import Store
from position_server.store.load import KINDS, LoadResult, load_file
from tests.store.factories import ENV_DATE, WEDNESDAY, Row
from tests.store.load.files import FILES, problems_of, rows_of


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads_and_loading_twice_changes_nothing(store: Store, kind: str) -> None:
    count = len(FILES[kind]) - 1
    assert load_file(store, kind, FILES[kind]) == LoadResult(kind, count, count, 0, 0, 0)
    before = rows_of(store, kind)
    again = load_file(store, kind, FILES[kind])
    assert again == LoadResult(kind, count, 0, 0, count, 0)
    assert (again.changed_nothing, str(again)) == (True, f"{kind}: {count} rows, nothing changed")
    assert rows_of(store, kind) == before


def test_instruments_have_decimals_dates_and_defaults(store: Store) -> None:
    load_file(store, "instruments", FILES["instruments"])
    found = {row["instrument"]: row for row in rows_of(store, "instruments")}
    bond, option, pair = found["US91282CNT43"], found["AAPL251121C00250000"], found["USDJPY"]
    assert (bond["coupon"], bond["maturity"]) == (0.0425, date(2035, 8, 15))
    assert (option["name"], option["option_right"], option["strike"]) == ("Apple, call", "C", 250.0)
    assert (pair["base_currency"], pair["currency"], pair["multiplier"]) == ("USD", "JPY", 1.0)


def test_percentages_become_the_nearest_decimal(store: Store) -> None:
    load_file(store, "curves", FILES["curves"])
    assert [row["rate"] for row in rows_of(store, "curves")] == [0.04117, None]


def test_timestamps_are_stored_in_utc(store: Store) -> None:
    load_file(store, "trades", FILES["trades"])
    assert rows_of(store, "trades")[0]["trade_time"] == datetime(2025, 10, 30, 15, 30, 0, 500_000, tzinfo=UTC)


def test_column_order_spaces_blank_lines_and_byte_order_mark_do_not_matter(store: Store) -> None:
    lines = ["\ufeffrate , fx_date,pair\r\n", "\r\n", " 1.25 ,2025-10-30 , EURUSD\r\n", ",,\r\n"]
    load_file(store, "fx", lines)
    assert rows_of(store, "fx") == [{"pair": "EURUSD", "fx_date": ENV_DATE, "rate": 1.25}]


def test_file_is_read_by_its_path(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "fx.csv"
    path.write_text("\n".join(FILES["fx"]), encoding="utf-8-sig")
    assert load_file(store, "fx", path).inserted == 1
    assert load_file(store, "fx", str(path)).unchanged == 1


def test_header_alone_loads_nothing(store: Store) -> None:
    assert load_file(store, "trades", FILES["trades"][:1]).rows == 0


def test_source_of_a_close_is_close_unless_it_says_otherwise(store: Store) -> None:
    load_file(store, "closes", ["close_date,instrument,close", "2025-10-30,A,1", "2025-10-30,B,1"])
    load_file(store, "closes", ["close_date,instrument,close,source", "2025-10-29,A,1,"])
    assert {row["source"] for row in rows_of(store, "closes")} == {"close"}


# --- what a second file changes ---


def test_differing_rows_are_updated_and_counted(store: Store) -> None:
    load_file(store, "closes", ["close_date,instrument,close", "2025-10-30,A,1", "2025-10-30,B,2"])
    lines = ["close_date,instrument,close", "2025-10-30,A,1", "2025-10-30,B,3", "2025-10-29,B,4"]
    result = load_file(store, "closes", lines)
    assert result == LoadResult("closes", 3, 1, 1, 1, 0)
    assert str(result) == "closes: 3 rows: 1 inserted, 1 updated, 1 unchanged"
    assert [row["close"] for row in rows_of(store, "closes")] == [1.0, 4.0, 3.0]


def test_column_left_out_is_null_afterwards(store: Store) -> None:
    load_file(store, "closes", ["close_date,instrument,close,volume", "2025-10-30,A,1,7"])
    assert load_file(store, "closes", ["close_date,instrument,close", "2025-10-30,A,1"]).updated == 1
    assert rows_of(store, "closes")[0]["volume"] is None


def test_positions_no_longer_named_are_removed_for_the_dates_and_books_of_the_file(store: Store) -> None:
    header = "pos_date,book,instrument,quantity,investment_class"
    stated = [f"{day},{book},{name},1,PUBLIC" for day in (29, 30) for book in ("CUPS", "EXO") for name in "AB"]
    load_file(store, "positions", [header, *(f"2025-10-{line}" for line in stated)])
    result = load_file(store, "positions", [header, "2025-10-30,CUPS,B,1,PUBLIC"])
    assert result == LoadResult("positions", 1, 0, 0, 1, 2 - 1)
    assert str(result).endswith("1 removed")
    left = [(row["pos_date"].day, row["book"], row["instrument"]) for row in rows_of(store, "positions")]
    assert left == [
        (29, "CUPS", "A"), (29, "CUPS", "B"), (29, "EXO", "A"), (29, "EXO", "B"),
        (30, "CUPS", "B"), (30, "EXO", "A"), (30, "EXO", "B"),
    ]  # fmt: skip


# --- dates ---


def test_date_of_the_command_fills_a_missing_column_and_empty_cells(store: Store) -> None:
    load_file(store, "fx", ["pair,rate", "EURUSD,1.25"], ENV_DATE)
    load_file(store, "fx", ["pair,rate,fx_date", "USDJPY,150,", "GBPUSD,1.3,2025-10-29"], ENV_DATE)
    found = {row["pair"]: row["fx_date"] for row in rows_of(store, "fx")}
    assert found == {"EURUSD": ENV_DATE, "USDJPY": ENV_DATE, "GBPUSD": WEDNESDAY}


@pytest.mark.parametrize("kind", ["positions", "trades", "closes", "curves", "fx"])
def test_file_without_dates_needs_the_date_of_the_command(store: Store, kind: str) -> None:
    header, *lines = (line.split(",") for line in FILES[kind])
    column = header.index(KINDS[kind].dated_by or "")
    without = [",".join(cells[:column] + cells[column + 1 :]) for cells in (header, *lines)]
    [(line, message)] = problems_of(store, kind, without)
    assert (line, "(or give a --date)" in message) == (1, True)
    assert load_file(store, kind, without, ENV_DATE).inserted == len(lines)


def test_instruments_take_no_date(store: Store) -> None:
    assert problems_of(store, "instruments", FILES["instruments"], ENV_DATE) == [
        (1, "these rows have no date: leave --date out")
    ]


@pytest.mark.parametrize(
    ("dates", "on_date", "expected"),
    [("", None, date(2025, 10, 31)), ("", ENV_DATE, ENV_DATE), ("2025-10-29", ENV_DATE, WEDNESDAY)],
)
def test_quote_date_is_the_column_else_the_command_else_the_utc_date(
    store: Store, dates: str, on_date: date | None, expected: date
) -> None:
    lines = ["quote_time,quote_date,instrument,last_price", f"2025-10-30T22:00:00-04:00,{dates},A,1"]
    load_file(store, "quotes", lines, on_date)
    assert rows_of(store, "quotes")[0]["quote_date"] == expected


# --- quotes ---


def load_quotes(store: Store, *quotes: tuple[int, float]) -> LoadResult:
    lines = [f"2025-10-30T15:{minute:02d}:00Z,A,{price}" for minute, price in quotes]
    return load_file(store, "quotes", ["quote_time,instrument,last_price", *lines])


def test_older_quote_never_replaces_a_newer_one(store: Store) -> None:
    load_quotes(store, (10, 1.0))
    assert load_quotes(store, (9, 2.0)) == LoadResult("quotes", 1, 0, 0, 1, 0)
    assert load_quotes(store, (11, 3.0)).updated == 1
    assert [row["last_price"] for row in rows_of(store, "quotes")] == [3.0]


def test_quote_of_the_same_time_corrects_the_stored_one(store: Store) -> None:
    load_quotes(store, (10, 1.0))
    assert load_quotes(store, (10, 2.0)).updated == 1


def test_newest_of_several_quotes_in_one_file_counts(store: Store) -> None:
    assert load_quotes(store, (10, 1.0), (12, 3.0), (11, 2.0)) == LoadResult("quotes", 3, 1, 0, 2, 0)
    assert [row["last_price"] for row in rows_of(store, "quotes")] == [3.0]


# --- invariants ---


def closes_strategy() -> st.SearchStrategy[list[Row]]:
    price = st.floats(allow_nan=False, allow_infinity=False)
    row = st.fixed_dictionaries(
        {
            "instrument": st.sampled_from("AB"),
            "close_date": st.dates(date(2025, 1, 1), date(2025, 1, 9)),
            "close": price,
            "open": st.none() | price,
            "volume": st.none() | st.floats(0, 1e12),
            "source": st.sampled_from(tables.CLOSE_SOURCES),
        }
    )
    return st.lists(row, unique_by=lambda row: (row["instrument"], row["close_date"]), max_size=12)


def csv_lines(rows: list[Row]) -> list[str]:
    columns = ["instrument", "close_date", "close", "open", "volume", "source"]
    cells = [["" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    return [",".join(line) for line in (columns, *cells)]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=closes_strategy(), second=closes_strategy())
def test_store_holds_what_the_files_said_last(store: Store, first: list[Row], second: list[Row]) -> None:
    with store.write() as connection:
        connection.execute(delete(tables.closes))
    expected: dict[tuple[str, date], Row] = {}
    for rows in (first, second, second):
        before = dict(expected)
        expected |= {(row["instrument"], row["close_date"]): row for row in rows}
        result = load_file(store, "closes", csv_lines(rows))
        new = [key for key in expected if key not in before]
        changed = [key for key in before if before[key] != expected[key]]
        assert (result.inserted, result.updated) == (len(new), len(changed))
        found = {(row["instrument"], row["close_date"]): row for row in rows_of(store, "closes")}
        assert found == {key: row | {"high": None, "low": None} for key, row in expected.items()}
