"""Triggers on a real store: what is created, what is the same, what is in the way; from many clients and processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from position_server.errors import Conflict, InvalidConfig, InvalidDate, NoPrices
from position_server.simulation.creation import Created, Existing, UpToDate
from position_server.simulation.requests import TriggerRequest
from tests.house.sources import REPOSITORY
from tests.simulation.clients import ONE_WEEK, WEEK, outcomes_of
from tests.simulation.desk import DAYS, Desk, config

CLIENTS = 20


def audit(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (desk.folder / "api_audit.log").read_text().splitlines()]


def test_a_trigger_creates_a_pending_job_with_its_model_days(any_desk: Desk) -> None:
    with any_desk.service() as service:
        outcome = service.trigger(ONE_WEEK)
        assert isinstance(outcome, Created)
        status = service.status(outcome.job.job_id)
    assert status["status"] == "pending"
    assert status["date_range"] == [day.isoformat() for day in WEEK]
    assert status["models"] == ["holder"]
    assert status["progress"]["total_model_days"] == 5
    assert {one["status"] for one in status["progress"]["details"]} == {"pending"}


def test_the_same_range_is_the_same_job_whatever_its_status(any_desk: Desk) -> None:
    with any_desk.service() as service:
        first = service.trigger(ONE_WEEK)
        assert isinstance(first, Created)
        assert service.trigger(ONE_WEEK) == Existing(first.job)
        assert service.run(first.job.job_id) == "completed"
        again = service.trigger(ONE_WEEK)
    assert isinstance(again, Existing)
    assert (again.job.job_id, again.job.status) == (first.job.job_id, "completed")


def test_another_range_meanwhile_is_a_conflict_with_the_current_job(any_desk: Desk) -> None:
    with any_desk.service() as service:
        first = service.trigger(ONE_WEEK)
        assert isinstance(first, Created)
        with pytest.raises(Conflict) as refused:
            service.trigger(TriggerRequest(start_date=WEEK[0], end_date=DAYS[6]))
    assert refused.value.job_id == first.job.job_id
    assert refused.value.date_range == [day.isoformat() for day in WEEK]


def test_an_empty_trigger_runs_what_is_due_and_then_nothing(desk: Desk) -> None:
    with desk.service() as service:
        first = service.trigger(TriggerRequest())
        assert isinstance(first, Created)
        assert list(first.job.date_range) == DAYS
        assert service.trigger(TriggerRequest()) == Existing(first.job)
        service.run(first.job.job_id)
        assert service.trigger(TriggerRequest()) == UpToDate(DAYS[-1], date(2025, 7, 1))


def test_an_empty_trigger_is_the_running_job_also_when_less_is_due_than_at_its_beginning(desk: Desk) -> None:
    seen: list[Any] = []
    with desk.service() as service:
        first = service.trigger(TriggerRequest())
        service.subscribe(lambda _: seen.append(service.trigger(TriggerRequest())))
        service.run(first.job.job_id)  # type: ignore[union-attr]
    running = [one for one in seen if isinstance(one, Existing)]
    assert {one.job.job_id for one in running} == {first.job.job_id}  # type: ignore[union-attr]
    assert len(running) > len(DAYS)
    assert {type(one) for one in seen} == {Existing, UpToDate}


def test_the_first_day_can_be_configured(desk: Desk) -> None:
    with desk.service(start_date=DAYS[3]) as service:
        outcome = service.trigger(TriggerRequest(end_date=DAYS[4]))
    assert isinstance(outcome, Created)
    assert outcome.job.date_range == (DAYS[3], DAYS[4])


def test_what_is_completed_is_only_replaced_when_it_is_said_so(any_desk: Desk) -> None:
    done = any_desk.simulate(WEEK[0], WEEK[-1])
    again = {"start_date": WEEK[2], "end_date": DAYS[6]}
    with any_desk.service() as service:
        with pytest.raises(Conflict, match="holder has completed") as refused:
            service.trigger(TriggerRequest(**again))  # type: ignore[arg-type]
        assert refused.value.job_id == done
        outcome = service.trigger(TriggerRequest(**again, replace_existing=True))  # type: ignore[arg-type]
        assert isinstance(outcome, Created)
        assert [row[1] for row in any_desk.rows("sim_positions")] == WEEK[:2]
        assert {row[0] for row in any_desk.rows("positions")} == set(WEEK[:2])
        service.run(outcome.job.job_id)
    assert [row[1] for row in any_desk.rows("sim_positions")] == DAYS[:7]


def test_a_job_whose_results_were_replaced_is_no_longer_what_its_range_means(desk: Desk) -> None:
    desk.simulate(WEEK[0], WEEK[-1])
    newer = desk.simulate(WEEK[2], DAYS[6], replace_existing=True)
    with desk.service() as service, pytest.raises(Conflict) as refused:
        service.trigger(ONE_WEEK)
    assert refused.value.job_id == newer


def test_replacing_a_finished_range_gives_the_same_results_in_a_job_of_its_own(desk: Desk) -> None:
    first = desk.simulate(WEEK[0], WEEK[-1])
    before = desk.outcome()
    second = desk.simulate(WEEK[0], WEEK[-1], replace_existing=True)
    assert second != first
    after = desk.outcome()
    assert {name: after[name] for name in ("sim_positions", "sim_holdings", "sim_trades", "positions")} == {
        name: before[name] for name in ("sim_positions", "sim_holdings", "sim_trades", "positions")
    }


def test_a_job_that_failed_whole_is_tried_again_by_the_next_empty_trigger(desk: Desk) -> None:
    def broken(*_: object) -> float:
        raise ValueError("no idea")

    with desk.service(run_day=broken) as service:
        first = service.trigger(TriggerRequest(end_date=WEEK[0]))
        assert service.run(first.job.job_id) == "failed"  # type: ignore[union-attr]
    with desk.service() as service:
        second = service.trigger(TriggerRequest(end_date=WEEK[0]))
        assert isinstance(second, Created)
        assert service.run(second.job.job_id) == "completed"


@pytest.mark.parametrize(
    "request_",
    [
        TriggerRequest(start_date=date(2025, 5, 28), end_date=WEEK[0]),
        TriggerRequest(start_date=WEEK[0], end_date=date(2025, 7, 1)),
        TriggerRequest(start_date=date(2025, 7, 1)),
    ],
)
def test_a_range_beyond_the_prices_is_refused(desk: Desk, request_: TriggerRequest) -> None:
    with desk.service() as service, pytest.raises(NoPrices, match="from 2025-06-02 to 2025-06-30"):
        service.trigger(request_)


def test_days_without_trading_at_the_edges_of_a_range_need_no_prices(desk: Desk) -> None:
    with desk.service() as service:
        outcome = service.trigger(TriggerRequest(start_date=date(2025, 5, 31), end_date=date(2025, 6, 8)))
    assert isinstance(outcome, Created)
    assert list(outcome.job.date_range) == WEEK


def test_a_range_without_business_days_is_an_invalid_date(desk: Desk) -> None:
    with desk.service() as service, pytest.raises(InvalidDate, match="no business day"):
        service.trigger(TriggerRequest(start_date=date(2025, 6, 7), end_date=date(2025, 6, 8)))


def test_a_universe_without_prices_is_refused(desk: Desk) -> None:
    desk.configure(config(universe=["ZZZ"]))
    with desk.service() as service, pytest.raises(NoPrices, match="no opening prices"):
        service.trigger(TriggerRequest())


def test_a_wrong_configuration_creates_nothing(desk: Desk) -> None:
    desk.configure(config({"name": "m", "kind": "momentum", "hold": 0}))
    with desk.service() as service, pytest.raises(InvalidConfig, match=r"models\.m\.hold"):
        service.trigger(TriggerRequest())
    assert desk.rows("sim_jobs") == []


def test_models_of_different_jobs_run_side_by_side_where_two_jobs_may(desk: Desk) -> None:
    desk.configure(config(*({"name": name, "kind": "buy_and_hold"} for name in "abc")))
    with desk.service(max_concurrent_jobs=2) as service:
        for name in "ab":
            assert isinstance(service.trigger(TriggerRequest(models=(name,))), Created)
        with pytest.raises(Conflict):
            service.trigger(TriggerRequest(models=("c",)))


# --- at the same instant ---------------------------------------------------------------------------------------------


def test_twenty_clients_at_once_get_one_job(any_desk: Desk) -> None:
    with any_desk.service() as service:
        found = outcomes_of(service, [ONE_WEEK] * CLIENTS)
        (job_id,) = {one.split()[1] for one in found}
    assert found == {f"Created {job_id}": 1, f"Existing {job_id}": CLIENTS - 1}
    assert len(any_desk.rows("sim_jobs")) == 1
    assert [line["event"] for line in audit(any_desk)] == ["pending"]


def test_of_two_ranges_at_once_one_wins_and_the_other_conflicts_with_it(any_desk: Desk) -> None:
    other = TriggerRequest(start_date=WEEK[0], end_date=WEEK[1])
    with any_desk.service() as service:
        found = outcomes_of(service, [ONE_WEEK, other] * (CLIENTS // 2))
        (job_id,) = {one.split()[1] for one in found}
    assert found == {f"Created {job_id}": 1, f"Existing {job_id}": 9, f"Conflict {job_id}": 10}


def test_two_servers_asked_at_once_create_one_job(any_desk: Desk) -> None:
    """Two processes, ten threads each: the store alone is what they share."""
    script = Path(__file__).with_name("two_servers.py")
    command = [sys.executable, str(script), any_desk.url, str(any_desk.folder), str(CLIENTS // 2)]
    where = {"cwd": REPOSITORY, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    servers = [subprocess.Popen(command, **where) for _ in range(2)]  # type: ignore[call-overload]
    for server in servers:
        assert server.stdout.readline() == "ready\n"
    for server in servers:
        server.stdin.write("go\n")
        server.stdin.flush()
    found = Counter(line for server in servers for line in server.communicate()[0].splitlines())
    assert [server.returncode for server in servers] == [0, 0]
    (job_id,) = {one.split()[1] for one in found}
    assert found == {f"Created {job_id}": 1, f"Existing {job_id}": CLIENTS - 1}
    assert len(any_desk.rows("sim_jobs")) == 1
