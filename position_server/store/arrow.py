"""Arrow arrays to numpy columns and back: the shapes that ADBC speaks.

Pure conversions, no database. Unknown is NaN, NaT or None, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from sys import intern
from typing import Any, Literal

import nanoarrow
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
ColumnKind = Literal["number", "date", "timestamp", "text"]
Parameter = str | int | float | date | datetime

DTYPES: Mapping[ColumnKind, str] = {
    "number": "float64",
    "date": "datetime64[D]",
    "timestamp": "datetime64[us]",
    "text": "object",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SAMPLE = 100  # texts that tell whether a column's repeat themselves
TEXT_TYPES = ("string", "large_string")


def parameter_row(values: Sequence[Parameter], *, dates_as_text: bool) -> tuple[Any, Any]:
    """One row of bound values as the Arrow (schema, array) capsules of a struct.

    `dates_as_text` writes dates and timestamps the way SQLAlchemy stores them in SQLite.
    """
    encoded = [_encoded(_as_text(value) if dates_as_text else value) for value in values]
    schema = nanoarrow.struct({str(index): kind for index, (_, kind) in enumerate(encoded)})
    children = [nanoarrow.c_array([value], kind) for value, kind in encoded]
    return nanoarrow.c_array_from_buffers(schema, 1, [None], children=children).__arrow_c_array__()  # type: ignore[no-any-return]


def _as_text(value: Parameter) -> Parameter:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value.isoformat() if isinstance(value, date) else value


def _encoded(value: Parameter) -> tuple[str | int | float, Any]:
    """The value and its Arrow type."""
    match value:
        case str():
            return value, nanoarrow.string()
        case bool():
            raise TypeError("a bound value is a text, a number, a date or an aware datetime, not a bool")
        case int():
            return value, nanoarrow.int64()
        case float():
            return value, nanoarrow.float64()
        case datetime():
            microseconds = (value - EPOCH) // MICROSECOND
            return microseconds, nanoarrow.timestamp("us", timezone="UTC")
        case date():
            return (value - EPOCH.date()).days, nanoarrow.date32()
    raise TypeError(f"a bound value is a text, a number, a date or an aware datetime, not {value!r}")


def empty_column(kind: ColumnKind) -> Array:
    """A column of no rows."""
    return np.empty(0, DTYPES[kind])


def column(kind: ColumnKind, view: Any) -> Array:
    """A nanoarrow array view as a numpy column of `kind`. Raises TypeError for what does not fit."""
    if view.length == 0:
        return empty_column(kind)  # it need not have any buffers
    valid = _validity(view)
    if valid is not None and not valid.any():
        # SQLite gives a column without a single value an integer type, whatever it was declared as.
        return _unknown(kind, view.length)
    match kind:
        case "text":
            return _text_column(view, valid)
        case "number":
            return _number_column(view, valid)
        case _:
            return _time_column(view, valid, np.dtype(DTYPES[kind]))


def _validity(view: Any) -> npt.NDArray[np.bool_] | None:
    """Which rows have a value; None where all have."""
    bits = np.asarray(view.buffer(0)) if view.null_count else np.empty(0)
    if bits.size == 0:
        return None
    unpacked = np.unpackbits(bits.view(np.uint8), bitorder="little")
    return unpacked[view.offset : view.offset + view.length].astype(np.bool_)


def _unknown(kind: ColumnKind, length: int) -> Array:
    fill = {"number": np.nan, "text": None}.get(kind, np.datetime64("NaT"))
    return np.full(length, fill, DTYPES[kind])


def _number_column(view: Any, valid: npt.NDArray[np.bool_] | None) -> Array:
    numbers = _fixed_width(view).astype(np.float64)  # a copy: the buffer belongs to the driver
    if valid is not None:
        numbers[~valid] = np.nan
    return numbers


def _time_column(view: Any, valid: npt.NDArray[np.bool_] | None, dtype: np.dtype[Any]) -> Array:
    if view.storage_type in TEXT_TYPES:
        return _parsed_times(view, valid, dtype)
    times = _fixed_width(view).astype(np.int64).view("datetime64[D]" if view.storage_type == "int32" else dtype)
    times = times.astype(dtype)
    if valid is not None:
        times[~valid] = np.datetime64("NaT")
    return times


def _fixed_width(view: Any) -> Array:
    if view.storage_type in TEXT_TYPES:
        raise TypeError(f"expected numbers, found {view.storage_type}")
    return np.asarray(view.buffer(1))[view.offset : view.offset + view.length]


def _parsed_times(view: Any, valid: npt.NDArray[np.bool_] | None, dtype: np.dtype[Any]) -> Array:
    """ISO texts as times, parsed by numpy at once: in one table they all have the same width."""
    raw, offsets = _bytes_and_offsets(view)
    present = np.ones(view.length, np.bool_) if valid is None else valid
    starts, widths = offsets[:-1][present], np.diff(offsets)[present]
    if (widths != widths[:1]).any():
        raise TypeError("dates and timestamps of one column are written in different ways")
    times = np.full(view.length, np.datetime64("NaT"), dtype)
    if len(widths):
        # Gathered, not cut: the SQLite driver leaves bytes behind for nulls before the first value.
        cells = np.frombuffer(raw, np.uint8)[starts[:, None] + np.arange(widths[0])]
        times[present] = cells.view(f"S{widths[0]}")[:, 0].astype(dtype)
    return times


def _text_column(view: Any, valid: npt.NDArray[np.bool_] | None) -> Array:
    if view.storage_type not in TEXT_TYPES:
        raise TypeError(f"expected text, found {view.storage_type}")
    column = np.empty(view.length, object)
    column[:] = _texts(*_bytes_and_offsets(view))
    if valid is not None:
        column[~valid] = None
    return column


def _texts(raw: bytes, offsets: npt.NDArray[np.int64]) -> list[str] | str:
    """The texts of the rows, or the one that they all are. Those that repeat themselves are one object each."""
    width = int(offsets[1])
    if raw == raw[:width] * (len(offsets) - 1) and (np.diff(offsets) == width).all():
        return raw[:width].decode()
    bounds = offsets.tolist()
    if raw.isascii():  # bytes and characters are the same: decode once, cut afterwards
        text = raw.decode("ascii")
        texts = [text[start:end] for start, end in pairwise(bounds)]
    else:
        texts = [raw[start:end].decode() for start, end in pairwise(bounds)]
    repeat_themselves = len(set(texts[:SAMPLE])) < SAMPLE / 2
    return list(map(intern, texts)) if repeat_themselves else texts


def _bytes_and_offsets(view: Any) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The bytes of the rows' texts, and where each begins and ends in them (one more than there are rows)."""
    offsets = np.asarray(view.buffer(1))[view.offset : view.offset + view.length + 1].astype(np.int64)
    data = np.asarray(view.buffer(2)).view(np.uint8)
    return data[offsets[0] : offsets[-1]].tobytes(), offsets - offsets[0]
