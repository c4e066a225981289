"""Columns as JSON rows: the same as a dictionary per row through orjson, byte by byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.sections.base import Keyed, SectionData
from position_server.sections.base.encoding import ROWS_AT_A_TIME, encode, encode_rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["a,b", '","', '\\","', "a\nb", "", '"'])
ANYTHING = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | TEXTS | st.lists(st.integers(0, 9))
DAYS = st.none() | st.dates()


def columns_of(rows: int) -> st.SearchStrategy[dict[str, Any]]:
    """Columns of every kind, many of them the same value in every row."""

    def column(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(values, min_size=rows, max_size=rows) | values.map(lambda value: [value] * rows)

    kinds = st.one_of(
        column(st.floats()).map(lambda values: np.array(values, np.float64)),
        column(st.sampled_from([0.0, -0.0, float("nan")])).map(lambda values: np.array(values, np.float64)),
        column(st.integers(-(2**63), 2**63 - 1)).map(lambda values: np.array(values, np.int64)),
        column(st.booleans()).map(lambda values: np.array(values, np.bool_)),
        column(DAYS).map(lambda values: np.array(values, "datetime64[D]")),
        column(st.none() | st.datetimes()).map(lambda values: np.array(values, "datetime64[us]")),
        column(st.none() | TEXTS).map(lambda values: np.array(values, object)),
        column(ANYTHING),
    )
    return st.dictionaries(TEXTS, kinds, min_size=1, max_size=5)


def row_by_row(columns: dict[str, Any]) -> bytes:
    """The plain way: a dictionary per row."""

    def plain(column: Any) -> list[Any]:
        if not isinstance(column, np.ndarray):
            return list(column)
        if column.dtype.kind != "M":
            return column.tolist()
        zone = "" if np.datetime_data(column.dtype)[0] == "D" else "+00:00"
        return [None if np.isnat(moment) else str(moment) + zone for moment in column]

    values = [plain(column) for column in columns.values()]
    return orjson.dumps([dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)])


@given(st.integers(0, 5).flatmap(columns_of))
def test_rows_are_those_of_a_dictionary_each(columns: dict[str, Any]) -> None:
    assert encode_rows(columns) == row_by_row(columns)


@pytest.mark.parametrize("rows", [1, ROWS_AT_A_TIME - 1, ROWS_AT_A_TIME, ROWS_AT_A_TIME + 1, 3 * ROWS_AT_A_TIME])
def test_long_columns_lose_no_row(rows: int) -> None:
    numbers = np.arange(rows) / 3
    columns = {
        "a": numbers,
        "b": [f"{n}" for n in range(rows)],
        "again": numbers,
        "reversed": numbers[::-1],
        "c": [1] * rows,
    }
    assert encode_rows(columns) == row_by_row(columns)


def test_mappings_are_written_by_name_and_null_where_a_value_is_unknown() -> None:
    money = Keyed(("2Y", "10Y"), np.array([[1.0, 2.5], [1.0, np.nan], [np.inf, 0.0], [-0.0, 4.0]]))
    assert encode_rows({"key_rate_dv01": money, "n": [1, 2, 3, 4]}) == (
        b'[{"key_rate_dv01":{"2Y":1.0,"10Y":2.5},"n":1},{"key_rate_dv01":null,"n":2},'
        b'{"key_rate_dv01":null,"n":3},{"key_rate_dv01":{"2Y":-0.0,"10Y":4.0},"n":4}]'
    )


def test_mappings_without_names_are_empty() -> None:
    assert encode_rows({"by_name": Keyed((), np.empty((2, 0)))}) == b'[{"by_name":{}},{"by_name":{}}]'


def test_no_columns_and_no_rows_are_no_positions() -> None:
    assert (encode_rows({}), encode_rows({"a": np.empty(0)})) == (b"[]", b"[]")


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="'a': 1, 'b': 2"):
        encode_rows({"a": [1], "b": [1, 2]})


def test_notes_follow_the_parts_that_every_section_has() -> None:
    document = orjson.loads(encode(SectionData(rows={"a": np.array([np.nan])}, warnings=("late",), notes={"more": 1})))
    assert list(document) == ["positions", "totals", "coverage", "warnings", "more"]
    assert (document["positions"], document["warnings"]) == ([{"a": None}], ["late"])
