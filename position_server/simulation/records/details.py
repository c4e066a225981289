"""The model-days of jobs, as who runs a job marks them. Completing one is a worker's, with the day it completes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, select, update

from position_server.store.tables import sim_job_details as details
from position_server.store.tables import sim_jobs

UNFINISHED = ("pending", "running")

# Built once: it runs before every model-day.
BEGIN = (
    update(details)
    .where(
        details.c.job_id == bindparam("of_job"),
        details.c.day == bindparam("of_day"),
        details.c.model == bindparam("of_model"),
        details.c.status.in_(UNFINISHED),
        exists().where(
            sim_jobs.c.job_id == bindparam("of_job"),
            sim_jobs.c.owner == bindparam("me"),
            sim_jobs.c.cancel_requested.is_(False),
        ),
    )
    .values(status="running", attempt=details.c.attempt + 1, started_at=bindparam("now"))
    .returning(details.c.attempt)
)


@dataclass(frozen=True, slots=True)
class Detail:
    """One model-day of a job."""

    day: date
    model: str
    status: str
    duration_seconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many model-days of a job are in each status, which one runs, and when any of them changed last."""

    counts: dict[str, int]
    running: tuple[date, str] | None
    changed_at: datetime | None


def take_up(connection: Connection, job_id: str) -> list[tuple[date, str]]:
    """The unfinished model-days in order, none of them running any more."""
    running = update(details).where(details.c.job_id == job_id, details.c.status == "running")
    connection.execute(running.values(status="pending"))
    query = select(details.c.day, details.c.model).where(details.c.job_id == job_id, details.c.status == "pending")
    return [(row[0], row[1]) for row in connection.execute(query.order_by(details.c.day, details.c.model))]


def begin(connection: Connection, job_id: str, owner: str, day: date, model: str, now: datetime) -> int | None:
    """Marks the model-day as running; returns the number of this attempt.

    None where it is finished already, or the job is cancelled or another process's: `jobs.renew` tells which.
    """
    found = connection.execute(BEGIN, {"of_job": job_id, "me": owner, "of_day": day, "of_model": model, "now": now})
    return found.scalar_one_or_none()


def fail(connection: Connection, job_id: str, day: date, model: str, error: str, seconds: float, now: datetime) -> bool:
    """Marks a running model-day as failed; False where it completed after all."""
    query = update(details).where(_is(job_id, day, model), details.c.status == "running")
    failed = query.values(status="failed", error=error, duration_seconds=seconds, completed_at=now)
    return connection.execute(failed).rowcount == 1


def end_unfinished(connection: Connection, job_id: str, status: str, error: str | None, now: datetime) -> int:
    """Gives every unfinished model-day its last status; returns how many there were."""
    query = update(details).where(details.c.job_id == job_id, details.c.status.in_(UNFINISHED))
    return connection.execute(query.values(status=status, error=error, completed_at=now)).rowcount


def of_job(connection: Connection, job_id: str) -> list[Detail]:
    """Every model-day of the job, by date, then model."""
    columns = (details.c.day, details.c.model, details.c.status, details.c.duration_seconds, details.c.error)
    query = select(*columns).where(details.c.job_id == job_id).order_by(details.c.day, details.c.model)
    return [Detail(*row) for row in connection.execute(query)]


def tally(connection: Connection, job_id: str) -> Tally:
    """The job's model-days, counted."""
    counted = (
        select(details.c.status, func.count(), func.max(details.c.started_at), func.max(details.c.completed_at))
        .where(details.c.job_id == job_id)
        .group_by(details.c.status)
    )
    rows = connection.execute(counted).all()
    changes = [moment for row in rows for moment in row[2:] if moment is not None]
    counts = {row[0]: row[1] for row in rows}
    return Tally(counts, _running(connection, job_id) if "running" in counts else None, max(changes, default=None))


def _running(connection: Connection, job_id: str) -> tuple[date, str] | None:
    query = select(details.c.day, details.c.model).where(details.c.job_id == job_id, details.c.status == "running")
    row = connection.execute(query.order_by(details.c.day, details.c.model).limit(1)).one_or_none()
    return None if row is None else (row[0], row[1])


def _is(job_id: str, day: date, model: str) -> ColumnElement[bool]:
    return (details.c.job_id == job_id) & (details.c.day == day) & (details.c.model == model)


def days_of(found: Iterable[tuple[date, str]]) -> dict[date, list[str]]:
    """The models by day, in the given order."""
    grouped: dict[date, list[str]] = {}
    for day, model in found:
        grouped.setdefault(day, []).append(model)
    return grouped
