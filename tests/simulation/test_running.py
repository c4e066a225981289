"""Running a job: order, failures, retries, cancelling, stopping, taking up what a dead process has left."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from position_server.errors import NotFound, SectionTimeout, StoreUnavailable, WorkerDied
from position_server.simulation import model_day
from position_server.simulation.calls import ModelDayCall, Superseded, TransientFailure
from position_server.simulation.jobs import JobService
from position_server.simulation.ownership import LEASE, Owner
from position_server.simulation.requests import TriggerRequest
from position_server.store import tables
from tests.fakes import NOON, VirtualClock
from tests.servers import until
from tests.simulation.clients import ONE_WEEK, WEEK
from tests.simulation.desk import DAYS, Desk, config

THREE = [{"name": name, "kind": "buy_and_hold"} for name in "abc"]
Workbench = model_day.Workbench


def created(service: JobService, request: TriggerRequest = ONE_WEEK) -> str:
    return service.trigger(request).job.job_id  # type: ignore[union-attr]


def details(service: JobService, job_id: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = service.status(job_id)["progress"]["details"]
    return {(one["model"], one["date"]): one for one in found}


def events(desk: Desk) -> list[str]:
    return [json.loads(line)["event"] for line in (desk.folder / "api_audit.log").read_text().splitlines()]


def failing(model: str, errors: list[Exception]) -> Callable[[Workbench, ModelDayCall], float]:
    """Runs model-days, but the first ones of `model` raise these errors instead."""

    def run_day(bench: Workbench, call: ModelDayCall) -> float:
        if call.model == model and errors:
            raise errors.pop(0)
        return model_day.run_model_day(bench, call)

    return run_day


def test_dates_run_in_order_and_all_models_of_a_date_before_the_next(desk: Desk) -> None:
    desk.configure(config(*THREE))
    seen: list[tuple[Any, str]] = []

    def run_day(bench: Workbench, call: ModelDayCall) -> float:
        seen.append((call.day, call.model))
        return model_day.run_model_day(bench, call)

    with desk.service(run_day=run_day) as service:
        assert service.run(created(service)) == "completed"
    assert seen == [(day, model) for day in WEEK for model in "abc"]


def test_a_finished_job_says_when_and_how_long_and_its_states_are_in_the_audit_log(desk: Desk) -> None:
    with desk.service() as service:
        job_id = created(service, TriggerRequest(start_date=WEEK[0], end_date=WEEK[1], user="cron"))
        service.run(job_id)
        status = service.status(job_id)
    assert status["status"] == "completed"
    assert status["total_duration_seconds"] >= 0
    assert status["completed_at"] == status["updated_at"]
    assert status["progress"] | {"details": []} == {
        "total_model_days": 2, "completed": 2, "failed": 0, "current": None, "details": [],
    }  # fmt: skip
    lines = [json.loads(line) for line in (desk.folder / "api_audit.log").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["pending", "running", "completed"]
    assert {(line["job_id"], line["user"]) for line in lines} == {(job_id, "cron")}
    assert all(line.keys() == {"timestamp", "event", "job_id", "user", "details"} for line in lines)


def test_one_failing_model_day_stops_no_other(desk: Desk) -> None:
    desk.configure(config(*THREE))
    with desk.service(run_day=failing("b", [ValueError("no idea")])) as service:
        job_id = created(service)
        assert service.run(job_id) == "partial"
        found = details(service, job_id)
    failed = found["b", WEEK[0].isoformat()]
    assert (failed["status"], failed["error"]) == ("failed", "ValueError: no idea")
    assert [one["status"] for one in found.values()].count("completed") == 14
    assert len([row for row in desk.rows("sim_positions") if row[0] == "b"]) == 4


def test_a_job_whose_model_days_all_failed_has_failed(desk: Desk) -> None:
    with desk.service(run_day=failing("holder", [ValueError("x")] * 5)) as service:
        assert service.run(created(service)) == "failed"
    assert desk.rows("sim_positions") == []


@pytest.mark.parametrize("error", [StoreUnavailable(), WorkerDied(), ConnectionError("reset"), TransientFailure("429")])
def test_what_fails_for_the_moment_is_tried_three_times(desk: Desk, error: Exception) -> None:
    clock = VirtualClock()
    began = clock.monotonic()
    with desk.service(run_day=failing("holder", [error, error]), clock=clock) as service:
        job_id = created(service)
        assert service.run(job_id) == "completed"
    assert clock.monotonic() - began == pytest.approx(1 + 2), "back-off: one second, then two"


def test_after_three_tries_a_model_day_has_failed_and_the_next_is_tried_afresh(desk: Desk) -> None:
    clock = VirtualClock()
    errors: list[Exception] = [TransientFailure("429: slow down")] * 5
    with desk.service(run_day=failing("holder", errors), clock=clock) as service:
        job_id = created(service)
        assert service.run(job_id) == "partial"
        found = [(one["status"], one["error"]) for one in details(service, job_id).values()]
    assert found == [("failed", "TransientFailure: 429: slow down"), *[("completed", None)] * 4]


def test_a_model_day_past_its_timeout_has_failed_at_once(desk: Desk) -> None:
    timeout = SectionTimeout("It did not finish within 300 s and was ended.")
    with desk.service(run_day=failing("holder", [timeout])) as service:
        job_id = created(service)
        assert service.run(job_id) == "partial"
        found = [(one["status"], one["error"]) for one in details(service, job_id).values()]
    assert found == [("failed", timeout.message), *[("completed", None)] * 4]


def test_other_models_do_not_wait_for_the_back_off_of_one(desk: Desk) -> None:
    desk.configure(config(*THREE))
    seen: list[str] = []
    fail = failing("a", [TransientFailure("later")])

    def run_day(bench: Workbench, call: ModelDayCall) -> float:
        seen.append(call.model)
        return fail(bench, call)

    with desk.service(run_day=run_day, clock=VirtualClock()) as service:
        service.run(created(service, TriggerRequest(end_date=WEEK[0])))
    assert seen == ["a", "b", "c", "a"]


def test_a_day_that_was_committed_although_its_worker_died_is_not_run_again(desk: Desk) -> None:
    ran: list[Any] = []

    def run_day(bench: Workbench, call: ModelDayCall) -> float:
        ran.append(call.day)
        seconds = model_day.run_model_day(bench, call)
        if len(ran) == 2:
            raise WorkerDied("after its commit")
        return seconds

    with desk.service(run_day=run_day, clock=VirtualClock()) as service:
        assert service.run(created(service)) == "completed"
    assert ran == WEEK


def test_an_attempt_that_was_given_up_writes_nothing(desk: Desk) -> None:
    calls: list[ModelDayCall] = []

    def run_day(bench: Workbench, call: ModelDayCall) -> float:
        calls.append(call)
        if len(calls) == 1:
            raise WorkerDied("so it seemed")
        with pytest.raises(Superseded):
            model_day.run_model_day(bench, calls[0])
        return model_day.run_model_day(bench, call)

    with desk.service(run_day=run_day, clock=VirtualClock()) as service:
        assert service.run(created(service, TriggerRequest(end_date=WEEK[0]))) == "completed"
    assert [call.attempt for call in calls] == [1, 2]


def test_a_failing_commit_leaves_no_half_day(desk: Desk) -> None:
    """The book is written last: where that fails, trades and portfolio are not there either."""
    with desk.store.write() as connection:
        connection.exec_driver_sql("CREATE TRIGGER no BEFORE INSERT ON positions BEGIN SELECT RAISE(ABORT, 'no'); END")
    with desk.service() as service:
        assert service.run(created(service)) == "failed"
    assert {name for name, rows in desk.outcome().items() if rows} == set()


def test_a_day_without_prices_fails_by_name(desk: Desk) -> None:
    with desk.store.write() as connection:
        connection.execute(tables.closes.delete().where(tables.closes.c.close_date == WEEK[2]))
    with desk.service() as service:
        job_id = created(service)
        assert service.run(job_id) == "partial"
        failed = details(service, job_id)["holder", WEEK[2].isoformat()]
    assert failed["error"] == f"The store has no opening price on {WEEK[2]}."


# --- cancelling ------------------------------------------------------------------------------------------------------


def cancelling(desk: Desk, on: Any, cancel: Callable[[str], object]) -> Callable[[Workbench, ModelDayCall], float]:
    def run_day(bench: Workbench, call: ModelDayCall) -> float:
        if call.day == on:
            cancel(call.job_id)
        return model_day.run_model_day(bench, call)

    return run_day


def test_a_cancelled_job_ends_after_the_model_days_that_run(desk: Desk) -> None:
    services: list[JobService] = []
    run_day = cancelling(desk, WEEK[2], lambda job_id: services[0].cancel(job_id, "operator"))
    with desk.service(run_day=run_day) as service:
        services.append(service)
        job_id = created(service)
        assert service.run(job_id) == "cancelled"
        statuses = [one["status"] for one in details(service, job_id).values()]
        assert service.cancel(job_id)["status"] == "cancelled", "twice changes nothing"
    assert statuses == ["completed"] * 3 + ["cancelled"] * 2
    assert events(desk) == ["pending", "running", "cancel_requested", "cancelled"]


def test_a_job_can_be_cancelled_by_another_server(desk: Desk) -> None:
    with desk.service() as other, desk.service(run_day=cancelling(desk, WEEK[1], other.cancel)) as service:
        assert service.run(created(service)) == "cancelled"


def test_a_job_that_is_cancelled_before_it_begins_runs_nothing(desk: Desk) -> None:
    with desk.service() as service:
        job_id = created(service)
        assert service.cancel(job_id)["cancel_requested"]
        assert service.run(job_id) == "cancelled"
    assert desk.rows("sim_positions") == []


def test_after_a_cancelled_job_the_next_one_goes_on_where_it_stopped(desk: Desk) -> None:
    with desk.service(run_day=lambda *_: (_ for _ in ()).throw(ValueError)) as service:
        service.run(created(service))
    services: list[JobService] = []
    with desk.service(run_day=cancelling(desk, WEEK[2], lambda job_id: services[0].cancel(job_id))) as service:
        services.append(service)
        service.run(created(service, TriggerRequest()))
        rest = service.trigger(TriggerRequest())
    assert list(rest.job.date_range) == DAYS[3:]  # type: ignore[union-attr]


# --- dying and coming back -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What no code of the service catches: the process is gone."""


def test_a_job_that_a_dead_process_left_goes_on_at_its_first_unfinished_model_day(desk: Desk) -> None:
    ran: list[Any] = []

    def dying(bench: Workbench, call: ModelDayCall) -> float:
        if call.day == WEEK[3]:
            raise Killed
        return model_day.run_model_day(bench, call)

    def run_day(bench: Workbench, call: ModelDayCall) -> float:
        ran.append(call.day)
        return model_day.run_model_day(bench, call)

    with desk.service(run_day=dying) as first:
        job_id = created(first)
        with pytest.raises(Killed):
            first.run(job_id)
        assert details(first, job_id)["holder", WEEK[3].isoformat()]["status"] == "running"
    with desk.service(run_day=run_day) as second:
        assert second.run(job_id) == "completed"
    assert ran == WEEK[3:]
    assert events(desk) == ["pending", "running", "resumed", "completed"]


def test_a_started_service_takes_up_what_was_left_and_runs_what_is_triggered(desk: Desk) -> None:
    with desk.service() as first:
        left = created(first)
    with desk.service() as second:
        second.start()
        until(lambda: second.progress(left)["status"] == "completed")
        fresh = created(second, TriggerRequest())
        until(lambda: second.progress(fresh)["status"] == "completed")
        assert second.current()["job_id"] == fresh
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("simulation")]


def test_a_job_that_was_running_is_closed_where_jobs_are_not_resumed(desk: Desk) -> None:
    def dying(bench: Workbench, call: ModelDayCall) -> float:
        if call.day == WEEK[1]:
            raise Killed
        return model_day.run_model_day(bench, call)

    with desk.service(run_day=dying) as first:
        job_id = created(first)
        with pytest.raises(Killed):
            first.run(job_id)
    with desk.service(resume_jobs=False) as second:
        second.start()
        until(lambda: second.progress(job_id)["status"] == "partial")
        found = [(one["status"], one["error"]) for one in details(second, job_id).values()]
    assert found[0] == ("completed", None)
    assert set(found[1:]) == {("failed", "The server ended while it ran, and jobs are not resumed.")}


def test_two_servers_do_not_run_one_job(desk: Desk) -> None:
    asked: list[object] = []
    with desk.service() as other:

        def run_day(bench: Workbench, call: ModelDayCall) -> float:
            asked.append(other.run(call.job_id))
            return model_day.run_model_day(bench, call)

        with desk.service(run_day=run_day) as service:
            assert service.run(created(service)) == "completed"
    assert asked == [None] * 5


def test_a_process_that_lost_its_job_stops_and_leaves_it_alone(desk: Desk) -> None:
    def taken(bench: Workbench, call: ModelDayCall) -> float:
        if call.day == WEEK[1]:
            with desk.store.write() as connection:
                connection.execute(tables.sim_jobs.update().values(owner="another"))
        return model_day.run_model_day(bench, call)

    with desk.service(run_day=taken) as service:
        job_id = created(service)
        assert service.run(job_id) is None
        statuses = [one["status"] for one in details(service, job_id).values()]
    assert statuses == ["completed"] * 2 + ["pending"] * 3


def test_stopping_ends_the_threads_and_leaves_the_job_to_the_next_start(desk: Desk) -> None:
    began, end = threading.Event(), threading.Event()

    def run_day(bench: Workbench, call: ModelDayCall) -> float:
        began.set()
        end.wait(60)
        return model_day.run_model_day(bench, call)

    with desk.service(run_day=run_day) as service:
        service.start()
        job_id = created(service)
        assert began.wait(60)
        stopping = threading.Thread(target=service.stop)
        stopping.start()
        until(service._stop.is_set)
        end.set()
        stopping.join(60)
        assert not stopping.is_alive()
    with desk.store.read() as connection:
        (owner,) = connection.execute(tables.sim_jobs.select().with_only_columns(tables.sim_jobs.c.owner)).one()
    assert owner is None
    assert len(desk.rows("sim_positions")) == 1
    with desk.service() as service:
        assert service.run(job_id) == "completed"


def test_a_store_that_is_away_makes_a_job_wait_and_fails_nothing(desk: Desk) -> None:
    with desk.service() as service:
        job_id = created(service)
        file = desk.folder / "store.sqlite"
        away = file.rename(desk.folder / "away.sqlite")
        desk.store.close()
        with pytest.raises(StoreUnavailable):
            service.run(job_id)
        away.rename(file)
        assert service.run(job_id) == "completed"


def test_a_model_that_breaks_the_service_itself_ends_the_job_as_failed(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def no_pool() -> Any:
        raise RuntimeError("no room for processes")

    with caplog.at_level(logging.ERROR), desk.service(open_pool=no_pool) as service:
        job_id = created(service)
        assert service.run(job_id) == "failed"
        assert {one["error"] for one in details(service, job_id).values()} == {"RuntimeError: no room for processes"}
    assert "a simulation broke" in caplog.messages


# --- who lives -------------------------------------------------------------------------------------------------------


def test_an_owner_lives_as_long_as_it_holds_its_lock(tmp_path: Any) -> None:
    with Owner(tmp_path, "me") as me:
        with Owner(tmp_path, "other"):
            assert not me.is_dead("other", None, NOON)
        (tmp_path / "killed.lock").touch()
        assert me.is_dead("killed", NOON + LEASE, NOON), "its lock is free, whatever its lease says"
        assert me.is_dead(None, None, NOON)
        assert not me.is_dead("me", None, NOON)


def test_an_owner_that_cannot_be_seen_lives_as_long_as_its_lease(tmp_path: Any) -> None:
    with Owner(tmp_path, "me") as me:
        assert not me.is_dead("far away", NOON + timedelta(seconds=1), NOON)
        assert me.is_dead("far away", NOON - timedelta(seconds=1), NOON)


def test_those_who_subscribed_are_told_of_every_change(desk: Desk) -> None:
    told: list[str] = []
    with desk.service() as service:
        end = service.subscribe(told.append)
        job_id = created(service)
        service.run(job_id)
        end()
        created(service, TriggerRequest())
    assert told == [job_id] * (1 + 2 * len(WEEK) + 1)


def test_a_subscriber_that_fails_harms_no_job(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("gone")

    with caplog.at_level(logging.ERROR), desk.service() as service:
        service.subscribe(fail)
        assert service.run(created(service)) == "completed"
    assert "a subscriber failed" in caplog.messages


@pytest.mark.parametrize("job_id", ["none", "", "a\0b", "x" * 1000])
def test_a_job_that_is_not_there_is_not_found(desk: Desk, job_id: str) -> None:
    with desk.service() as service:
        for ask in (service.status, service.progress, service.cancel, service.run):
            with pytest.raises(NotFound, match="There is no job"):
                ask(job_id)
        with pytest.raises(NotFound, match="Nothing was simulated yet"):
            service.current()


def test_files_of_owners_killed_long_ago_are_swept(tmp_path: Any) -> None:
    (tmp_path / "killed.lock").touch()
    now = datetime.fromtimestamp((tmp_path / "killed.lock").stat().st_mtime, UTC)
    with Owner(tmp_path, "me") as me, Owner(tmp_path, "other"):
        me.sweep(now + timedelta(hours=1))
        assert len(list(tmp_path.iterdir())) == 3
        me.sweep(now + timedelta(days=2))
        assert sorted(path.stem for path in tmp_path.iterdir()) == ["me", "other"]
    assert list(tmp_path.iterdir()) == []
