"""Jobs as clients see them: plain dictionaries, ready for JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from position_server.simulation.records.details import Detail, Tally
from position_server.simulation.records.jobs import Job


def job_summary(job: Job) -> dict[str, Any]:
    """The job without its progress."""
    ended = job.completed_at
    return {
        "job_id": job.job_id,
        "status": job.status,
        "date_range": [day.isoformat() for day in job.date_range],
        "models": list(job.models),
        "config_path": job.config_path,
        "cancel_requested": job.cancel_requested,
        "created_at": _instant(job.created_at),
        "started_at": _instant(job.started_at),
        "updated_at": _instant(job.updated_at),
        "completed_at": _instant(ended),
        "total_duration_seconds": None if ended is None else _seconds(job.started_at or job.created_at, ended),
    }


def job_status(job: Job, tally: Tally, details: Sequence[Detail] | None = None) -> dict[str, Any]:
    """The job with its progress, and with every model-day where `details` are given."""
    changed = max(job.updated_at, tally.changed_at or job.updated_at)
    progress: dict[str, Any] = {
        "total_model_days": sum(tally.counts.values()),
        "completed": tally.counts.get("completed", 0),
        "failed": tally.counts.get("failed", 0),
        "current": None if tally.running is None else _model_day(*tally.running),
    }
    if details is not None:
        progress["details"] = [_detail(one) for one in details]
    return {**job_summary(job), "updated_at": _instant(changed), "progress": progress}


def _detail(one: Detail) -> Mapping[str, Any]:
    seconds = None if one.duration_seconds is None else round(one.duration_seconds, 3)
    return {**_model_day(one.day, one.model), "status": one.status, "duration_seconds": seconds, "error": one.error}


def _model_day(day: date, model: str) -> dict[str, str]:
    return {"date": day.isoformat(), "model": model}


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _seconds(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds(), 3)
