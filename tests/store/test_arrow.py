"""Arrow arrays to numpy columns: what a driver may hand over, beyond what today's tables make it hand over."""

from __future__ import annotations

from datetime import date
from typing import Any

import nanoarrow
import numpy as np
import pytest

from position_server.store.arrow import column, parameter_row


def view(values: list[Any], kind: Any) -> Any:
    return nanoarrow.c_array(values, kind).view()


def test_dates_of_a_driver_that_knows_dates() -> None:
    found = column("date", view([20391, None, 0], nanoarrow.date32()))
    assert np.array_equal(found, np.array(["2025-10-30", "NaT", "1970-01-01"], "M8[D]"), equal_nan=True)


def test_whole_numbers_with_gaps_are_floats_with_nan() -> None:
    assert np.array_equal(column("number", view([1, None], nanoarrow.int32())), [1.0, np.nan], equal_nan=True)


def test_slice_of_an_array_keeps_its_place() -> None:
    sliced = nanoarrow.c_array(["a", None, "c", "d"], nanoarrow.string())[1:3].view()
    assert column("text", sliced).tolist() == [None, "c"]


def test_texts_as_dates_with_gaps() -> None:
    found = column("date", view([None, "2025-10-30", None], nanoarrow.string()))
    assert np.array_equal(found, np.array(["NaT", "2025-10-30", "NaT"], "M8[D]"), equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "values", "declared"),
    [
        ("number", ["1"], nanoarrow.string()),
        ("text", [1], nanoarrow.int64()),
        ("date", ["2025-10-30", "2025-10-30 00:00"], nanoarrow.string()),
    ],
)
def test_what_does_not_fit_its_column_is_refused(kind: Any, values: list[Any], declared: Any) -> None:
    with pytest.raises(TypeError):
        column(kind, view(values, declared))


@pytest.mark.parametrize("value", [True, None, b"x"])
def test_values_that_cannot_be_bound_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="bound value"):
        parameter_row(["A", value, date(2025, 10, 30)], dates_as_text=True)


@pytest.mark.parametrize(
    "values",
    [["USD"] * 3, [""] * 3, ["漢字"] * 3, ["USD"], [], ["ab", "a", "bab"], ["aa", "a", "aaa"], ["USD", None, "USD"]],
)
def test_texts_are_what_was_stored_also_where_all_are_the_same(values: list[Any]) -> None:
    assert column("text", view(values, nanoarrow.string())).tolist() == values


def test_texts_that_repeat_themselves_are_one_object_each() -> None:
    found = column("text", view(["CUPS", "EXO"] * 100, nanoarrow.string()))
    assert len({id(text) for text in found}) == 2
