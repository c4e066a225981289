"""Which price an instrument has, on both backends."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from position_server.store.arrow import Columns
from position_server.store.columns import ColumnReader
from position_server.store.engine import Store, open_store
from position_server.store.location import Location, SqliteLocation
from position_server.store.snapshot import Prices, prices
from position_server.store.snapshot.market_time import TimeOfDay
from position_server.store.snapshot.pricing import closing_prices, last_quotes, named, with_quotes
from tests.store.factories import (
    ENV_DATE,
    FRIDAY,
    MONDAY,
    SATURDAY,
    TUESDAY,
    WEDNESDAY,
    close,
    instrument,
    market,
    position,
    put,
    quote,
)


def row(found: Prices, name: str) -> tuple[Any, ...]:
    """(price, price_date, price_source) of one instrument; NaN and NaT as None."""
    one = found.at([name])
    price, day = one.price[0].item(), one.price_date[0].item()
    return (None if np.isnan(price) else price, day, one.price_source[0])


@pytest.fixture
def stock(store: Store) -> None:
    put(store, "instruments", instrument("A"))


@pytest.mark.usefixtures("stock")
def test_eod_is_the_days_own_close(store: Store, reader: ColumnReader) -> None:
    put(store, "closes", close("A", WEDNESDAY, 9.0), close("A", ENV_DATE, 10.0), close("A", FRIDAY, 11.0))
    assert row(prices(reader, market("EOD")), "A") == (10.0, ENV_DATE, "close")


@pytest.mark.usefixtures("stock")
def test_eod_without_a_close_carries_the_last_one_before(store: Store, reader: ColumnReader) -> None:
    put(store, "closes", close("A", MONDAY, 8.0), close("A", TUESDAY, 9.0), close("A", FRIDAY, 11.0))
    assert row(prices(reader, market("EOD")), "A") == (9.0, TUESDAY, "carried")


@pytest.mark.usefixtures("stock")
def test_sod_is_the_close_of_the_previous_business_day(store: Store, reader: ColumnReader) -> None:
    put(store, "closes", close("A", WEDNESDAY, 9.0), close("A", ENV_DATE, 10.0))
    assert row(prices(reader, market("SOD")), "A") == (9.0, WEDNESDAY, "close")


@pytest.mark.usefixtures("stock")
def test_sod_carries_what_is_older_than_the_previous_business_day(store: Store, reader: ColumnReader) -> None:
    put(store, "closes", close("A", TUESDAY, 9.0), close("A", ENV_DATE, 10.0))
    assert row(prices(reader, market("SOD")), "A") == (9.0, TUESDAY, "carried")


@pytest.mark.usefixtures("stock")
def test_sod_of_a_monday_does_not_see_the_weekend(store: Store, reader: ColumnReader) -> None:
    put(store, "closes", close("A", date(2025, 10, 24), 9.0), close("A", date(2025, 10, 26), 10.0))
    assert row(prices(reader, market("SOD", MONDAY)), "A") == (9.0, date(2025, 10, 24), "close")


@pytest.mark.parametrize("source", ["model", "manual"])
@pytest.mark.usefixtures("stock")
def test_close_tells_where_it_comes_from(store: Store, reader: ColumnReader, source: str) -> None:
    put(store, "closes", close("A", ENV_DATE, 10.0, source))
    assert row(prices(reader, market("EOD")), "A") == (10.0, ENV_DATE, source)


@pytest.mark.usefixtures("stock")
def test_carried_model_close_is_carried_and_keeps_its_own_source_beside(store: Store, reader: ColumnReader) -> None:
    put(store, "closes", close("A", TUESDAY, 10.0, "model"))
    found = prices(reader, market("EOD"))
    assert (found.price_source.tolist(), found.close_source.tolist()) == (["carried"], ["model"])


@pytest.mark.usefixtures("stock")
def test_instrument_without_any_price_is_unknown(reader: ColumnReader) -> None:
    found = prices(reader, market("LIVE"))
    assert found.instrument.tolist() == ["A"]
    assert row(found, "A") == (None, None, None)


@pytest.mark.usefixtures("stock")
def test_live_is_the_quote_of_the_business_date(store: Store, reader: ColumnReader) -> None:
    put(store, "closes", close("A", ENV_DATE, 10.0))
    put(store, "quotes", quote("A", ENV_DATE, last_price=10.5, bid=10.4, ask=10.7))
    found = prices(reader, market("LIVE"))
    assert row(found, "A") == (10.5, ENV_DATE, "live")
    assert (found.bid[0], found.ask[0]) == (10.4, 10.7)
    assert found.quote_time[0] == np.datetime64("2025-10-30T15:30:00")


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize("time_of_day", ["SOD", "EOD"])
def test_sod_and_eod_take_no_quotes(store: Store, reader: ColumnReader, time_of_day: TimeOfDay) -> None:
    put(store, "quotes", quote("A", ENV_DATE, last_price=10.5), quote("A", WEDNESDAY, last_price=10.5))
    assert row(prices(reader, market(time_of_day)), "A") == (None, None, None)


@pytest.mark.usefixtures("stock")
def test_quote_without_last_price_is_the_middle_of_bid_and_ask(store: Store, reader: ColumnReader) -> None:
    put(store, "quotes", quote("A", ENV_DATE, bid=10.0, ask=11.0))
    assert row(prices(reader, market("LIVE")), "A") == (10.5, ENV_DATE, "live")


@pytest.mark.usefixtures("stock")
def test_quote_with_one_side_only_does_not_count(store: Store, reader: ColumnReader) -> None:
    put(store, "closes", close("A", WEDNESDAY, 9.0))
    put(store, "quotes", quote("A", ENV_DATE, bid=10.0))
    found = prices(reader, market("LIVE"))
    assert row(found, "A") == (9.0, WEDNESDAY, "carried")
    assert np.isnan(found.bid).all()
    assert np.isnat(found.quote_time).all()


@pytest.mark.usefixtures("stock")
def test_live_on_a_past_date_is_the_last_quote_of_that_date(store: Store, reader: ColumnReader) -> None:
    put(store, "quotes", *(quote("A", day, last_price=float(day.day)) for day in (MONDAY, TUESDAY, WEDNESDAY)))
    put(store, "closes", close("A", TUESDAY, 10.0))
    assert row(prices(reader, market("LIVE", TUESDAY)), "A") == (28.0, TUESDAY, "live")


@pytest.mark.usefixtures("stock")
def test_live_on_a_past_date_takes_no_quote_of_another_date(store: Store, reader: ColumnReader) -> None:
    put(store, "quotes", quote("A", TUESDAY, last_price=28.0), quote("A", ENV_DATE, last_price=30.0))
    put(store, "closes", close("A", MONDAY, 9.0))
    assert row(prices(reader, market("LIVE", WEDNESDAY)), "A") == (9.0, MONDAY, "carried")


@pytest.mark.usefixtures("stock")
def test_old_quote_does_not_beat_a_later_close(store: Store, reader: ColumnReader) -> None:
    put(store, "quotes", quote("A", TUESDAY, last_price=28.0))
    put(store, "closes", close("A", WEDNESDAY, 9.0))
    assert row(prices(reader, market("LIVE")), "A") == (9.0, WEDNESDAY, "carried")


@pytest.mark.usefixtures("stock")
def test_old_quote_does_not_beat_the_close_of_its_own_day(store: Store, reader: ColumnReader) -> None:
    put(store, "quotes", quote("A", WEDNESDAY, last_price=28.0))
    put(store, "closes", close("A", WEDNESDAY, 9.0))
    assert row(prices(reader, market("LIVE")), "A") == (9.0, WEDNESDAY, "carried")


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize("closed", [True, False])
def test_old_quote_newer_than_every_close_is_carried(store: Store, reader: ColumnReader, closed: bool) -> None:
    put(store, "quotes", quote("A", WEDNESDAY, last_price=28.0))
    if closed:
        put(store, "closes", close("A", TUESDAY, 9.0))
    assert row(prices(reader, market("LIVE")), "A") == (28.0, WEDNESDAY, "carried")


@pytest.mark.usefixtures("stock")
def test_weekend_quote_is_live_with_the_business_date(store: Store, reader: ColumnReader) -> None:
    put(store, "quotes", quote("A", FRIDAY, last_price=31.0), quote("A", SATURDAY, last_price=1.0))
    put(store, "closes", close("A", FRIDAY, 10.0))
    assert row(prices(reader, market("LIVE", FRIDAY, FRIDAY)), "A") == (1.0, FRIDAY, "live")


def test_prices_are_those_of_the_instruments_held(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", *(instrument(name) for name in "ABCD"), instrument("E", "BOND"))
    put(store, "closes", *(close(name, ENV_DATE, 1.0) for name in "ABCDE"))
    put(store, "positions", position("CUPS", "B"), position("YCSO", "B"), position("EXO", "C"), position("CUPS", "E"))
    put(store, "positions", position("CUPS", "D", TUESDAY))
    found = prices(reader, market("EOD"), "EQUITY", ENV_DATE, ["CUPS", "YCSO"])
    assert found.instrument.tolist() == ["B"]
    assert prices(reader, market("EOD"), None, ENV_DATE, ["CUPS"]).instrument.tolist() == ["B", "E"]
    assert prices(reader, market("EOD"), "BOND").instrument.tolist() == ["E"]


def test_prices_align_to_any_names(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("A"), instrument("B"))
    put(store, "closes", close("A", ENV_DATE, 1.0), close("B", ENV_DATE, 2.0))
    found = prices(reader, market("EOD")).at(["B", "unknown", "A", None, "B"])
    assert np.array_equal(found.price, [2.0, np.nan, 1.0, np.nan, 2.0], equal_nan=True)
    assert found.price_source.tolist() == ["close", None, "close", None, "close"]


def test_prices_of_nothing_align_too(reader: ColumnReader) -> None:
    found = prices(reader, market("LIVE"), "EQUITY", ENV_DATE, ["CUPS"]).at(np.array(["A"], object))
    assert (found.instrument.tolist(), row(found, "A")) == (["A"], (None, None, None))


class RecordingReader(ColumnReader):
    """A reader that keeps the SQL of what it read, values written out."""

    def __init__(self, location: Location) -> None:
        super().__init__(location)
        self.statements: list[str] = []

    def read(self, query: Select[Any]) -> Columns:
        compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        self.statements.append(str(compiled))
        return super().read(query)


def scanned(path: Path, read: Callable[[ColumnReader], object]) -> list[str]:
    """The tables that `read` goes through from end to end; it must be two statements."""
    with open_store(f"sqlite:///{path}") as store:
        store.upgrade()
    with RecordingReader(SqliteLocation(path)) as reader:
        read(reader)
        statements = reader.statements
    connection = sqlite3.connect(path)
    plans = [row[3] for sql in statements for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    connection.close()
    assert len(statements) == 2
    return [step for step in plans if step.startswith(("SCAN closes", "SCAN quotes", "SCAN positions", "SCAN instr"))]


def test_no_table_is_read_from_end_to_end_for_prices(tmp_path: Path) -> None:
    assert scanned(tmp_path / "a", lambda reader: prices(reader, market("LIVE"), "EQUITY", ENV_DATE, ["CUPS"])) == []


def test_no_table_is_read_from_end_to_end_for_prices_of_named_instruments(tmp_path: Path) -> None:
    def read(reader: ColumnReader) -> None:
        closing_prices(reader, named(["A", "B"]), ENV_DATE)
        last_quotes(reader, named(["A", "B"]), market("LIVE"))

    assert scanned(tmp_path / "store.sqlite", read) == []


def test_prices_of_named_instruments_are_those_of_all(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", *(instrument(name) for name in "ABCD"))
    put(store, "closes", *(close(name, TUESDAY, 1.0) for name in "ABD"))
    put(store, "quotes", quote("A", ENV_DATE, last_price=2.0), quote("B", MONDAY, last_price=3.0))
    put(store, "quotes", quote("C", ENV_DATE, bid=4.0, ask=5.0))
    names, at = ["C", "A", "unknown", "A", "B"], market("LIVE")
    closing = closing_prices(reader, named(names), at.close_date)
    assert closing.instrument.tolist() == ["A", "B", "C"]
    found = with_quotes(closing.at(names), last_quotes(reader, named(names), at), at)
    assert found.instrument.tolist() == names
    assert [row(found, name) for name in names] == [row(prices(reader, at), name) for name in names]
