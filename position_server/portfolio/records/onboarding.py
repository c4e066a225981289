"""Jobs that bring a symbol into the store: pending, processing, completed, failed. One per symbol."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, or_, select, update

from position_server.store.tables import onboarding_jobs

PENDING, PROCESSING, COMPLETED, FAILED = "pending", "processing", "completed", "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """A symbol being onboarded, or that was."""

    symbol: str
    status: str
    attempts: int
    requested_by: str
    process: str | None
    queued_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    completed_at: datetime | None
    error_message: str | None


def queue(connection: Connection, symbols: Collection[str], requested_by: str, now: datetime) -> list[str]:
    """Queues symbols, again those that are done with; returns those that were not waiting or worked on already."""
    c = onboarding_jobs.c
    query = select(c.symbol, c.status).where(c.symbol.in_(list(symbols)))
    known = {row[0]: row[1] for row in connection.execute(query)}
    fresh = {"status": PENDING, "attempts": 0, "requested_by": requested_by, "queued_at": now}
    queued = []
    for symbol in dict.fromkeys(symbols):
        if symbol not in known:
            connection.execute(insert(onboarding_jobs), {"symbol": symbol, **fresh})
        elif known[symbol] in (COMPLETED, FAILED):
            begun = {"process": None, "started_at": None, "heartbeat_at": None, "completed_at": None}
            values = {**fresh, **begun, "error_message": None}
            connection.execute(update(onboarding_jobs).where(c.symbol == symbol).values(**values))
        else:
            continue
        queued.append(symbol)
    return queued


def is_waiting(connection: Connection, now: datetime, timeout: timedelta) -> bool:
    """Whether there is a job to claim."""
    query = select(onboarding_jobs.c.symbol).where(_waits(now, timeout)).limit(1)
    return connection.execute(query).one_or_none() is not None


def claim(connection: Connection, process: str, now: datetime, timeout: timedelta) -> Job | None:
    """The job that waits longest, now this process's; one whose process is silent for `timeout` waits again."""
    c = onboarding_jobs.c
    waiting = select(onboarding_jobs).where(_waits(now, timeout)).order_by(c.queued_at, c.symbol)
    row = connection.execute(waiting.limit(1).with_for_update(skip_locked=True)).one_or_none()
    if row is None:
        return None
    begun = {"status": PROCESSING, "process": process, "started_at": now, "heartbeat_at": now}
    values = {**begun, "attempts": row.attempts + 1}
    connection.execute(update(onboarding_jobs).where(c.symbol == row.symbol).values(**values))
    return by_symbol(connection, row.symbol)


def beat(connection: Connection, job: Job, now: datetime) -> bool:
    """Says that the job's process lives; False where the job is another one's by now."""
    return _change(connection, job, heartbeat_at=now)


def release(connection: Connection, job: Job) -> bool:
    """Puts the job back into the queue, as if nobody had begun it."""
    return _change(connection, job, status=PENDING, process=None, attempts=job.attempts - 1)


def complete(connection: Connection, job: Job, now: datetime) -> bool:
    """Ends the job well; False where it is another one's by now."""
    return _change(connection, job, status=COMPLETED, completed_at=now, error_message=None)


def fail(connection: Connection, job: Job, message: str, now: datetime) -> bool:
    """Ends the job as failed, with the reason; False where it is another one's by now."""
    return _change(connection, job, status=FAILED, completed_at=now, error_message=message)


def by_symbol(connection: Connection, symbol: str) -> Job | None:
    """The job of that symbol."""
    row = connection.execute(select(onboarding_jobs).where(onboarding_jobs.c.symbol == symbol)).one_or_none()
    return None if row is None else _job(row)


def active(connection: Connection, symbols: Collection[str]) -> list[str]:
    """Those of `symbols` that wait or are being worked on."""
    c = onboarding_jobs.c
    query = select(c.symbol).where(c.symbol.in_(list(symbols)), c.status.in_((PENDING, PROCESSING)))
    return sorted(connection.execute(query).scalars())


def _waits(now: datetime, timeout: timedelta) -> ColumnElement[bool]:
    """Queued, or abandoned by its process."""
    c = onboarding_jobs.c
    return or_(c.status == PENDING, and_(c.status == PROCESSING, c.heartbeat_at < now - timeout))


def _change(connection: Connection, job: Job, **values: Any) -> bool:
    return connection.execute(update(onboarding_jobs).where(_is(job)).values(**values)).rowcount == 1


def _is(job: Job) -> ColumnElement[bool]:
    """The job as it was claimed: by this process, at that time."""
    c = onboarding_jobs.c
    mine = and_(c.process == job.process, c.started_at == job.started_at)
    return and_(c.symbol == job.symbol, c.status == PROCESSING, mine)


def _job(row: Row[Any]) -> Job:
    return Job(**row._mapping)
