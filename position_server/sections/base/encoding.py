"""A section's data as JSON bytes: columns become rows, unknown becomes null, dates become ISO text.

No dictionary is made per row. orjson writes whole columns of numbers (20 ns a number); their texts are cut apart and
joined with the keys between them, some hundred rows at a time, so that the small objects stay in the processor's cache.
Half the time of dictionaries, which is most of what a section of 10,000 positions costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from position_server.sections.base.section import Column, Keyed, SectionData

ROWS_AT_A_TIME = 512
NULL = b"null"
PLAIN_NUMBERS = frozenset(np.dtype(name) for name in ("float64", "int64", "bool"))  # of these orjson's text is tolist's

Texts = Sequence[bytes]  # the JSON of each row's value
Source = bytes | Texts | npt.NDArray[Any] | Keyed  # one text for all rows, one each, or what texts are made of


def encode(data: SectionData) -> bytes:
    """`{positions: [row, ...], totals, coverage, warnings, ...notes}`. NaN and infinities are written as null."""
    document = {
        "positions": orjson.Fragment(encode_rows(data.rows)),
        "totals": data.totals,
        "coverage": data.coverage,
        "warnings": list(data.warnings),
        **data.notes,
    }
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_rows(columns: Mapping[str, Column]) -> bytes:
    """The columns as a JSON array of objects with the columns' names, in their order.

    Raises ValueError for columns of different lengths.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns of different lengths: { {name: len(column) for name, column in columns.items()} }")
    size = max(lengths, default=0)
    if not size:
        return b"[]"
    sources = {id(column): _source(column) for column in columns.values()}
    places = {name: id(column) for name, column in columns.items()}
    blocks = list(_blocks(places, sources, size))
    blocks[0] = b"[" + blocks[0]
    blocks[-1] += b"]"
    return b",".join(blocks)


def _blocks(places: Mapping[str, int], sources: Mapping[int, Source], size: int) -> Iterator[bytes]:
    """The objects of some hundred rows at a time. A column that stands under two names is written out once."""
    for start in range(0, size, ROWS_AT_A_TIME):
        end = min(start + ROWS_AT_A_TIME, size)
        texts = {place: _texts(source, start, end) for place, source in sources.items()}
        yield _objects({name: texts[place] for name, place in places.items()}, end - start, b",")


def _objects(texts: Mapping[str, bytes | Texts], rows: int, separator: bytes) -> bytes:
    """JSON objects with a separator between them. What does not change from row to row joins the key after it."""
    fixed: list[bytes] = []
    cells: list[Texts] = []
    between = separator + b"{"
    for name, column in texts.items():
        between += orjson.dumps(name) + b":"
        if isinstance(column, bytes):
            between += column + b","
        else:
            fixed.append(between)
            cells.append(column)
            between = b","
    stride = 2 * len(cells) + 1
    pieces = [between.removesuffix(b",") + b"}"] * (stride * rows)
    for place, (prefix, column) in enumerate(zip(fixed, cells, strict=True)):
        pieces[2 * place :: stride] = [prefix] * rows
        pieces[2 * place + 1 :: stride] = column
    return b"".join(pieces)[len(separator) :]


def _source(column: Column) -> Source:
    """What the texts of the column are made of, some rows at a time; here what is cheaper for all rows at once."""
    if isinstance(column, Keyed):
        return Keyed(column.names, np.ascontiguousarray(column.values, dtype=np.float64))
    if not isinstance(column, np.ndarray):
        return _each(list(column))
    if column.ndim != 1 or not (column.dtype in PLAIN_NUMBERS or column.dtype.kind == "M"):
        return _each(column.tolist())
    contiguous = np.ascontiguousarray(column)
    bits = contiguous.view(f"i{contiguous.itemsize}")  # tell 0 from -0, and take NaN for equal
    rows = contiguous[:1] if (bits == bits[0]).all() else contiguous
    texts = _times(rows) if column.dtype.kind == "M" else rows if len(rows) > 1 else _numbers(rows)
    return texts[0] if len(rows) == 1 else texts


def _texts(source: Source, start: int, end: int) -> bytes | Texts:
    if isinstance(source, bytes):
        return source
    if isinstance(source, Keyed):
        return _mappings(source.names, source.values[start:end])
    return _numbers(source[start:end]) if isinstance(source, np.ndarray) else source[start:end]


def _numbers(column: npt.NDArray[Any]) -> Texts:
    return _dumped(column)[1:-1].split(b",")


def _mappings(names: Sequence[str], values: npt.NDArray[np.float64]) -> Texts:
    """`{name: value}` of each row (n, k); null for a row that is not known throughout."""
    cells = _numbers(values.reshape(-1))
    by_name = {name: cells[place :: len(names)] for place, name in enumerate(names)}
    texts = _objects(by_name, len(values), b"\n").split(b"\n")  # JSON has no line break of its own
    for row in np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist():
        texts[row] = NULL
    return texts


def _each(values: list[Any]) -> bytes | Texts:
    """Values of any kind. As many commas as there are values less one stand between them, and none inside of them."""
    if isinstance(values[0], str | None) and values.count(values[0]) == len(values):
        return _dumped(values[0])
    texts = _dumped(values)[1:-1].split(b",")
    return texts if len(texts) == len(values) else [_dumped(value) for value in values]


def _times(column: npt.NDArray[np.datetime64]) -> Texts:
    """Days as YYYY-MM-DD, moments in UTC with +00:00; null for not a time."""
    distinct, place = np.unique(column, return_inverse=True)
    suffix = "" if np.datetime_data(column.dtype)[0] == "D" else "+00:00"
    iso = [
        NULL if missing else _dumped(moment + suffix)
        for moment, missing in zip(np.datetime_as_string(distinct).tolist(), np.isnat(distinct).tolist(), strict=True)
    ]
    return [iso[row] for row in place.tolist()]


def _dumped(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
