"""Positions, trades and instruments as columns, on both backends."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from position_server.store.columns import ColumnReader
from position_server.store.engine import Store
from position_server.store.snapshot import instruments, positions, trades
from tests.store.factories import ENV_DATE, FRIDAY, TUESDAY, WEDNESDAY, instrument, position, put, trade


def test_positions_come_with_their_instruments_in_order(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("Z", "BOND", coupon=0.0425, maturity=date(2035, 8, 15)), instrument("a"))
    rows = [position("YCSO", "Z"), position("CUPS", "a"), position("CUPS", "Z"), position("EXO", "a")]
    put(store, "positions", *rows, position("CUPS", "Z", WEDNESDAY))
    found = positions(reader, ENV_DATE, ["YCSO", "CUPS"])
    assert list(zip(found["book"], found["instrument"], strict=True)) == [("CUPS", "Z"), ("CUPS", "a"), ("YCSO", "Z")]
    assert np.array_equal(found["coupon"], [0.0425, np.nan, 0.0425], equal_nan=True)
    assert found["maturity"][0] == np.datetime64("2035-08-15")
    assert found["investment_class"].tolist() == ["PUBLIC"] * 3


def test_positions_of_one_kind(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("B", "BOND"), instrument("E"))
    put(store, "positions", position("CUPS", "B"), position("CUPS", "E"))
    assert positions(reader, ENV_DATE, ["CUPS"], kind="BOND")["instrument"].tolist() == ["B"]


@pytest.mark.parametrize("books", [[], ["NOBODY"], ["O'Brien\"; DROP TABLE positions; --"]])
def test_books_without_positions_give_empty_columns(reader: ColumnReader, books: list[str]) -> None:
    assert len(positions(reader, ENV_DATE, books)["quantity"]) == 0


def test_trades_are_after_the_first_date_and_up_to_the_last(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("A", multiplier=50.0))
    rows = [trade(str(day.day), "CUPS", "A", day) for day in (TUESDAY, ENV_DATE, WEDNESDAY, FRIDAY)]
    put(store, "trades", *rows, trade("other", "EXO", "A", WEDNESDAY))
    found = trades(reader, TUESDAY, ENV_DATE, ["CUPS"])
    assert found["trade_id"].tolist() == ["29", "30"]
    assert found["multiplier"].tolist() == [50.0, 50.0]
    assert found["trade_time"][0] == np.datetime64("2025-10-29T15:30:00")


def test_instruments_of_a_kind_are_ordered_by_name(store: Store, reader: ColumnReader) -> None:
    put(store, "instruments", instrument("b", "BOND"), instrument("B", "BOND"), instrument("A"))
    assert instruments(reader, "BOND")["instrument"].tolist() == ["B", "b"]
    assert instruments(reader)["instrument"].tolist() == ["A", "B", "b"]
