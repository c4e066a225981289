"""What becomes of a trigger, as a table: running jobs, finished ones, what models have completed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from position_server.simulation.config import parse_config
from position_server.simulation.decision import (
    Blocked,
    Create,
    Facts,
    Nothing,
    There,
    Wanted,
    decide,
    final_status,
    identity_of,
)
from position_server.simulation.due import Due
from position_server.simulation.records.jobs import Job

ONE, TWO, THREE = date(2025, 6, 2), date(2025, 6, 3), date(2025, 6, 4)
NOW = datetime(2025, 6, 30, tzinfo=UTC)


def job(job_id: str, *, slot: int | None = 1, days: tuple[date, ...] = (ONE, TWO), **other: Any) -> Job:
    fields: dict[str, Any] = {
        "job_id": job_id, "number": 1, "slot": slot, "identity": f"of {job_id}", "status": "running",
        "config_path": "configs/default_config.json", "config": "{}", "date_range": days, "models": ("a", "b"),
        "triggered_by": "anonymous", "cancel_requested": False, "owner": None, "lease_until": None,
        "created_at": NOW, "started_at": NOW, "updated_at": NOW, "completed_at": None,
    }  # fmt: skip
    return Job(**(fields | other))


def wanted(
    *days: date, start: date | None = ONE, replace: bool = False, identity: str = "new", models: str = "ab"
) -> Wanted:
    due = Due(dict.fromkeys(models, days) if days else {})
    return Wanted(due, identity, "configs/default_config.json", start, replace)


def facts(*active: Job, same: Job | None = None, **last: tuple[date, str]) -> Facts:
    return Facts(active, same, last)


def test_nothing_due_is_nothing_to_do_even_beside_a_running_job() -> None:
    assert decide(wanted(start=None), facts(job("1")), 1) == Nothing()


def test_with_nothing_in_the_way_a_job_is_created() -> None:
    assert decide(wanted(ONE, TWO), facts(), 1) == Create(1, None)


def test_the_same_range_that_runs_is_that_job() -> None:
    running = job("1", identity="new")
    assert decide(wanted(ONE, TWO), facts(running), 1) == There(running)
    assert decide(wanted(ONE, TWO, replace=True), facts(running), 1) == There(running)


def test_another_range_while_one_runs_is_a_conflict_with_it() -> None:
    decided = decide(wanted(TWO, THREE), facts(job("1")), 1)
    assert isinstance(decided, Blocked)
    assert decided.job_id == "1"


def test_what_is_still_due_of_a_running_job_is_that_job() -> None:
    running = job("1")
    assert decide(wanted(TWO, start=None), facts(running), 1) == There(running)
    assert isinstance(decide(wanted(TWO, THREE, start=None), facts(running), 1), Blocked)
    assert isinstance(decide(wanted(TWO, start=None, models="abc"), facts(running), 1), Blocked)


def test_a_finished_job_of_the_same_range_is_it_whatever_became_of_it() -> None:
    for status in ("completed", "partial", "failed", "cancelled"):
        over = job("1", slot=None, identity="new", status=status)
        assert decide(wanted(ONE, TWO), facts(same=over, a=(TWO, "1")), 1) == There(over)


def test_a_finished_job_is_replaced_when_it_is_said_so() -> None:
    over = job("1", slot=None, identity="new")
    assert decide(wanted(ONE, TWO, replace=True), facts(same=over, a=(TWO, "1")), 1) == Create(1, ONE)


def test_what_is_due_is_run_although_a_job_of_it_has_failed() -> None:
    failed = job("1", slot=None, identity="new", status="failed")
    assert decide(wanted(ONE, TWO, start=None), facts(same=failed), 1) == Create(1, None)


def test_a_range_that_begins_before_what_is_completed_is_a_conflict_with_who_completed_it() -> None:
    decided = decide(wanted(TWO, THREE, start=TWO), facts(a=(TWO, "7"), b=(THREE, "8")), 1)
    assert isinstance(decided, Blocked)
    assert decided.job_id == "8"
    assert decided.message.startswith("b has completed 2025-06-04 already")
    assert decide(wanted(THREE, start=THREE), facts(a=(TWO, "7")), 1) == Create(1, None)


def test_two_jobs_may_run_where_two_are_allowed_and_they_share_no_model() -> None:
    other = job("1", models=("c",))
    assert decide(wanted(ONE), facts(other), 2) == Create(2, None)
    assert decide(wanted(ONE), facts(job("2", slot=2, models=("c",))), 2) == Create(1, None)
    assert decide(wanted(ONE), facts(job("1", days=(THREE,))), 2) == Blocked("1", "The simulation 1 is running.")


def test_identity_is_of_range_models_and_config() -> None:
    def identity(days: tuple[date, ...], models: str = "ab", cash: int = 1000, **params: Any) -> str:
        entries = [{"name": name, "kind": "buy_and_hold", **params} for name in "abc"]
        config = parse_config(json.dumps({"models": entries, "initial_cash": cash}))
        return identity_of(Due(dict.fromkeys(models, days)), config)

    same = identity((ONE, TWO))
    assert identity((ONE, TWO)) == same
    others = [identity((ONE,)), identity((ONE, TWO), "a"), identity((ONE, TWO), cash=1001), identity((ONE, TWO), x=1)]
    assert same not in others
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        ({"completed": 3}, "completed"),
        ({"completed": 2, "failed": 1}, "partial"),
        ({"failed": 3}, "failed"),
        ({"completed": 1, "failed": 1, "cancelled": 1}, "cancelled"),
        ({}, "completed"),
    ],
)
def test_a_job_is_what_its_model_days_are(counts: dict[str, int], status: str) -> None:
    assert final_status(counts) == status
