"""All SQL of market data but the call budget's: quotes and their sequence numbers, sync status, batch results.

Every public method is one transaction, raises StoreUnavailable, and may be called from any thread. Rows are written in
the order of their keys, so that two processes which write at once wait for each other and never in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum
from typing import Any

import orjson
from sqlalchemy import Connection, Select, Table, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from position_server.market_data.assets import Asset
from position_server.market_data.plausible import PRICES
from position_server.market_data.provider import ProviderQuote
from position_server.market_data.results import BatchResult
from position_server.store.engine import Store
from position_server.store.tables import asset_sync, batch_results, instruments, positions, quote_sequences, quotes

KEPT_RESULTS = 10_000  # batch results; older ones are dropped
INTERRUPTED = "interrupted: the process ended during the update"
VALUES = (*PRICES, "volume")
Row = dict[str, Any]


class Change(Enum):
    """What became of a good quote."""

    STORED = "stored"
    UNCHANGED = "unchanged"  # the very same quote is there
    OLDER = "older"  # a newer one is there, and stays


@dataclass(frozen=True, slots=True)
class Settled:
    """A good quote after its transaction; `sequence` counts the stored quotes of the symbol."""

    change: Change
    sequence: int


class Records:
    """The room's rows in the store, those of one provider."""

    def __init__(self, store: Store, provider: str, zone: tzinfo) -> None:
        """`zone` is the desk's: a quote belongs to the day that its time is in there."""
        self._store = store
        self._provider = provider
        self._zone = zone
        self._prepared: object = None  # which store was

    # --- the start -----------------------------------------------------------------------------------------------

    def make_ready(self, assets: Sequence[Asset]) -> None:
        """Prepare the store, unless this is the very one that was prepared before: a SQLite file may be rebuilt.

        Bring the tables up to date, add the instruments that the assets tell enough of, and a status for each. What a
        killed process left in progress is pending again. Creates no store.
        """
        identity = self._store.identity()
        if identity == self._prepared:
            return
        self._prepare(assets)
        self._prepared = identity

    def _prepare(self, assets: Sequence[Asset]) -> None:
        if not self._store.is_current():
            self._store.upgrade()
        rows = [row for asset in _sorted(assets) if (row := asset.instrument_row()) is not None]
        pending = [self._key(asset.symbol) | {"sync_status": "pending"} for asset in _sorted(assets)]
        with self._store.write() as connection:
            _insert_missing(connection, instruments, rows)
            _insert_missing(connection, asset_sync, pending)
            left = and_(asset_sync.c.provider == self._provider, asset_sync.c.sync_status == "in_progress")
            connection.execute(update(asset_sync).where(left).values(sync_status="pending", last_error=INTERRUPTED))

    # --- one update ----------------------------------------------------------------------------------------------

    def unfetchable(self, symbols: Iterable[str]) -> dict[str, str]:
        """Which of the symbols must not be fetched, and why: unknown instruments, and private ones.

        Private is the instrument, or a public one that the desk's newest positions hold as PRIVATE only.
        """
        wanted = sorted(symbols)
        last_day = select(func.max(positions.c.pos_date)).scalar_subquery()
        held = select(positions.c.instrument, positions.c.investment_class).where(
            positions.c.pos_date == last_day, positions.c.instrument.in_(wanted)
        )
        with self._store.read() as connection:
            kinds = _pairs(connection, select(instruments.c.instrument, instruments.c.kind), instruments, wanted)
            classes: dict[str, set[str]] = {}
            for symbol, investment_class in connection.execute(held.distinct()):
                classes.setdefault(symbol, set()).add(investment_class)
        private = {s for s, kind in kinds.items() if kind == "PRIVATE" or classes.get(s) == {"PRIVATE"}}
        return {
            symbol: "private: nothing is fetched for private positions"
            if symbol in private
            else "unknown_instrument: the store has no such instrument, and the configuration does not tell enough"
            for symbol in wanted
            if symbol in private or symbol not in kinds
        }

    def begin(self, symbols: Iterable[str], now: datetime) -> None:
        """These are being fetched."""
        self._set(symbols, {"sync_status": "in_progress", "last_attempt": now})

    def give_back(self, symbols: Iterable[str]) -> None:
        """These are not being fetched after all."""
        self._set(symbols, {"sync_status": "pending"})

    def settle(self, good: Mapping[str, ProviderQuote], failed: Mapping[str, str], now: datetime) -> dict[str, Settled]:
        """Write the good quotes with their sequence numbers, and how each symbol did: all of it, or nothing.

        A quote that is older than the newest one of its instrument is not written. The result has the good ones.
        """
        with self._store.write() as connection:
            settled = _write_quotes(connection, good, self._provider, self._zone, now)
            current = [s for s, one in settled.items() if one.change is not Change.OLDER]
            overtaken = [s for s, one in settled.items() if one.change is Change.OLDER]
            success = {"sync_status": "success", "last_error": None, "updates": asset_sync.c.updates + 1}
            self._update(connection, current, success | {"last_update": now})
            self._update(connection, overtaken, success)
            failures = {"sync_status": "failed", "failures": asset_sync.c.failures + 1}
            for symbol in sorted(failed):
                self._update(connection, [symbol], failures | {"last_error": failed[symbol]})
        return settled

    # --- what HTTP shows -----------------------------------------------------------------------------------------

    def statuses(self) -> dict[str, Row]:
        """The row of `asset_sync` of each symbol, as a dictionary."""
        query = select(asset_sync).where(asset_sync.c.provider == self._provider)
        with self._store.read() as connection:
            return {row["symbol"]: dict(row) for row in connection.execute(query).mappings()}

    def newest_quotes(self, symbols: Iterable[str]) -> dict[str, Row]:
        """The newest row of `quotes` of each symbol that has one, as a dictionary."""
        with self._store.read() as connection:
            return _newest(connection, sorted(symbols))

    # --- batch results -------------------------------------------------------------------------------------------

    def add_result(self, result: BatchResult) -> None:
        """Keep a batch result; of all of them the newest KEPT_RESULTS stay."""
        row = result.to_dict() | {"started_at": result.started_at, "completed_at": result.completed_at}
        row |= {name: orjson.dumps(row[name]).decode() for name in ("priority_failed", "errors")}
        oldest = (
            select(batch_results.c.started_at)
            .order_by(batch_results.c.started_at.desc())
            .offset(KEPT_RESULTS)
            .limit(1)
            .scalar_subquery()
        )
        with self._store.write() as connection:
            connection.execute(batch_results.insert(), row)
            connection.execute(delete(batch_results).where(batch_results.c.started_at <= oldest))

    def results(self, limit: int, *, with_priority: bool = False) -> list[BatchResult]:
        """The newest batch results, newest first; only those with priority assets where asked for."""
        newest = select(batch_results).order_by(batch_results.c.started_at.desc(), batch_results.c.batch_id.desc())
        if with_priority:
            had_some = or_(batch_results.c.priority_updated > 0, batch_results.c.priority_failed != "[]")
            newest = newest.where(had_some)
        with self._store.read() as connection:
            return [_result(dict(row)) for row in connection.execute(newest.limit(limit)).mappings()]

    # --- statements ----------------------------------------------------------------------------------------------

    def _key(self, symbol: str) -> Row:
        return {"symbol": symbol, "provider": self._provider}

    def _set(self, symbols: Iterable[str], values: Row) -> None:
        with self._store.write() as connection:
            self._update(connection, sorted(symbols), values)

    def _update(self, connection: Connection, symbols: Sequence[str], values: Row) -> None:
        """The values into the rows of these symbols, which are made where they are missing."""
        if not symbols:
            return
        pending = {"sync_status": "pending"}
        _insert_missing(connection, asset_sync, [self._key(symbol) | pending for symbol in symbols])
        row = and_(asset_sync.c.symbol == bindparam("of"), asset_sync.c.provider == self._provider)
        connection.execute(update(asset_sync).where(row).values(values), [{"of": symbol} for symbol in symbols])


def _write_quotes(
    connection: Connection, good: Mapping[str, ProviderQuote], provider: str, zone: tzinfo, now: datetime
) -> dict[str, Settled]:
    """The quotes that are newer, or of the same time and different, with the next sequence number each."""
    symbols = sorted(good)
    # Who else writes quotes of these waits here; SQLite's writers wait for each other anyway.
    of_these = select(instruments.c.instrument).where(instruments.c.instrument.in_(symbols))
    connection.execute(of_these.order_by(instruments.c.instrument).with_for_update(key_share=True))
    there = _newest(connection, symbols)
    sequence = select(quote_sequences.c.instrument, quote_sequences.c.sequence)
    sequences = _pairs(connection, sequence, quote_sequences, symbols)
    settled: dict[str, Settled] = {}
    rows: list[Row] = []
    for symbol in symbols:
        quote = good[symbol]
        row = {"instrument": symbol, "quote_date": quote.timestamp.astimezone(zone).date(), "source": provider}
        row |= {"quote_time": quote.timestamp} | {name: getattr(quote, name) for name in VALUES}
        change = _change(there.get(symbol), row)
        count = sequences.get(symbol, 0) + (change is Change.STORED)
        settled[symbol] = Settled(change, count)
        if change is Change.STORED:
            rows.append(row)
    numbers = [
        {"instrument": row["instrument"], "sequence": settled[row["instrument"]].sequence, "changed_at": now}
        for row in rows
    ]
    _replace(connection, quotes, rows)
    _replace(connection, quote_sequences, numbers)
    return settled


def _change(there: Row | None, row: Row) -> Change:
    if there is None or there["quote_time"] < row["quote_time"]:
        return Change.STORED
    if there["quote_time"] > row["quote_time"]:
        return Change.OLDER
    is_same = all(there[name] == row[name] for name in (*VALUES, "quote_date", "source"))
    return Change.UNCHANGED if is_same else Change.STORED


def _newest(connection: Connection, symbols: Sequence[str]) -> dict[str, Row]:
    """The newest quote of each symbol, by its time."""
    last = (
        select(quotes.c.instrument, func.max(quotes.c.quote_time).label("quote_time"))
        .where(quotes.c.instrument.in_(symbols))
        .group_by(quotes.c.instrument)
        .subquery("last")
    )
    same = and_(quotes.c.instrument == last.c.instrument, quotes.c.quote_time == last.c.quote_time)
    found = connection.execute(select(quotes).join(last, same).order_by(quotes.c.quote_date)).mappings()
    return {row["instrument"]: dict(row) for row in found}


def _pairs(connection: Connection, query: Select[Any], table: Table, symbols: Sequence[str]) -> dict[str, Any]:
    found = connection.execute(query.where(table.c.instrument.in_(symbols)))
    return {row[0]: row[1] for row in found}


def _insert_missing(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def _replace(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    if not rows:
        return
    statement = _insert(connection, table)
    key = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=values), rows)


def _insert(connection: Connection, table: Table) -> Any:
    return (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)


def _result(row: Row) -> BatchResult:
    failed = tuple((one["symbol"], one["error"]) for one in orjson.loads(row["priority_failed"]))
    return BatchResult(**row | {"priority_failed": failed, "errors": tuple(orjson.loads(row["errors"]))})


def _sorted(assets: Iterable[Asset]) -> list[Asset]:
    return sorted(assets, key=lambda asset: asset.symbol)
