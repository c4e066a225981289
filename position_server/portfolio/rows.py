"""What HTTP shows of runs, snapshots, valuations and onboarding: records as plain values, instants as ISO text."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from position_server.portfolio.records.onboarding import Job
from position_server.portfolio.records.runs import BatchRun
from position_server.portfolio.records.snapshots import Snapshot
from position_server.portfolio.records.valuations import Valuation


def run_row(run: BatchRun) -> dict[str, Any]:
    """A run of a batch."""
    row = asdict(run) | {name: _iso(getattr(run, name)) for name in ("started_at", "heartbeat_at", "completed_at")}
    return row | {"batch_date": run.batch_date.isoformat()}


def snapshot_row(snapshot: Snapshot) -> dict[str, Any]:
    """A book at a day's close."""
    return {
        "date": snapshot.snapshot_date.isoformat(),
        "currency": snapshot.currency,
        "total_value": snapshot.total_value,
        "total_cost": snapshot.total_cost,
        "total_pnl": snapshot.total_pnl,
        "daily_pnl": snapshot.daily_pnl,
        "counts": {"positions": snapshot.position_count, **snapshot.counts},
        "coverage": {
            "positions": snapshot.position_count,
            "priced": snapshot.priced_count,
            "gross_share": snapshot.gross_share,
        },
        "warnings": list(snapshot.warnings),
    }


def exposures_row(snapshot: Snapshot) -> dict[str, Any]:
    """A book's factor exposures at a day's close."""
    return {
        "book": snapshot.book,
        "date": snapshot.snapshot_date.isoformat(),
        **snapshot.exposures,
        "private_allocation_pct": snapshot.private_allocation_pct,
        "options_allocation_pct": snapshot.options_allocation_pct,
        "coverage": snapshot.exposure_coverage,
    }


def valuation_row(valuation: Valuation, currency: str, *, replaced: bool) -> dict[str, Any]:
    """A value by hand, and whether it took the place of another one of that day."""
    dates = {"valued_on": valuation.valued_on.isoformat(), "entered_at": _iso(valuation.entered_at)}
    return asdict(valuation) | dates | {"currency": currency, "replaced": replaced}


def job_row(job: Job) -> dict[str, Any]:
    """A symbol being onboarded; which process works on it is nobody's business."""
    moments = ("queued_at", "started_at", "completed_at")
    row = {name: getattr(job, name) for name in ("symbol", "status", "attempts", "requested_by", "error_message")}
    return row | {name: _iso(getattr(job, name)) for name in moments}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
