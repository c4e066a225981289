"""`/simulate/*` and `/results` on real servers and the demo's prices; every answer as the document says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import Any

import httpx
import jsonschema
import pytest

from position_server.access import Role, new_key
from position_server.access.records import add_key
from position_server.store.engine import open_store
from position_server.web import simulation_operations as documented
from tests.servers import ServerProcess, serving, until
from tests.web.documented import said

QUIET = {"POSITION_SERVER_WARMUP_CONFIGS": "[]", "POSITION_SERVER_COMPUTE__WORKERS": "1"}
WEEK = {"start_date": "2025-09-08", "end_date": "2025-09-12"}
WEEK_DAYS = ["2025-09-08", "2025-09-09", "2025-09-10", "2025-09-11", "2025-09-12"]
LONG = {"start_date": "2025-06-02", "end_date": "2025-10-30"}  # some seconds, wherever it runs
SHORTER = {**LONG, "models": ["equal_weight"], "replace_existing": True}  # also where it was simulated before
CLIENTS = 20


@pytest.fixture
def folder(demo_store: Path, tmp_path: Path) -> Path:
    """A data folder with a demo store of the test's own."""
    shutil.copy(demo_store, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def server(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that simulates LONG or SHORTER for one test after another."""
    folder = tmp_path_factory.mktemp("simulating")
    shutil.copy(demo_store, folder)
    with serving(folder, env=QUIET) as server:
        yield ready(server)


@pytest.fixture(scope="module")
def simulated(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that has simulated WEEK with two models; to be read only."""
    folder = tmp_path_factory.mktemp("simulated-served")
    shutil.copy(demo_store, folder)
    with serving(folder, env=QUIET) as server:
        job = triggered(ready(server), **WEEK, models=["equal_weight", "momentum"])
        assert finished(server, job)["status"] == "completed"
        yield server


def ready(server: ServerProcess) -> ServerProcess:
    """The server, when simulations are there: its first second has none."""
    until(lambda: server.get("/simulate/current").status_code == 404)
    return server


def trigger(server: ServerProcess, **body: Any) -> httpx.Response:
    return server.client.post("/simulate/trigger", json=body)


def triggered(server: ServerProcess, **body: Any) -> str:
    """The id of the job that this trigger creates."""
    return str(said(trigger(server, **body), documented.TRIGGER, 202)["job_id"])


def cancel(server: ServerProcess, job_id: str) -> httpx.Response:
    return server.client.post(f"/simulate/cancel/{job_id}")


def job_of(server: ServerProcess, job_id: str) -> Any:
    return said(server.get(f"/simulate/status/{job_id}"), documented.STATUS)


def finished(server: ServerProcess, job_id: str) -> Any:
    """The job when it is over."""
    return until(lambda: job if (job := job_of(server, job_id))["completed_at"] else None, 600)


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """(name, data) of each Server-Sent Event; comments and other fields are left out."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def streamed(server: ServerProcess, job_id: str) -> list[tuple[str, Any]]:
    """The events of a stream up to its end."""
    with server.client.stream("GET", f"/simulate/stream/{job_id}") as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        return list(events(response.iter_lines()))


def fields(response: httpx.Response, status: int = 400) -> set[str]:
    """What a request is refused for."""
    assert response.status_code == status, response.text
    return {problem["field"] for problem in response.json()["details"]}


# --- a job from its trigger to its results ---------------------------------------------------------------------------


def test_a_trigger_is_accepted_and_its_job_can_be_followed_to_its_end(server: ServerProcess) -> None:
    response = trigger(server, **WEEK, models=["momentum"])
    accepted = said(response, documented.TRIGGER, 202)
    assert accepted["date_range"] == WEEK_DAYS
    assert accepted["models"] == ["momentum"]
    job_id = accepted["job_id"]
    assert response.headers["Location"] == f"/simulate/status/{job_id}"
    job = finished(server, job_id)
    assert job["status"] == "completed"
    assert job["progress"]["completed"] == job["progress"]["total_model_days"] == 5
    assert [(one["date"], one["status"]) for one in job["progress"]["details"]] == [
        (day, "completed") for day in WEEK_DAYS
    ]
    newest = said(server.get("/simulate/current"), documented.CURRENT)
    assert newest["job_id"] == job_id
    assert "details" not in newest["progress"]


def test_an_empty_trigger_runs_what_is_due_and_then_says_that_nothing_is(folder: Path) -> None:
    first, last = "2025-10-28", "2025-10-30"  # the shipped prices end then
    with serving(folder, env={**QUIET, "POSITION_SERVER_SIMULATION__START_DATE": first}) as server:
        said(ready(server).get("/simulate/current"), documented.CURRENT, 404)
        accepted = said(server.client.post("/simulate/trigger"), documented.TRIGGER, 202)  # without a body
        assert accepted["models"] == ["buy_and_hold", "equal_weight", "min_variance", "momentum"]
        assert (accepted["date_range"][0], accepted["date_range"][-1]) == (first, last)
        assert finished(server, accepted["job_id"])["status"] == "completed"
        nothing = said(trigger(server), documented.TRIGGER)
        assert (nothing["status"], nothing["last_simulation_date"]) == ("current", last)
        assert nothing["next_trading_day"] == "2025-10-31"


def test_results_are_those_of_the_day_or_of_the_range(simulated: ServerProcess) -> None:
    day = said(simulated.get("/results", date=WEEK_DAYS[2]), documented.RESULTS)
    assert [one["model"] for one in day["results"]] == ["equal_weight", "momentum"]
    assert all("trades" not in one and "CASH" in one["positions"] for one in day["results"])
    full = said(simulated.get("/results", date=WEEK_DAYS[0], model="momentum", detail="full"), documented.RESULTS)
    (momentum,) = full["results"]
    assert {trade["action"] for trade in momentum["trades"]} == {"buy"}
    spent = sum(trade["total"] for trade in momentum["trades"])
    assert momentum["positions"]["CASH"] == pytest.approx(1_000_000 - spent, abs=0.001)
    over = said(simulated.get("/results", start_date=WEEK_DAYS[0], end_date=WEEK_DAYS[4]), documented.RESULTS)
    assert [one["metrics"]["trading_days"] for one in over["results"]] == [5, 5]
    by_job = said(
        simulated.get("/results", job_id=simulated.get("/simulate/current").json()["job_id"]), documented.RESULTS
    )
    assert by_job["results"] == over["results"]


def test_a_model_s_portfolio_is_a_book_of_the_environment(simulated: ServerProcess) -> None:
    day = WEEK_DAYS[4]
    (held,) = simulated.get("/results", date=day, model="momentum").json()["results"]
    answer = simulated.environment(env_date=day, pos_date=day, books="sim:momentum", time_of_day="EOD")
    rows = answer["sections"]["equities"]["data"]["positions"]
    assert {row["instrument"]: row["quantity"] for row in rows} == {
        name: quantity for name, quantity in held["positions"].items() if name != "CASH"
    }
    value = sum(row["market_value_base"] for row in rows) + held["positions"]["CASH"]
    assert value == pytest.approx(held["daily_pnl"]["portfolio_value"], abs=0.01)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "wrong"),
    [
        ({"start_date": "2025-13-01"}, "invalid_date", {"start_date"}),
        ({"start_date": "2025-09-12", "end_date": "2025-09-08"}, "invalid_date", {"start_date"}),
        ({"colour": "red", "models": [], "replace_existing": 1, "end_date": 7}, "bad_request", None),
        ({"models": ["nobody"]}, "invalid_config", {"models"}),
        ({"config_path": "../config.py"}, "invalid_config", {"config_path"}),
        ({"config_path": "/etc/passwd"}, "invalid_config", {"config_path"}),
        ({"config_path": "configs/nothing.json"}, "invalid_config", {"config_path"}),
    ],
)
def test_a_wrong_trigger_is_refused_by_its_fields(
    simulated: ServerProcess, body: dict[str, Any], code: str, wrong: set[str] | None
) -> None:
    response = trigger(simulated, **body)
    assert said(response, documented.TRIGGER, 400)["error"] == code
    assert fields(response) == (set(body) if wrong is None else wrong)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(simulated: ServerProcess, body: bytes) -> None:
    assert fields(simulated.client.post("/simulate/trigger", content=body)) == {"body"}


def test_days_without_prices_are_refused_until_there_are_some(simulated: ServerProcess) -> None:
    response = trigger(simulated, start_date="2031-01-02")
    assert said(response, documented.TRIGGER, 503)["error"] == "no_prices"
    assert int(response.headers["Retry-After"]) > 0


def test_an_unknown_job_is_not_found_by_its_id(simulated: ServerProcess) -> None:
    for job_id in ("nothing", "%00", "a%2Fb", "%F0%9F%A6%94"):
        for operation, response in (
            (documented.STATUS, simulated.get(f"/simulate/status/{job_id}")),
            (documented.STREAM, simulated.get(f"/simulate/stream/{job_id}")),
            (documented.CANCEL, cancel(simulated, job_id)),
        ):
            assert said(response, operation, 404)["error"] == "not_found"
    assert simulated.get("/simulate/status/nothing").json()["job_id"] == "nothing"


@pytest.mark.parametrize(
    ("arguments", "code", "wrong"),
    [
        ({}, "invalid_date", {"date"}),
        ({"date": "2025-02-30"}, "invalid_date", {"date"}),
        ({"date": "2025-09-08", "end_date": "2025-09-09"}, "invalid_date", {"date"}),
        ({"start_date": "2025-09-08"}, "invalid_date", {"start_date"}),
        ({"start_date": "2025-09-08", "end_date": "2025-09-05"}, "invalid_date", {"start_date"}),
        ({"date": "2025-09-08", "detail": "some", "x": "y"}, "bad_request", {"detail", "x"}),
    ],
)
def test_wrong_arguments_of_results_are_named(
    simulated: ServerProcess, arguments: dict[str, str], code: str, wrong: set[str]
) -> None:
    response = simulated.get("/results", **arguments)
    assert said(response, documented.RESULTS, 400)["error"] == code
    assert fields(response) == wrong


def test_a_repeated_argument_is_refused_and_an_empty_day_has_no_data(simulated: ServerProcess) -> None:
    assert fields(simulated.client.get("/results?date=2025-09-08&date=2025-09-09")) == {"date"}
    assert said(simulated.get("/results", date="2025-06-03"), documented.RESULTS, 404)["error"] == "no_data"


# --- who comes at once -----------------------------------------------------------------------------------------------


def test_twenty_clients_create_one_job_and_another_range_is_a_conflict_with_it(folder: Path) -> None:
    with serving(folder, env=QUIET) as one, serving(folder, env=QUIET) as other:
        servers = [ready(one), ready(other)]
        together = threading.Barrier(CLIENTS)
        answers: list[tuple[int, str]] = []

        def ask(server: ServerProcess) -> None:
            with httpx.Client(base_url=server.client.base_url, timeout=60) as client:
                together.wait()
                response = client.post("/simulate/trigger", json=LONG)
                answers.append((response.status_code, response.json()["job_id"]))

        threads = [threading.Thread(target=ask, args=(servers[n % 2],)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (job_id,) = {job for _, job in answers}
        assert Counter(status for status, _ in answers) == {202: 1, 200: CLIENTS - 1}
        for server in servers:
            conflict = said(trigger(server, **WEEK), documented.TRIGGER, 409)
            assert conflict["current_job_id"] == job_id
            assert conflict["current_date_range"][0] == LONG["start_date"]
        said(cancel(other, job_id), documented.CANCEL)
        ends = [streamed(server, job_id)[-1] for server in servers]
        assert ends[0] == ends[1] == ("end", {"job_id": job_id, "status": job_of(one, job_id)["status"]})


def test_cancelling_stops_the_job_and_marks_what_is_left(server: ServerProcess) -> None:
    job_id = triggered(server, **LONG, replace_existing=True)
    until(lambda: job_of(server, job_id)["progress"]["completed"])
    assert said(cancel(server, job_id), documented.CANCEL)["cancel_requested"] is True
    job = finished(server, job_id)
    assert job["status"] == "cancelled"
    counts = Counter(one["status"] for one in job["progress"]["details"])
    assert set(counts) == {"completed", "cancelled"}
    again = said(cancel(server, job_id), documented.CANCEL)
    assert (again["status"], again["updated_at"]) == ("cancelled", job["updated_at"])


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_shows_progress_and_ends_with_the_job(server: ServerProcess) -> None:
    job_id = triggered(server, **SHORTER)
    *progress, (last, end) = streamed(server, job_id)
    assert (last, end) == ("end", {"job_id": job_id, "status": "completed"})
    assert {name for name, _ in progress} == {"progress"}
    for _, job in progress:
        jsonschema.validate(job, documented.JOB, cls=jsonschema.Draft202012Validator)
    done = [job["progress"]["completed"] for _, job in progress]
    assert done == sorted(done)
    assert done[-1] == progress[-1][1]["progress"]["total_model_days"]
    assert len(set(done)) > 3, "it moved before the reader's eyes"
    assert streamed(server, job_id) == [progress[-1], (last, end)]  # it is over


def test_who_has_seen_the_end_need_not_connect_again(simulated: ServerProcess) -> None:
    path = f"/simulate/stream/{simulated.get('/simulate/current').json()['job_id']}"
    assert simulated.client.get(path).text.endswith(
        f'id: end\nevent: end\ndata: {{"job_id":"{path.rpartition("/")[2]}","status":"completed"}}\n\n'
    )
    seen = simulated.client.get(path, headers={"Last-Event-ID": "end"})
    assert (seen.status_code, seen.content) == (204, b"")
    head = simulated.client.head(path)
    assert (head.status_code, head.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")


def test_a_reader_that_takes_nothing_holds_up_neither_the_job_nor_other_readers(server: ServerProcess) -> None:
    job_id = triggered(server, **SHORTER)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect(("127.0.0.1", server.port))
        slow.settimeout(60)
        slow.sendall(f"GET /simulate/stream/{job_id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert streamed(server, job_id)[-1][1]["status"] == "completed"
        received = b""
        while chunk := slow.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200")
    assert b"event: end\n" in received
    assert received.count(b"event: progress\n") >= 2


def test_readers_who_hang_up_leave_nothing_behind(server: ServerProcess) -> None:
    job_id = triggered(server, **SHORTER)
    for _ in range(5):
        with server.client.stream("GET", f"/simulate/stream/{job_id}") as response:
            next(response.iter_raw())
    assert streamed(server, job_id)[-1][0] == "end"

    def hung_up() -> list[str]:
        lines = [line for line in server.log_lines() if line["message"] == "caller hung up"]
        return [line["uri"] for line in lines if job_id in line["uri"]]

    until(lambda: len(hung_up()) == 5)
    assert [line for line in server.log_lines() if line["level"] in ("warning", "error")] == []


# --- ends of a server ------------------------------------------------------------------------------------------------


def test_a_server_that_is_told_to_end_ends_its_streams_and_leaves_the_job_to_the_next(folder: Path) -> None:
    with serving(folder, env=QUIET) as server:
        job_id = triggered(ready(server), **SHORTER)
        with server.client.stream("GET", f"/simulate/stream/{job_id}") as response:
            shown = events(response.iter_lines())
            next(shown)
            assert server.terminate() == 0
            assert "end" not in {name for name, _ in shown}
    with serving(folder, env=QUIET) as server:
        until(lambda: server.get("/simulate/current").status_code == 200)
        assert finished(server, job_id)["status"] == "completed"


@pytest.mark.slow
def test_a_killed_server_s_job_goes_on_with_the_next(folder: Path) -> None:
    with serving(folder, env=QUIET) as server:
        job_id = triggered(ready(server), **SHORTER)
        until(lambda: job_of(server, job_id)["progress"]["completed"] > 20)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    with serving(folder, env=QUIET) as server:
        until(lambda: server.get("/simulate/current").status_code == 200)
        job = finished(server, job_id)
        assert (job["status"], job["progress"]["failed"]) == ("completed", 0)


def test_without_a_store_simulations_are_unavailable_and_come_with_it(folder: Path) -> None:
    store, away = folder / "position_server.sqlite", folder / "away.sqlite"
    shutil.move(store, away)
    with serving(folder, env={**QUIET, "POSITION_SERVER_STORE__DEMO": "false"}) as server:
        response = until(lambda: r if (r := server.get("/simulate/current")).json()["error"] != "starting" else None)
        assert said(response, documented.CURRENT, 503)["error"] == "store_unavailable"
        assert int(response.headers["Retry-After"]) > 0
        assert not store.exists(), "a store that is away is not made anew"
        shutil.move(away, store)
        ready(server)
        assert finished(server, triggered(server, **WEEK, models=["momentum"]))["status"] == "completed"


# --- who may ---------------------------------------------------------------------------------------------------------


def test_readers_watch_analysts_trigger_and_the_audit_log_says_who(folder: Path) -> None:
    keys = {}
    with open_store(f"sqlite:///{folder / 'position_server.sqlite'}") as store:
        for role in (Role.READER, Role.ANALYST):
            key, text = new_key("test", role, now=datetime.now(UTC), expires_at=None, random_bytes=token_bytes)
            add_key(store, key)
            keys[role] = {"id": key.key_id, "headers": {"X-API-Key": text}}
    with serving(folder, env=QUIET) as server:
        reader, analyst = keys[Role.READER]["headers"], keys[Role.ANALYST]["headers"]
        until(lambda: server.client.get("/simulate/current", headers=reader).status_code == 404)
        body = {**WEEK, "models": ["momentum"]}
        assert server.client.post("/simulate/trigger", json=body).status_code == 401
        assert server.client.post("/simulate/trigger", json=body, headers=reader).status_code == 403
        accepted = server.client.post("/simulate/trigger", json=body, headers=analyst)
        job_id = said(accepted, documented.TRIGGER, 202)["job_id"]
        path = f"/simulate/stream/{job_id}"
        assert server.client.get(path).status_code == 401
        with server.client.stream("GET", path, headers=reader) as response:
            assert list(events(response.iter_lines()))[-1][1]["status"] == "completed"
    lines = [json.loads(line) for line in (folder / "api_audit.log").read_text().splitlines()]
    assert [(line["event"], line["user"]) for line in lines if line["job_id"] == job_id] == [
        (event, keys[Role.ANALYST]["id"]) for event in ("pending", "running", "completed")
    ]


def test_a_crowd_of_readers_is_served_while_a_job_runs(server: ServerProcess) -> None:
    job_id = triggered(server, **SHORTER)
    ends: list[Any] = []

    def read() -> None:
        with (
            httpx.Client(base_url=server.client.base_url, timeout=60) as client,
            client.stream("GET", f"/simulate/stream/{job_id}") as response,
        ):
            ends.append(list(events(response.iter_lines()))[-1])

    threads = [threading.Thread(target=read) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)  # they come one by one: each finds another state
    for thread in threads:
        thread.join()
    assert ends == [("end", {"job_id": job_id, "status": "completed"})] * CLIENTS
