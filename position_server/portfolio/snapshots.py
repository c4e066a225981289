"""Snapshots of books: every position valued by its section, as the EOD environment of the day shows it.

A worker process computes the sections, with the very functions that serve environments; this process, which has the
store open for writing, only adds up. Nothing is written here: the batch writes all snapshots in its last transaction. A
position without a value is left out of the sums, counted, and named; none is ever taken for zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import groupby
from types import MappingProxyType
from typing import Any

import orjson

from position_server.compute import tasks
from position_server.compute.pool import ComputePool, Kind, Task
from position_server.errors import SnapshotFailed
from position_server.outcomes import SectionCall, SectionOutcome
from position_server.params import BaseParams
from position_server.portfolio.records.snapshots import HeldPosition, Snapshot, SnapshotPosition
from position_server.settings import Settings

SECTION_OF_KIND: Mapping[str, str] = MappingProxyType(
    {
        "BOND": "bonds",
        "EQUITY": "equities",
        "FUTURE": "futures",
        "OPTION": "options",
        "PRIVATE": "private",
        "SPOT": "spot",
    }
)
EXPOSURES = "exposures"
FACE = 100.0  # bonds are priced per 100 of it
QUEUE = 10_000
PATIENCE = 30  # times TIMEOUTS: at night nobody waits for an answer
NO_VALUE = "no value for "  # the exposures section names again what the other ones have named
Taken = tuple[Snapshot, list[SnapshotPosition]]
Answers = Mapping[str, Mapping[str, Any]]


class PositionsChanged(Exception):
    """The positions are others than the ones that were valued: somebody loaded some meanwhile."""


class Valuer:
    """Values books in worker processes; see `open_valuer`."""

    def __init__(self, pool: ComputePool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings

    def answers(self, book: str, day: date, kinds: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What the sections of these kinds of instrument, and `exposures`, say of a book at the EOD of `day`.

        Raises SnapshotFailed where one of them cannot be computed.
        """
        base = BaseParams(env_date=day, pos_date=day, books=(book,), time_of_day="EOD")
        names = [*sorted({SECTION_OF_KIND[kind] for kind in kinds}), EXPOSURES]
        work = [
            Task(tasks.RUN_SECTION, (SectionCall(name, base, day),), PATIENCE * self._settings.timeout_of(name))
            for name in names
        ]
        done = [future.result() for future in self._pool.submit(Kind.WARMUP, work)]
        return {outcome.section: _data(outcome, book, day) for outcome in done}


@contextmanager
def open_valuer(settings: Settings) -> Iterator[Valuer]:
    """A Valuer with worker processes of its own, for as long as the block lasts.

    Not in this process: it has a SQLite store open for writing (`store.columns` says why that matters).
    """
    arguments = (settings.store_url, settings.calendar, settings.base_currency)
    compute = settings.compute
    with ComputePool(
        tasks.OPEN_WORKBENCH, arguments, workers=compute.worker_count, queue=QUEUE, memory_mb=compute.memory_mb
    ) as pool:
        yield Valuer(pool, settings)


def by_book(held: Iterable[HeldPosition]) -> dict[str, list[HeldPosition]]:
    """Positions, which come by book, as a list for each."""
    return {book: list(rows) for book, rows in groupby(held, key=lambda one: one.book)}


def take(book: str, day: date, currency: str, held: Sequence[HeldPosition], answers: Answers) -> Taken:
    """The snapshot of a book that holds `held`, from what the sections say. Raises PositionsChanged."""
    values = {
        (name, row["instrument"]): row for name in answers if name != EXPOSURES for row in answers[name]["positions"]
    }
    if values.keys() != {(SECTION_OF_KIND[one.kind], one.instrument) for one in held}:
        raise PositionsChanged
    rows = [_position(one, values[SECTION_OF_KIND[one.kind], one.instrument]) for one in held]
    exposures = answers[EXPOSURES]["by_book"][book]
    valued = [row for row in rows if row.market_value_base is not None]
    snapshot = Snapshot(
        book=book,
        snapshot_date=day,
        currency=currency,
        total_value=_sum(row.market_value_base for row in valued),
        total_cost=_sum(row.cost_base for row in valued),
        total_pnl=_sum(_in_base(row.total_pnl, row) for row in valued),
        daily_pnl=_sum(_in_base(row.daily_pnl, row) for row in valued),
        position_count=len(rows),
        priced_count=len(valued),
        gross_share=_gross_share(held, rows),
        counts={
            "by_kind": _counts(row.kind for row in rows),
            "by_class": _counts(row.investment_class for row in rows),
            "by_price_source": _counts(row.price_source or "none" for row in rows),
        },
        exposures={name: exposures[name] for name in ("exposures", "exposures_as_of", "note")},
        exposure_coverage=exposures["coverage"],
        private_allocation_pct=exposures["private_allocation_pct"],
        options_allocation_pct=exposures["options_allocation_pct"],
        warnings=_warnings(answers, rows),
    )
    return snapshot, rows


def _data(outcome: SectionOutcome, book: str, day: date) -> dict[str, Any]:
    if outcome.data is None:
        raise SnapshotFailed(f"{book} on {day}: the section {outcome.section} failed: {outcome.error_line}")
    data: dict[str, Any] = orjson.loads(outcome.data)
    return data


def _position(held: HeldPosition, row: Mapping[str, Any]) -> SnapshotPosition:
    if row["quantity"] != held.quantity or row["currency"] != held.currency:
        raise PositionsChanged
    cost, rate = _cost(held), row["fx_rate"]
    return SnapshotPosition(
        instrument=held.instrument,
        kind=held.kind,
        investment_class=held.investment_class,
        currency=held.currency,
        quantity=held.quantity,
        entry_price=held.entry_price,
        price=row["price"],
        price_date=date.fromisoformat(row["price_date"]) if row["price_date"] else None,
        price_source=row["price_source"],
        fx_rate=rate,
        market_value=row["market_value"],
        market_value_base=row["market_value_base"],
        cost_base=None if cost is None or rate is None else cost * rate,
        daily_pnl=row["daily_pnl"],
        total_pnl=row["total_pnl"],
    )


def _cost(held: HeldPosition) -> float | None:
    """What was paid, in the instrument's currency: of a future nothing, of a bond without accrued interest."""
    if held.kind == "FUTURE":
        return 0.0
    return None if held.entry_price is None else held.quantity * _per_unit(held) * held.entry_price


def _per_unit(held: HeldPosition) -> float:
    return 1 / FACE if held.kind == "BOND" else held.multiplier


def _gross_share(held: Sequence[HeldPosition], rows: Sequence[SnapshotPosition]) -> float | None:
    """As in a section's coverage: the share of |size × price| that has a price and a rate; else by the entry price."""
    known = whole = 0.0
    for one, row in zip(held, rows, strict=True):
        price = one.entry_price if row.price is None else row.price
        gross = 0.0 if price is None else abs(one.quantity * _per_unit(one) * price * (row.fx_rate or 1.0))
        whole += gross
        known += gross if row.price is not None and row.fx_rate is not None else 0.0
    return known / whole if whole else None


def _warnings(answers: Answers, rows: Sequence[SnapshotPosition]) -> list[str]:
    """What the sections warn of, each once, and which private positions nobody has valued."""
    unvalued = [row.instrument for row in rows if row.kind == "PRIVATE" and row.market_value is None]
    told = [f"left out, as nobody has valued it: {name}" for name in unvalued]
    for name in sorted(answers):
        told += [f"{name}: {text}" for text in answers[name]["warnings"] if not text.startswith(NO_VALUE)]
    return list(dict.fromkeys(told))


def _in_base(amount: float | None, row: SnapshotPosition) -> float | None:
    return None if amount is None or row.fx_rate is None else amount * row.fx_rate


def _sum(amounts: Iterable[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return math.fsum(known) if known else None


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
