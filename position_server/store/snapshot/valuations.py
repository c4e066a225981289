"""What a book's private positions were last said to be worth, by hand: the newest valuation on or before a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from sqlalchemy import and_, func, select

from position_server.store.columns import ColumnReader, in_values
from position_server.store.tables import private_valuations


@dataclass(frozen=True, slots=True, eq=False)
class Valuations:
    """Aligned arrays, one row per position: money of the whole position; NaN, NaT and None where there is none."""

    market_value: npt.NDArray[np.float64]
    valued_on: npt.NDArray[np.datetime64]
    valued_by: npt.NDArray[np.object_]


def valuations(
    reader: ColumnReader,
    upto: date,
    books: Iterable[str],
    positions: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]],
) -> Valuations:
    """The newest valuation on or before `upto` of each position: books and instruments, row by row.

    Raises StoreUnavailable.
    """
    c = private_valuations.c
    newest = (
        select(c.book, c.instrument, func.max(c.valued_on).label("valued_on"))
        .where(c.valued_on <= upto, in_values(c.book, books))
        .group_by(c.book, c.instrument)
        .subquery("newest")
    )
    same = and_(c.book == newest.c.book, c.instrument == newest.c.instrument, c.valued_on == newest.c.valued_on)
    found = reader.read(select(c.book, c.instrument, c.market_value, c.valued_on, c.valued_by).join(newest, same))
    row_by_key = {key: row for row, key in enumerate(zip(found["book"], found["instrument"], strict=True))}
    rows = [row_by_key.get(key, -1) for key in zip(*positions, strict=True)]
    known = np.array([row >= 0 for row in rows], dtype=np.bool_)
    result = Valuations(
        market_value=np.full(len(rows), np.nan),
        valued_on=np.full(len(rows), np.datetime64("NaT", "D")),
        valued_by=np.full(len(rows), None, dtype=object),
    )
    taken = [row for row in rows if row >= 0]
    result.market_value[known] = found["market_value"][taken]
    result.valued_on[known] = found["valued_on"][taken]
    result.valued_by[known] = found["valued_by"][taken]
    return result
