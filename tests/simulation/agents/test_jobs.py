"""Agents in whole jobs: real store, real workers, beside models that are built in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from position_server.compute import tasks
from position_server.compute.pool import ComputePool
from position_server.simulation.jobs import JobService
from position_server.simulation.requests import ResultsQuery, TriggerRequest
from position_server.store import tables
from tests.fakes import VirtualClock
from tests.simulation.agents.stand_in import (
    KEY,
    Reply,
    Request,
    StandIn,
    answering,
    calls,
    failure,
    finish,
    in_order,
)
from tests.simulation.agents.test_news import written
from tests.simulation.agents.tool_server import tool_server
from tests.simulation.clients import WEEK
from tests.simulation.desk import Desk, config

AGENT = {"name": "gpt", "kind": "agent", "model": "m"}
HOLDER = {"name": "holder", "kind": "buy_and_hold"}
BUY = ("buy", {"symbol": "BBB", "amount": 2})
TWO_DAYS = TriggerRequest(start_date=WEEK[0], end_date=WEEK[1])


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The process's environment without an endpoint or keys; workers begin with it."""
    for name in ("OPENAI_API_BASE", "OPENAI_API_KEY", "JINA_API_BASE", "JINA_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def lead_to(endpoint: StandIn, variables: pytest.MonkeyPatch) -> None:
    for name, value in endpoint.environment.items():
        variables.setenv(name, value)


def run(
    desk: Desk, request: TriggerRequest = TWO_DAYS, workers: int = 1, **settings: Any
) -> tuple[str, dict[tuple[str, str], Any]]:
    """Runs a job with worker processes; its status, and each model-day by model and date."""

    def open_pool() -> ComputePool:
        return ComputePool(tasks.OPEN_SIMULATION, (desk.url, "USD"), workers=workers, queue=8, niceness=0)

    with desk.service(open_pool=open_pool, **settings) as service:
        return ran(service, request)


def ran(service: JobService, request: TriggerRequest = TWO_DAYS) -> tuple[str, dict[tuple[str, str], Any]]:
    job_id = service.trigger(request).job.job_id  # type: ignore[union-attr]
    status = service.run(job_id)
    assert status is not None
    return status, {(one["model"], one["date"]): one for one in service.status(job_id)["progress"]["details"]}


def attempts(desk: Desk) -> list[int]:
    details = tables.sim_job_details
    with desk.store.read() as connection:
        return [row.attempt for row in connection.execute(details.select().order_by(details.c.day))]


def test_an_agent_runs_beside_other_models(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    desk.configure(config(AGENT, HOLDER))
    script = in_order(calls(("get_portfolio", {})), calls(BUY, ("rm", {})), finish("Two more of BBB."))
    with answering(script) as endpoint:
        lead_to(endpoint, variables)
        status, details = run(desk, workers=2)
    assert status == "completed", details
    assert [one["status"] for one in details.values()] == ["completed"] * 4
    with desk.service() as service:
        query = {"date": WEEK[1].isoformat(), "model": "gpt", "detail": "full"}
        (found,) = service.results(ResultsQuery.from_arguments(query))["results"]
    assert found["positions"]["BBB"] == 4, "the portfolio goes on from day to day"
    assert [(one["action"], one["symbol"], one["amount"]) for one in found["trades"]] == [("buy", "BBB", 2)]
    reasoning = found["ai_reasoning"]
    assert reasoning["stop_signal_received"] is True
    assert reasoning["reasoning_summary"] == "Two more of BBB."
    assert reasoning["tool_usage"] == {"get_portfolio": 1, "buy": 1, "unknown": 1}
    assert reasoning["total_steps"] == 4
    lines = [json.loads(line) for line in Path(found["log_file_path"]).read_text().splitlines()]
    assert {(line["model"], line["date"]) for line in lines} == {("gpt", WEEK[1].isoformat())}
    assert lines[-1]["message"] == "finished"


def test_an_agent_that_fails_stops_no_other(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    desk.configure(config(AGENT, HOLDER))
    with answering([failure(401, f"Incorrect API key provided: {KEY}")]) as endpoint:
        lead_to(endpoint, variables)
        status, details = run(desk)
    assert status == "partial"
    failed = details["gpt", WEEK[0].isoformat()]
    assert (failed["status"], failed["error"]) == (
        "failed",
        "the endpoint answered 401: Incorrect API key provided: ***",
    )
    assert [details["holder", day.isoformat()]["status"] for day in WEEK[:2]] == ["completed"] * 2
    assert len(endpoint.requests) == 2, "one a day: it is not tried again"


def test_two_refusals_for_the_moment_and_then_it_completes(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    desk.configure(config(AGENT))

    def script(request: Request) -> Reply:
        if request.number in (1, 2):  # in the middle of the first try, and at the beginning of the second
            return failure(429, "slow down", retry_after="0")
        return in_order(calls(BUY), finish())(request)

    with answering(script) as endpoint:
        lead_to(endpoint, variables)
        status, details = run(desk, TriggerRequest(start_date=WEEK[0], end_date=WEEK[0]))
    assert status == "completed", details
    assert attempts(desk) == [3]
    assert len(desk.rows("sim_trades")) == 1, "what the first try bought was never written"
    log = desk.folder / "simulation" / "gpt" / f"{WEEK[0]}.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sorted({line["attempt"] for line in lines}) == [1, 2, 3]


def test_an_endpoint_says_how_long_to_wait_within_bounds(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    desk.configure(config(AGENT))
    waits = ["7", "100000"]

    def script(request: Request) -> Reply:
        return failure(429, retry_after=waits[request.number]) if request.number < 2 else finish()

    clock = VirtualClock()
    began = clock.monotonic()
    with answering(script) as endpoint, desk.service(clock=clock) as service:
        lead_to(endpoint, variables)
        status, _ = ran(service, TriggerRequest(start_date=WEEK[0], end_date=WEEK[0]))
    assert status == "completed"
    assert clock.monotonic() - began == pytest.approx(7 + 60)


def test_a_day_that_takes_too_long_is_ended(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    desk.configure(config(AGENT))
    with answering([Reply(b"{}", holds=True)]) as endpoint:
        lead_to(endpoint, variables)
        status, details = run(desk, TriggerRequest(end_date=WEEK[0]), model_day_timeout_seconds=5.0)
    assert status == "failed"
    assert "did not finish within 5 s" in details["gpt", WEEK[0].isoformat()]["error"]


def test_an_endpoint_that_does_not_answer_fails_the_day_after_three_tries(
    desk: Desk, variables: pytest.MonkeyPatch
) -> None:
    desk.configure(config({**AGENT, "request_timeout_seconds": 0.2}))
    with answering([Reply(b"{}", holds=True)]) as endpoint, desk.service(clock=VirtualClock()) as service:
        lead_to(endpoint, variables)
        status, details = ran(service, TriggerRequest(start_date=WEEK[0], end_date=WEEK[0]))
    assert status == "failed"
    (failed,) = details.values()
    assert failed["error"] == "TransientFailure: the endpoint did not answer within 0.2 s"
    assert attempts(desk) == [3]


def test_agents_side_by_side_have_nothing_in_common(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    agents = [{**AGENT, "name": f"agent{n}", "model": f"m{n}", "instructions": f"I am {n}."} for n in range(3)]
    desk.configure(config(*agents))

    def script(request: Request) -> Reply:
        number = int(request.body["model"][1:])
        assert f"I am {number}." in request.body["messages"][1]["content"]
        return in_order(calls(("buy", {"symbol": "BBB", "amount": number + 1})), finish(f"{number}"))(request)

    with answering(script) as endpoint:
        lead_to(endpoint, variables)
        status, details = run(desk, workers=2)
    assert status == "completed", details
    bought = {(row[1], row[0]): row for row in desk.rows("sim_trades")}
    assert len(bought) == len(desk.rows("sim_trades")) == 6
    amounts = {one["model"]: one["positions"]["BBB"] for one in of_day(desk)}
    assert amounts == {"agent0": 2, "agent1": 4, "agent2": 6}


def of_day(desk: Desk) -> list[dict[str, Any]]:
    with desk.service() as service:
        found = service.results(ResultsQuery.from_arguments({"date": WEEK[1].isoformat()}))
    return list(found["results"])


def test_news_and_tool_servers_reach_a_worker(desk: Desk, variables: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written(desk.folder, {"time": "2025-05-30", "title": "chips"}, {"time": WEEK[1].isoformat(), "title": "chips!"})
    desk.configure(config({**AGENT, "news_file": "configs/news.jsonl"}))
    script = in_order(calls(("search", {"query": "chips"}), ("math", {"expression": "6*7"})), finish())
    one_day = TriggerRequest(start_date=WEEK[0], end_date=WEEK[0])
    with answering(script) as endpoint:
        lead_to(endpoint, variables)
        assert run(desk, one_day)[0] == "completed"
    assert json.loads(endpoint.told()[0]) == {"results": [{"time": "2025-05-30", "title": "chips"}]}
    assert json.loads(endpoint.told()[1]) == {"result": "42"}
    with answering(script) as endpoint, tool_server(tmp_path / "server.log") as server:
        lead_to(endpoint, variables)
        again = TriggerRequest(start_date=WEEK[0], end_date=WEEK[0], replace_existing=True)
        assert run(desk, again, tool_servers={"archive": server.url})[0] == "completed"
    assert endpoint.told() == [f"archive of {WEEK[0]}: chips", "elsewhere: 6*7"]


def test_no_key_is_left_behind(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    desk.configure(config(AGENT, HOLDER))

    def script(request: Request) -> Reply:
        if str(WEEK[1]) in request.body["messages"][1]["content"]:
            return failure(400, f"bad {KEY}")
        return in_order(calls((KEY, {"key": KEY}), content=f"Key: {KEY}"), finish(KEY))(request)

    with answering(script) as endpoint:
        lead_to(endpoint, variables)
        status, _ = run(desk)
    assert status == "partial"
    desk.store.close()
    for file in (one for one in desk.folder.rglob("*") if one.is_file()):
        assert KEY.encode() not in file.read_bytes(), file


def test_texts_that_databases_refuse_are_stored(any_desk: Desk, variables: pytest.MonkeyPatch) -> None:
    any_desk.configure(config(AGENT))
    strange = "a\0b\ud800c"
    script = in_order(calls((strange, {strange: strange}), content=strange), finish(strange))
    with answering(script) as endpoint, any_desk.service() as service:
        lead_to(endpoint, variables)
        status, details = ran(service, TriggerRequest(start_date=WEEK[0], end_date=WEEK[0]))
    assert status == "completed", details
    texts = [row[-1] for row in any_desk.rows("sim_reasoning_logs")]
    assert texts[0] == "ab?c"


def test_a_foreseen_failure_is_one_line_of_the_log(
    desk: Desk, variables: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk.configure(config(AGENT))
    with answering([failure(404, "no such model")]) as endpoint, desk.service() as service:
        lead_to(endpoint, variables)
        ran(service, TriggerRequest(start_date=WEEK[0], end_date=WEEK[0]))
    (record,) = [one for one in caplog.records if one.message == "model-day failed"]
    assert record.exc_info is None
    assert vars(record)["error"] == "the endpoint answered 404: no such model"
