"""Jobs in the store: created, claimed by a process, cancelled, ended.

A pending or running job has a slot. Creators go one after the other (`one_at_a_time`); slot, number and identity are
unique besides, so that the store itself never has two jobs where there may be one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from position_server.simulation.due import Due
from position_server.store.tables import positions, sim_job_details, sim_jobs, sim_positions

CREATION_LOCK = 7_031_443  # any constant: the advisory lock that creators meet at
BOOK_PREFIX = "sim:"  # of the books that models' holdings are written to


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the store has it."""

    job_id: str
    number: int
    slot: int | None
    identity: str | None
    status: str
    config_path: str
    config: str
    date_range: tuple[date, ...]
    models: tuple[str, ...]
    triggered_by: str
    cancel_requested: bool
    owner: str | None
    lease_until: datetime | None
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    completed_at: datetime | None

    @property
    def is_active(self) -> bool:
        """Whether it is pending or running."""
        return self.slot is not None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be created."""

    job_id: str
    slot: int
    identity: str
    config_path: str
    config: str
    due: Due
    triggered_by: str
    owner: str
    lease_until: datetime
    now: datetime


def one_at_a_time(connection: Connection) -> None:
    """Waits until no other transaction creates a job. On SQLite every writer waits for the others anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CREATION_LOCK})


def create(connection: Connection, new: NewJob) -> None:
    """Creates the job and its pending model-days. Raises IntegrityError where another one has its place."""
    number = connection.execute(select(func.coalesce(func.max(sim_jobs.c.number), 0) + 1)).scalar_one()
    row = {
        "job_id": new.job_id,
        "number": number,
        "slot": new.slot,
        "identity": new.identity,
        "status": "pending",
        "config_path": new.config_path,
        "config": new.config,
        "date_range": json.dumps([day.isoformat() for day in new.due.date_range]),
        "models": json.dumps(new.due.models),
        "triggered_by": new.triggered_by,
        "cancel_requested": False,
        "owner": new.owner,
        "lease_until": new.lease_until,
        "created_at": new.now,
        "updated_at": new.now,
    }
    connection.execute(insert(sim_jobs), row)
    days = [
        {"job_id": new.job_id, "day": day, "model": model, "status": "pending", "attempt": 0}
        for model, days in new.due.days.items()
        for day in days
    ]
    connection.execute(insert(sim_job_details), days)


def by_id(connection: Connection, job_id: str) -> Job | None:
    """The job of that id."""
    return _one(connection.execute(select(sim_jobs).where(sim_jobs.c.job_id == job_id)).one_or_none())


def by_identity(connection: Connection, identity: str) -> Job | None:
    """The job of that range, models and config that no other one has replaced."""
    return _one(connection.execute(select(sim_jobs).where(sim_jobs.c.identity == identity)).one_or_none())


def newest(connection: Connection) -> Job | None:
    """The job that was created last."""
    return _one(connection.execute(select(sim_jobs).order_by(sim_jobs.c.number.desc()).limit(1)).one_or_none())


def active(connection: Connection) -> list[Job]:
    """The pending and running jobs, oldest first."""
    query = select(sim_jobs).where(sim_jobs.c.slot.is_not(None)).order_by(sim_jobs.c.number)
    return [_job(row) for row in connection.execute(query)]


def give_up_identity(connection: Connection, identity: str) -> None:
    """The finished job of this identity makes room for one that replaces it."""
    connection.execute(update(sim_jobs).where(sim_jobs.c.identity == identity).values(identity=None))


def claim(connection: Connection, job: Job, owner: str, lease_until: datetime) -> bool:
    """Makes `owner` run the job, unless another process was faster. False then."""
    same = sim_jobs.c.owner.is_(None) if job.owner is None else sim_jobs.c.owner == job.owner
    query = update(sim_jobs).where(sim_jobs.c.job_id == job.job_id, sim_jobs.c.slot.is_not(None), same)
    return connection.execute(query.values(owner=owner, lease_until=lease_until)).rowcount == 1


def start(connection: Connection, job_id: str, now: datetime) -> None:
    """Marks the job as running; one that is taken up again keeps the time of its first start."""
    started = func.coalesce(sim_jobs.c.started_at, now)
    query = update(sim_jobs).where(sim_jobs.c.job_id == job_id)
    connection.execute(query.values(status="running", started_at=started, updated_at=now))


def renew(connection: Connection, job_id: str, owner: str, lease_until: datetime) -> bool | None:
    """Says that the owner still lives; returns whether it was asked to cancel, or None if it owns the job no more."""
    query = update(sim_jobs).where(sim_jobs.c.job_id == job_id, sim_jobs.c.owner == owner, sim_jobs.c.slot.is_not(None))
    renewed = query.values(lease_until=lease_until).returning(sim_jobs.c.cancel_requested)
    return connection.execute(renewed).scalar_one_or_none()


def release(connection: Connection, owner: str) -> None:
    """The owner ends: anybody may take its jobs up."""
    connection.execute(update(sim_jobs).where(sim_jobs.c.owner == owner).values(owner=None, lease_until=None))


def request_cancel(connection: Connection, job_id: str, now: datetime) -> bool:
    """Asks whoever runs the job to stop; False where it is over, or was asked before."""
    open_ = sim_jobs.c.slot.is_not(None) & sim_jobs.c.cancel_requested.is_(False)
    query = update(sim_jobs).where(sim_jobs.c.job_id == job_id, open_)
    return connection.execute(query.values(cancel_requested=True, updated_at=now)).rowcount == 1


def finish(connection: Connection, job_id: str, status: str, now: datetime) -> None:
    """Ends the job: its slot is free."""
    over = {"status": status, "slot": None, "owner": None, "lease_until": None, "completed_at": now, "updated_at": now}
    connection.execute(update(sim_jobs).where(sim_jobs.c.job_id == job_id).values(over))


def last_completed(connection: Connection, models: Iterable[str]) -> dict[str, tuple[date, str]]:
    """The last completed day of each model that has one, and the job that completed it."""
    found: dict[str, tuple[date, str]] = {}
    for model in models:
        query = select(sim_positions.c.day, sim_positions.c.job_id).where(sim_positions.c.model == model)
        row = connection.execute(query.order_by(sim_positions.c.day.desc()).limit(1)).one_or_none()
        if row is not None:
            found[model] = (row[0], row[1])
    return found


def forget(connection: Connection, models: Iterable[str], start: date) -> None:
    """Removes what the models did from `start` on: portfolios, trades, and their books.

    The jobs that did it are over, and no longer what a trigger of their range means.
    """
    for model in models:
        gone = (sim_positions.c.model == model) & (sim_positions.c.day >= start)
        made_it = select(sim_positions.c.job_id).where(gone)
        connection.execute(update(sim_jobs).where(sim_jobs.c.job_id.in_(made_it)).values(identity=None))
        connection.execute(delete(sim_positions).where(gone))
        book = BOOK_PREFIX + model
        connection.execute(delete(positions).where(positions.c.book == book, positions.c.pos_date >= start))


def _one(row: Row[tuple[object, ...]] | None) -> Job | None:
    return None if row is None else _job(row)


def _job(row: Row[tuple[object, ...]]) -> Job:
    fields = dict(row._mapping)
    fields["date_range"] = tuple(date.fromisoformat(day) for day in json.loads(fields["date_range"]))
    fields["models"] = tuple(json.loads(fields["models"]))
    return Job(**fields)
