"""What a worker keeps of the store between runs: values built from some of its tables, until one of those changes.

Nothing here reads rows or knows what is kept: callers give a key, name the tables that the value is read from, and say
how it is built. One thread's, like the reader. Arrays that are kept are made read-only: whoever gets them shares them
with runs to come.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from position_server.store.columns import ColumnReader, Versions
from position_server.store.tables import VERSIONED_TABLES, VersionedTable

T = TypeVar("T")

BUDGET_BYTES = 256 << 20  # of a worker; 100,000 positions with all their columns take about 30 MB
SAMPLE = 1000  # cells that tell how many of an array's texts are one object
BYTES_PER_TEXT = 64  # a short str; one that several columns share counts in each, which is the safe side


class _Value(NamedTuple):
    value: object
    size: int
    tables: frozenset[VersionedTable]


class Kept:
    """Values built from tables that did not change since, the least recently used dropped first.

    Why what is kept is what the store holds: a value is built after a `refresh`, from rows at least as new as the
    versions read there. It stays while every refresh since finds the versions of its tables as they were then, which
    means that nobody changed those tables in between (`ColumnReader.versions`): neither before it was built nor after.
    """

    def __init__(self, reader: ColumnReader, budget_bytes: int = BUDGET_BYTES) -> None:
        self._reader = reader
        self._budget_bytes = budget_bytes
        self._versions: Versions | None = None
        self._values: OrderedDict[Hashable, _Value] = OrderedDict()
        self._bytes = 0

    def refresh(self) -> None:
        """Drop what was built from a table that changed since. Raises StoreUnavailable, and drops everything then.

        Call it before a run. A commit during the run is seen by the reads after it, and by the whole of the next run:
        its tables have other versions, whatever was kept meanwhile.
        """
        before, self._versions = self._versions, None
        try:
            self._versions = self._reader.versions()
        finally:
            self._drop_changed(before, self._versions)

    def get(self, key: Hashable, tables: tuple[VersionedTable, ...], build: Callable[[], T]) -> T:
        """The value of `key`, built where it is not kept.

        The key says all that it depends on beside the store, `tables` all that it depends on in the store: those of
        other kept values that it is made of, too.
        """
        if key in self._values:
            self._values.move_to_end(key)
            return cast("T", self._values[key].value)
        if unknown := sorted(set(tables).difference(VERSIONED_TABLES)):
            raise LookupError(f"the store counts no versions of {', '.join(unknown)}")
        value = build()
        size = _settle(value)
        if self._versions is not None and size <= self._budget_bytes:
            self._values[key] = _Value(value, size, frozenset(tables))
            self._bytes += size
            self._make_room()
        return value

    def _drop_changed(self, before: Versions | None, now: Versions | None) -> None:
        if before is None or now is None or before.origin != now.origin:
            self._values.clear()
            self._bytes = 0
            return
        changed = {table for table in VERSIONED_TABLES if before.by_table.get(table) != now.by_table.get(table)}
        for key in [key for key, kept in self._values.items() if not changed.isdisjoint(kept.tables)]:
            self._bytes -= self._values.pop(key).size

    def _make_room(self) -> None:
        while self._bytes > self._budget_bytes:
            _, dropped = self._values.popitem(last=False)
            self._bytes -= dropped.size


def _settle(value: Any) -> int:
    """Make the value's arrays read-only; about how many bytes they take."""
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
        return value.nbytes + (_text_bytes(value) if value.dtype.kind == "O" else 0)
    if isinstance(value, Mapping):
        return sum(_settle(part) for part in value.values())
    if isinstance(value, tuple | list):
        return sum(_settle(part) for part in value)
    if is_dataclass(value):
        return sum(_settle(getattr(value, field.name)) for field in fields(value))
    return BYTES_PER_TEXT


def _text_bytes(texts: npt.NDArray[np.object_]) -> int:
    """About how many bytes the texts take, by those of a sample that are different objects."""
    sample = texts.ravel()[:: max(1, texts.size // SAMPLE)].tolist()
    return BYTES_PER_TEXT * len(set(map(id, sample))) * texts.size // max(1, len(sample))
