"""Bulk reads into numpy columns, on both backends."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Integer, String, func, literal, literal_column, select, text

from position_server.errors import StoreUnavailable
from position_server.store.columns import ColumnReader, in_values, open_reader
from position_server.store.engine import Store, open_store
from position_server.store.tables import curves, instruments, positions, trades
from tests.postgres import POSTGRES_URL
from tests.store.factories import instrument, position, put, trade

STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode = EXCLUSIVE")
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
NAMES = ["plain", "with space", 'O\'Brien "quoted"', "Zürich-β", "漢字", "🦆", "a,b;c--", "$1 ? :x %s"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The SQLite file, locked by another process: locks do not hold between two libraries in one."""
    command = [sys.executable, "-c", LOCKER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield
        process.communicate("")


def test_each_column_has_the_array_of_its_type(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("ZNZ25", "FUTURE", multiplier=1000.0, expiry=date(2025, 12, 19)))
    moment = datetime(2025, 10, 30, 16, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-4)))
    put(store, "trades", trade("1", "CUPS", "ZNZ25", trade_time=moment))
    found = reader.read(select(instruments.c.expiry, instruments.c.multiplier, trades.c.trade_time, trades.c.book)
                        .join(trades, trades.c.instrument == instruments.c.instrument))  # fmt: skip
    assert {name: column.dtype.str for name, column in found.items()} == {
        "expiry": "<M8[D]", "multiplier": "<f8", "trade_time": "<M8[us]", "book": "|O",
    }  # fmt: skip
    assert [column[0] for column in found.values()] == [
        np.datetime64("2025-12-19"), 1000.0, np.datetime64("2025-10-30T20:00:00.123456"), "CUPS",
    ]  # fmt: skip


def test_null_is_nan_nat_or_none(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("A"), instrument("B", strike=1.5, expiry=date(2025, 1, 2), root="é"))
    columns = (instruments.c.strike, instruments.c.expiry, instruments.c.root)
    found = reader.read(select(*columns).order_by(instruments.c.instrument))
    assert np.array_equal(found["strike"], [np.nan, 1.5], equal_nan=True)
    assert np.array_equal(found["expiry"], np.array(["NaT", "2025-01-02"], "M8[D]"), equal_nan=True)
    assert found["root"].tolist() == [None, "é"]


def test_column_of_nulls_only_keeps_its_type(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("A"), instrument("B"))
    found = reader.read(select(instruments.c.strike, instruments.c.expiry, instruments.c.root))
    assert [column.dtype.str for column in found.values()] == ["<f8", "<M8[D]", "|O"]
    assert np.isnan(found["strike"]).all()
    assert np.isnat(found["expiry"]).all()
    assert found["root"].tolist() == [None, None]


def test_first_value_after_thousands_of_nulls_is_read(store: Store, reader: ColumnReader) -> None:
    rows = [{"curve": "C", "curve_date": date(2025, 1, 1), "tenor": f"{n:05d}", "rate": None} for n in range(5000)]
    with store.write() as connection:
        connection.execute(curves.insert(), [*rows, rows[0] | {"tenor": "X", "rate": 0.5}])
    found = reader.read(select(curves.c.rate).order_by(curves.c.tenor))
    assert found["rate"][-1] == 0.5
    assert np.isnan(found["rate"][:-1]).all()


def test_no_rows_are_empty_columns_of_the_right_types(reader: ColumnReader) -> None:
    found = reader.read(select(instruments.c.instrument, instruments.c.expiry, trades.c.trade_time, trades.c.price))
    assert [(len(column), column.dtype.str) for column in found.values()] == [
        (0, "|O"), (0, "<M8[D]"), (0, "<M8[us]"), (0, "<f8"),
    ]  # fmt: skip


def test_counts_are_numbers(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("A"))
    assert reader.read(select(func.count().label("n")).select_from(instruments))["n"].tolist() == [1.0]


def test_values_are_bound_whatever_they_contain(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", *(instrument(name, root=name, coupon=0.5) for name in NAMES))
    for name in NAMES:
        query = select(instruments.c.instrument).where(instruments.c.root == name, instruments.c.coupon < 1.0)
        assert reader.read(query)["instrument"].tolist() == [name]


def test_lists_of_values_are_one_parameter(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", *(instrument(name) for name in NAMES))
    asked = [*NAMES[:-1], *(f"unknown {n}" for n in range(10_000))]
    found = reader.read(select(instruments.c.instrument).where(in_values(instruments.c.instrument, asked)))
    assert sorted(found["instrument"]) == sorted(NAMES[:-1])


def test_short_lists_may_use_in_too(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("A"), instrument("B"), instrument("C"))
    found = reader.read(select(instruments.c.instrument).where(instruments.c.instrument.in_(["A", "C"])))
    assert sorted(found["instrument"]) == ["A", "C"]


@pytest.mark.parametrize("name", ["", "\0", "a\0b", "\ud800", "x\udfff"])
def test_names_that_no_store_can_hold_match_nothing(store: Store, reader: ColumnReader, name: str) -> None:
    put(store, "instruments", instrument("A"))
    asked = in_values(instruments.c.instrument, [name])
    assert len(reader.read(select(instruments.c.instrument).where(asked))["instrument"]) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), max_size=8)
)
def test_text_comes_back_as_it_was_written_in_code_point_order(
    store: Store, reader: ColumnReader, names: set[str]
) -> None:
    with store.write() as connection:
        connection.execute(positions.delete())
        connection.execute(instruments.delete())
        if names:
            connection.execute(instruments.insert(), [instrument(name) for name in names])
    query = select(instruments.c.instrument).order_by(instruments.c.instrument)
    assert reader.read(query)["instrument"].tolist() == sorted(names)
    assert reader.read(query.where(in_values(instruments.c.instrument, names)))["instrument"].tolist() == sorted(names)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    price=st.floats(allow_nan=False, allow_infinity=False),
    day=st.dates(date(1900, 1, 1)),
    moment=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_numbers_dates_and_instants_come_back_exactly(
    store: Store, reader: ColumnReader, price: float, day: date, moment: datetime
) -> None:
    with store.write() as connection:
        connection.execute(trades.delete())
        connection.execute(instruments.delete())
    put(store, "instruments", instrument("A"))
    put(store, "trades", trade("1", "B", "A", day, price=price, trade_time=moment))
    query = select(trades.c.price, trades.c.trade_date, trades.c.trade_time)
    asked = query.where(trades.c.trade_date == day, trades.c.trade_time == moment, trades.c.price == price)
    found = reader.read(asked)
    assert [column.tolist() for column in found.values()] == [[price], [day], [moment.replace(tzinfo=None)]]


def test_unsupported_types_are_refused(reader: ColumnReader) -> None:
    with pytest.raises(TypeError, match="cannot be read in bulk"):
        reader.read(select(literal(True, Boolean()).label("flag")))
    with pytest.raises(TypeError, match="bound value"):
        reader.read(
            select(instruments.c.instrument).where(instruments.c.kind == literal(None, instruments.c.kind.type))
        )


def test_reader_sees_what_was_written_after_it_opened(store: Store, reader: ColumnReader) -> None:
    query = select(positions.c.book)
    assert len(reader.read(query)["book"]) == 0
    put(store, "instruments", instrument("A"))
    put(store, "positions", position("CUPS", "A"))
    assert reader.read(query)["book"].tolist() == ["CUPS"]


def test_sqlite_connection_cannot_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with open_store(url) as store:
        store.upgrade()
    with open_reader(url) as reader:
        query = select(literal_column("query_only", Integer).label("value")).select_from(text("pragma_query_only"))
        assert reader.read(query)["value"].tolist() == [1.0]


def test_missing_file_is_unavailable_and_stays_missing(tmp_path: Path) -> None:
    path = tmp_path / "missing.sqlite"
    with (
        open_reader(f"sqlite:///{path}") as reader,
        pytest.raises(StoreUnavailable, match=r"missing\.sqlite .*no such file"),
    ):
        reader.read(select(instruments.c.instrument))
    assert not path.exists()


def test_missing_table_is_unavailable(tmp_path: Path, postgres_schema_url: str) -> None:
    sqlite3.connect(tmp_path / "empty.sqlite").execute("PRAGMA user_version = 1").connection.close()
    empty_schema = POSTGRES_URL + "?schema=no_such_schema"
    for url in (f"sqlite:///{tmp_path / 'empty.sqlite'}", empty_schema):
        with open_reader(url) as reader, pytest.raises(StoreUnavailable, match="instruments"):
            reader.read(select(instruments.c.instrument))


def test_locked_file_is_unavailable_after_the_busy_timeout(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        store.upgrade()
    with open_reader(f"sqlite:///{path}", busy_timeout_seconds=0.01) as reader:
        with locked(path), pytest.raises(StoreUnavailable, match="locked"):
            reader.read(select(instruments.c.instrument))
        assert len(reader.read(select(instruments.c.instrument))["instrument"]) == 0


def test_rebuilt_file_is_read_anew(tmp_path: Path) -> None:
    path, other = tmp_path / "store.sqlite", tmp_path / "other.sqlite"
    for place in (path, other):
        with open_store(f"sqlite:///{place}") as store:
            store.upgrade()
            put(store, "instruments", instrument(place.stem))
    with open_reader(f"sqlite:///{path}") as reader:
        assert reader.read(select(instruments.c.instrument))["instrument"].tolist() == ["store"]
        shutil.move(other, path)
        assert reader.read(select(instruments.c.instrument))["instrument"].tolist() == ["other"]
        path.unlink()
        with pytest.raises(StoreUnavailable):
            reader.read(select(instruments.c.instrument))


def test_broken_connection_is_replaced_once(postgres_store_url: str) -> None:
    with open_reader(postgres_store_url) as reader:
        query = select(func.pg_backend_pid(type_=Integer).label("pid"))
        [process] = reader.read(query)["pid"].tolist()
        with psycopg.connect(POSTGRES_URL, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [int(process)])
        assert reader.read(query)["pid"].tolist() != [process]


def test_result_of_several_batches_is_one_column(postgres_store_url: str) -> None:
    text_of_a_kilobyte = literal_column("repeat('x', 1000)", String)
    query = select(text_of_a_kilobyte.label("text")).select_from(text("generate_series(1, 20000)"))
    with open_reader(postgres_store_url) as reader:
        found = reader.read(query)["text"]
    assert (len(found), set(found.tolist())) == (20_000, {"x" * 1000})


def test_connection_that_breaks_again_and_again_is_unavailable(postgres_store_url: str) -> None:
    end_own_session = func.pg_terminate_backend(func.pg_backend_pid(), 1000, type_=Integer).label("ended")
    with open_reader(postgres_store_url) as reader:
        reader.read(select(positions.c.book))
        with pytest.raises(StoreUnavailable, match=r"terminat|connection"):
            reader.read(select(end_own_session))
        assert len(reader.read(select(func.pg_backend_pid(type_=Integer).label("pid")))["pid"]) == 1


def test_postgres_that_is_down_is_unavailable_in_one_line_without_the_password() -> None:
    reader = open_reader("postgresql://desk:secret@127.0.0.1:1/desk")
    with reader, pytest.raises(StoreUnavailable) as caught:
        reader.read(select(instruments.c.instrument))
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message


def test_reading_does_not_need_pyarrow() -> None:
    program = "import sys, position_server.store.snapshot; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_engine_and_load_do_not_bring_in_numpy() -> None:
    program = "import sys, position_server.store.engine, position_server.store.load; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
