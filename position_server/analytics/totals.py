"""Sums over positions, by book and in all, and how much of the exposure has a price. Unknown amounts are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ObjectArray = npt.NDArray[np.object_]
IndexArray = npt.NDArray[np.intp]


def totals_by_book(books: ObjectArray, amounts: Mapping[str, FloatArray]) -> dict[str, Any]:
    """`{by_book: {book: {name: sum}}, all: {name: sum}}`.

    `books` and every array are (n,). NaN rows are left out; a sum of nothing known is None, not zero.
    """
    first, place = groups(books)
    by_name = {name: _sums(amount, place, len(first)) for name, amount in amounts.items()}
    rows = sorted(zip(books[first].tolist(), range(len(first)), strict=True))
    by_book = {book: {name: sums[row] for name, sums in by_name.items()} for book, row in rows}
    in_all = np.zeros(len(books), dtype=np.intp)
    return {"by_book": by_book, "all": {name: _sums(amount, in_all, 1)[0] for name, amount in amounts.items()}}


def groups(names: ObjectArray) -> tuple[IndexArray, IndexArray]:
    """Where each distinct name stands first (k,), and which of those each name (n,) is; in order of appearance.

    By dictionary, in C throughout: numpy would sort, and first make texts of one width of the objects.
    """
    listed = names.tolist()
    distinct = dict.fromkeys(listed)
    number_by_name = dict(zip(distinct, range(len(distinct)), strict=True))
    place = np.fromiter(map(number_by_name.__getitem__, listed), np.intp, len(listed))
    row_by_name = dict(zip(reversed(listed), range(len(listed) - 1, -1, -1), strict=True))  # the first row comes last
    return np.fromiter(map(row_by_name.__getitem__, distinct), np.intp, len(distinct)), place


def coverage(size: FloatArray, price: FloatArray, entry_price: FloatArray, fx_rate: FloatArray) -> dict[str, Any]:
    """`{positions, priced, gross_share}` of n positions.

    `size` is quantity × multiplier (n,), `price` and `entry_price` per unit, `fx_rate` to base currency. gross_share is
    the share of the gross exposure |size × price × fx_rate| that has a price and a rate; an unpriced position counts by
    its entry price, one without either not at all. None where nothing has an exposure.
    """
    priced = ~np.isnan(price)
    gross = np.abs(size * np.where(priced, price, entry_price) * np.where(np.isnan(fx_rate), 1.0, fx_rate))
    whole = float(np.nansum(gross))
    known = float(np.nansum(gross[priced & ~np.isnan(fx_rate)]))
    return {"positions": len(price), "priced": int(priced.sum()), "gross_share": known / whole if whole else None}


def _sums(amount: FloatArray, place: npt.NDArray[np.intp], groups: int) -> list[float | None]:
    known = ~np.isnan(amount)
    sums = np.bincount(place[known], weights=amount[known], minlength=groups)
    counts = np.bincount(place[known], minlength=groups)
    return [float(total) if count else None for total, count in zip(sums, counts, strict=True)]
