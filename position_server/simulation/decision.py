"""What becomes of a trigger: a new job, one that is there already, a conflict, or nothing. Pure.

What the store knew at one moment goes in; the answer holds for that moment, which is why both belong in one transaction
(`creation`). The rules are in docs/simulation.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from position_server.simulation.config import SimulationConfig
from position_server.simulation.due import Due
from position_server.simulation.records.jobs import Job


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a trigger asks for. `start` is the first day of a range that was named, None where it is what is due."""

    due: Due
    identity: str
    config_path: str
    start: date | None
    replace_existing: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store knows.

    `active` are the jobs that run, `same` is the one of the same identity; each model's last completed day comes with
    the job that completed it.
    """

    active: Sequence[Job]
    same: Job | None
    last_completed: Mapping[str, tuple[date, str]]


@dataclass(frozen=True, slots=True)
class Create:
    """A new job in this slot; `forget_from` is the day from which results of its models are replaced."""

    slot: int
    forget_from: date | None


@dataclass(frozen=True, slots=True)
class There:
    """This job is it."""

    job: Job


@dataclass(frozen=True, slots=True)
class Blocked:
    """A conflict with the job of this id."""

    job_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is due."""


Decision = Create | There | Blocked | Nothing


def identity_of(due: Due, config: SimulationConfig) -> str:
    """What makes two jobs the same: range, models and config."""
    days = [day.isoformat() for day in due.date_range]
    text = json.dumps([days, config.chosen(due.models).as_json()])
    return hashlib.sha256(text.encode()).hexdigest()


def decide(wanted: Wanted, facts: Facts, most_jobs: int) -> Decision:
    """What becomes of the trigger; `most_jobs` is how many may run at once."""
    if not wanted.due:
        return Nothing()
    for job in facts.active:
        if job.identity == wanted.identity or _is_covered(wanted, job):
            return There(job)
    rival = _rival(wanted, facts.active, most_jobs)
    if rival is not None:
        return Blocked(rival.job_id, f"The simulation {rival.job_id} is running.")
    if wanted.start is not None and not wanted.replace_existing:
        if facts.same is not None:
            return There(facts.same)
        overlap = _overlap(wanted.start, facts.last_completed)
        if overlap is not None:
            model, day, job_id = overlap
            cure = f"replace_existing (--replace) runs it again from {wanted.start} on"
            return Blocked(job_id, f"{model} has completed {day} already; {cure}.")
    taken = {job.slot for job in facts.active}
    slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
    return Create(slot, wanted.start if wanted.replace_existing else None)


def final_status(counts: Mapping[str, int]) -> str:
    """What a job has come to, by how many of its model-days are in each status; unfinished ones do not count."""
    if counts.get("cancelled"):
        return "cancelled"
    if not counts.get("failed"):
        return "completed"
    return "partial" if counts.get("completed") else "failed"


def _is_covered(wanted: Wanted, job: Job) -> bool:
    """Whether what is due is what the job has yet to do: as it goes on, less is due than when it began."""
    same_config = job.config_path == wanted.config_path
    return wanted.start is None and same_config and wanted.due.is_within(job.models, job.date_range)


def _rival(wanted: Wanted, active: Sequence[Job], most_jobs: int) -> Job | None:
    """The running job that leaves no room: all slots are taken, or it has the portfolio of one of the models."""
    sharing = [job for job in active if set(job.models) & set(wanted.due.models)]
    if sharing:
        return sharing[-1]
    return active[-1] if len(active) >= most_jobs else None


def _overlap(start: date, last_completed: Mapping[str, tuple[date, str]]) -> tuple[str, date, str] | None:
    """The model that has come furthest among those that have completed `start` or a later day."""
    done = [(day, model, job_id) for model, (day, job_id) in last_completed.items() if day >= start]
    day, model, job_id = max(done, default=(None, "", ""))
    return None if day is None else (model, day, job_id)
