"""The runs of a batch: one current row per type and date, earlier ones superseded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, insert, select, update

from position_server.store.tables import batch_runs

SYMBOL_BATCH, PORTFOLIO_REFRESH = "symbol_batch", "portfolio_refresh"
RUNNING, COMPLETED, FAILED, SUPERSEDED = "running", "completed", "failed", "superseded"
NOT_SUPERSEDED = batch_runs.c.status != SUPERSEDED


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One run, as the store has it. `counts` is {} until it is completed."""

    run_id: str
    batch_type: str
    batch_date: date
    status: str
    process: str
    supersedes: str | None
    started_at: datetime
    heartbeat_at: datetime
    completed_at: datetime | None
    error_message: str | None
    input_hash: str | None
    counts: Mapping[str, Any]


def current(connection: Connection, batch_type: str, day: date) -> BatchRun | None:
    """The run of that type and date that none has superseded."""
    query = _runs().where(batch_runs.c.batch_type == batch_type, batch_runs.c.batch_date == day, NOT_SUPERSEDED)
    return _one(connection.execute(query).one_or_none())


def by_id(connection: Connection, run_id: str) -> BatchRun | None:
    """The run of that id."""
    return _one(connection.execute(_runs().where(batch_runs.c.run_id == run_id)).one_or_none())


def listed(
    connection: Connection, *, batch_type: str | None = None, day: date | None = None, limit: int = 100
) -> list[BatchRun]:
    """Runs, the newest first, superseded ones too."""
    query = _runs().order_by(batch_runs.c.started_at.desc(), batch_runs.c.run_id).limit(limit)
    if batch_type is not None:
        query = query.where(batch_runs.c.batch_type == batch_type)
    if day is not None:
        query = query.where(batch_runs.c.batch_date == day)
    return [_run(row) for row in connection.execute(query)]


def begin(connection: Connection, run_id: str, batch_type: str, day: date, process: str, now: datetime) -> BatchRun:
    """Inserts a running run. Raises IntegrityError where another one is current."""
    return _insert(connection, run_id, batch_type, day, process, now, None)


def replace(connection: Connection, seen: BatchRun, run_id: str, process: str, now: datetime) -> BatchRun | None:
    """Supersedes `seen` and inserts a running run in its place; None where `seen` has changed since it was read."""
    query = update(batch_runs).where(_is(seen)).values(status=SUPERSEDED)
    if connection.execute(query).rowcount != 1:
        return None
    return _insert(connection, run_id, seen.batch_type, seen.batch_date, process, now, seen.run_id)


def beat(connection: Connection, run_id: str, now: datetime) -> bool:
    """Says that the run's process lives; False where the run is over or superseded."""
    query = update(batch_runs).where(batch_runs.c.run_id == run_id, batch_runs.c.status == RUNNING)
    return connection.execute(query.values(heartbeat_at=now)).rowcount == 1


def is_running(connection: Connection, run_id: str) -> bool:
    """Whether the run is not over, and stays so until the transaction ends: nobody can supersede it meanwhile."""
    query = select(batch_runs.c.run_id).where(batch_runs.c.run_id == run_id, batch_runs.c.status == RUNNING)
    return connection.execute(query.with_for_update()).one_or_none() is not None


def complete(
    connection: Connection, run_id: str, *, now: datetime, input_hash: str, counts: Mapping[str, Any]
) -> BatchRun | None:
    """Completes a running run; None where it is over or superseded."""
    values = {"status": COMPLETED, "completed_at": now, "heartbeat_at": now, "input_hash": input_hash}
    query = update(batch_runs).where(batch_runs.c.run_id == run_id, batch_runs.c.status == RUNNING)
    done = connection.execute(query.values(**values, counts=json.dumps(counts))).rowcount == 1
    return by_id(connection, run_id) if done else None


def fail(connection: Connection, run_id: str, message: str, now: datetime) -> bool:
    """Ends a running run as failed; False where it is over or superseded."""
    values = {"status": FAILED, "completed_at": now, "error_message": message}
    query = update(batch_runs).where(batch_runs.c.run_id == run_id, batch_runs.c.status == RUNNING)
    return connection.execute(query.values(**values)).rowcount == 1


def fail_silent(connection: Connection, seen: BatchRun, message: str, now: datetime) -> bool:
    """Ends a run as failed that has not been heard of since it was read; False where it has."""
    values = {"status": FAILED, "completed_at": now, "error_message": message}
    return connection.execute(update(batch_runs).where(_is(seen)).values(**values)).rowcount == 1


def _is(seen: BatchRun) -> ColumnElement[bool]:
    """The row as it was read: the same status, and no heartbeat since."""
    runs = batch_runs.c
    return and_(runs.run_id == seen.run_id, runs.status == seen.status, runs.heartbeat_at == seen.heartbeat_at)


def _insert(
    connection: Connection, run_id: str, batch_type: str, day: date, process: str, now: datetime, supersedes: str | None
) -> BatchRun:
    run = BatchRun(run_id, batch_type, day, RUNNING, process, supersedes, now, now, None, None, None, {})
    row = {
        "run_id": run_id,
        "batch_type": batch_type,
        "batch_date": day,
        "status": RUNNING,
        "process": process,
        "supersedes": supersedes,
        "started_at": now,
        "heartbeat_at": now,
    }
    connection.execute(insert(batch_runs), row)
    return run


def _runs() -> Select[Any]:
    return select(batch_runs)


def _one(row: Row[Any] | None) -> BatchRun | None:
    return None if row is None else _run(row)


def _run(row: Row[Any]) -> BatchRun:
    fields = dict(row._mapping)
    fields["counts"] = json.loads(fields["counts"]) if fields["counts"] else {}
    return BatchRun(**fields)
