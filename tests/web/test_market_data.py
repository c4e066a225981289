"""`/batch/*` in an in-process server: the real updater on a real store, and a stand-in provider over HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from random import getrandbits
from types import MappingProxyType
from typing import Any
from unittest.mock import Mock

import jsonschema
import pytest
from tornado.httpclient import HTTPRequest
from tornado.web import Application

from position_server.access import Guard, Role
from position_server.clock import SystemClock
from position_server.errors import BadRequest
from position_server.logs import AccessLog
from position_server.market_data.priority_queue import Level
from position_server.market_data.service import MarketData
from position_server.metrics import Metrics
from position_server.settings import Settings
from position_server.store.engine import open_store
from position_server.web import batch_operations, operations
from position_server.web.base import InFlight, WebContext
from position_server.web.market_data import read_additions
from position_server.web.routes import Services, application
from tests.access.factories import key
from tests.fakes import open_guard
from tests.house.pages import page
from tests.market_data.stand_in import StandIn
from tests.servers import until

CONFIG = """
STORE = {{"demo": False}}
MARKET_DATA = {{
    "base_url": "{url}",
    "calls": 100,
    "timeout_seconds": 60.0,
    "assets": [
        {{"symbol": symbol, "provider_ticker": "C:" + symbol, "asset_type": "forex", "level": level,
          "base_asset": symbol[:3], "quote_asset": symbol[3:], "price_precision": 5}}
        for symbol, level in (("EURUSD", "CRITICAL"), ("XAUUSD", "CRITICAL"), ("AUDUSD", "LOW"))
    ],
}}
"""
DOCUMENTED = MappingProxyType(
    {
        "/batch/status": batch_operations.STATUS,
        "/batch/run": batch_operations.RUN,
        "/batch/queue/stats": batch_operations.QUEUE_STATS,
        "/batch/rate-limit": batch_operations.RATE_LIMIT,
        "/batch/results": batch_operations.RESULTS,
        "/batch/assets": batch_operations.ASSETS,
        "/batch/plan": batch_operations.PLAN,
    }
)
Load = Callable[..., Settings]


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with StandIn() as provider:
        for ticker in ("C:EURUSD", "C:XAUUSD", "C:AUDUSD"):
            provider.quote(ticker, 1.25, 1.5)
        yield provider


@pytest.fixture
def market_settings(load: Load, tmp_path: Path, provider: StandIn) -> Settings:
    """Three assets at the stand-in, and an empty store."""
    found = load(CONFIG.format(url=provider.url), {}, {"data_dir": tmp_path})
    with open_store(found.store_url) as store:
        store.upgrade()
    return found


@pytest.fixture
def market_data(market_settings: Settings) -> Iterator[MarketData]:
    """The updater; a test starts it where it has to run."""
    made = MarketData(market_settings, SystemClock(), fetches=True)
    yield made
    made.stop()
    made.join()


@pytest.fixture
def guard() -> Guard:
    return open_guard()


@pytest.fixture
def app(market_data: MarketData, guard: Guard) -> Iterator[Application]:
    with ThreadPoolExecutor(2) as threads:
        given = {"max_body_bytes": 1000, "expose_tracebacks": True, "guard": guard}
        context = WebContext(
            SystemClock(), Metrics.create(), threads, InFlight(), AccessLog(None), getrandbits, **given
        )
        nothing = dict.fromkeys((field.name for field in fields(Services)), Mock())  # no other route is asked
        yield application(Services(**{**nothing, "context": context, "market_data": market_data}))


async def ask(client: Any, base_url: str, path: str, **options: Any) -> tuple[int, Any]:
    """Status and body, which must be what the document says of this route."""
    response = await client.fetch(HTTPRequest(f"{base_url}{path}", **options), raise_error=False)
    body = json.loads(response.body)
    method = options.get("method", "GET").lower()
    operation = DOCUMENTED[path.partition("?")[0]]
    if (method == "get") == (operation is not batch_operations.RUN) and response.code not in (401, 403):
        schema = operation["responses"][str(response.code)]["content"]["application/json"]["schema"]
        whole = {**schema, "components": {"schemas": {"Error": operations.SCHEMAS["Error"]}}}
        jsonschema.validate(body, whole, cls=jsonschema.Draft202012Validator)
    return response.code, body


async def ran(market_data: MarketData) -> None:
    """Waits until the first batch is over, and the other assets with it."""
    market_data.start(lambda _: None)
    until(lambda: market_data.results(1))


# --- what is shown ---------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_before_the_first_run_there_is_no_batch_and_nothing_runs(http_client: Any, base_url: str) -> None:
    assert await ask(http_client, base_url, "/batch/status") == (
        200,
        {
            "batch_id": "",
            "status": "stopped",
            "last_run": None,
            "next_run": None,
            "priority_assets": ["EURUSD", "XAUUSD"],
            "queue_size": 0,
            "api_calls_remaining": 100,
            "jobs": [],
        },
    )
    assert await ask(http_client, base_url, "/batch/results") == (200, [])
    _, assets = await ask(http_client, base_url, "/batch/assets")
    assert [(one["symbol"], one["sync_status"], one["last_price"]) for one in assets] == [
        ("EURUSD", "pending", None),
        ("XAUUSD", "pending", None),
        ("AUDUSD", "pending", None),
    ]


@pytest.mark.gen_test
async def test_a_running_updater_shows_its_beats_its_batch_and_its_quotes(
    http_client: Any, base_url: str, market_data: MarketData
) -> None:
    await ran(market_data)
    _, status = await ask(http_client, base_url, "/batch/status")
    (newest,) = (await ask(http_client, base_url, "/batch/results?limit=1"))[1]
    assert (status["status"], status["batch_id"]) == ("running", newest["batch_id"])
    assert {job["id"] for job in status["jobs"]} == {"priority_batch", "enqueue_secondary", "queue_processor"}
    assert status["next_run"] == next(job["next_run"] for job in status["jobs"] if job["id"] == "priority_batch")
    assert (newest["priority_updated"], newest["queue_processed"], newest["api_calls_used"]) == (2, 1, 2)
    _, assets = await ask(http_client, base_url, "/batch/assets")
    assert {(one["sync_status"], one["last_price"], one["last_error"]) for one in assets} == {("success", 1.375, None)}
    _, queue = await ask(http_client, base_url, "/batch/queue/stats")
    assert (queue["size"], queue["total_enqueued"], queue["total_processed"]) == (0, 1, 1)
    _, budget = await ask(http_client, base_url, "/batch/rate-limit")
    assert (budget["limit"], budget["current_calls"], budget["remaining"], budget["total_calls"]) == (100, 2, 98, 2)


@pytest.mark.gen_test
async def test_the_plan_says_what_an_addition_costs(http_client: Any, base_url: str) -> None:
    _, plan = await ask(http_client, base_url, "/batch/plan")
    assert [one["symbol"] for one in plan["symbols"]] == ["EURUSD", "XAUUSD", "AUDUSD"]
    assert plan["before"] is None
    _, more = await ask(http_client, base_url, "/batch/plan?add=NZDUSD:CRITICAL,USDCAD:HIGH")
    assert [one["symbol"] for one in more["symbols"] if one["added"]] == ["NZDUSD", "USDCAD"]
    assert more["before"] == {name: plan[name] for name in more["before"]}
    ages = {one["symbol"]: one for one in plan["symbols"]}
    for one in more["symbols"]:
        if not one["added"]:
            assert one["before"].items() <= ages[one["symbol"]].items()


# --- a run -----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_run_answers_what_it_did(http_client: Any, base_url: str, market_data: MarketData) -> None:
    await ran(market_data)
    code, answer = await ask(http_client, base_url, "/batch/run", method="POST", body=b"")
    assert (code, answer["success"]) == (200, True)
    assert answer["result"].keys() == {"duration_ms", "updated", "failed", "api_calls_used"}
    assert (answer["result"]["updated"], answer["result"]["failed"]) == (2, 0)
    assert (await ask(http_client, base_url, "/batch/status"))[1]["batch_id"] == answer["batch_id"]


@pytest.mark.gen_test
async def test_a_run_with_failed_assets_is_200_without_success(
    http_client: Any, base_url: str, market_data: MarketData, provider: StandIn
) -> None:
    provider.quote("C:XAUUSD", 2.0, 1.0)  # crossed
    await ran(market_data)
    code, answer = await ask(http_client, base_url, "/batch/run", method="POST", body=b"")
    assert (code, answer["success"], answer["result"]["failed"]) == (200, False, 1)
    assert "XAUUSD" in answer["message"]
    _, assets = await ask(http_client, base_url, "/batch/assets")
    assert [one["last_error"] for one in assets if one["symbol"] == "XAUUSD"] != [None]


@pytest.mark.gen_test
async def test_a_run_waits_on_no_thread_of_the_server(
    http_client: Any, base_url: str, market_data: MarketData, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked for more often than there are threads, before anything runs: all are answered with one batch."""
    caplog.set_level(logging.INFO)
    asked = [ask(http_client, base_url, "/batch/run", method="POST", body=b"") for _ in range(8)]
    waiting = asyncio.gather(*asked)
    while len([record for record in caplog.records if record.message == "audit"]) < len(asked):
        await asyncio.sleep(0.01)
    assert (await ask(http_client, base_url, "/batch/queue/stats"))[0] == 200
    market_data.start(lambda _: None)
    assert len({answer["batch_id"] for _, answer in await waiting}) == 1


@pytest.mark.gen_test
async def test_a_batch_that_breaks_is_500(
    http_client: Any, base_url: str, market_data: MarketData, market_settings: Settings
) -> None:
    Path(market_settings.store_url.removeprefix("sqlite:///")).unlink()
    market_data.start(lambda _: None)
    code, answer = await ask(http_client, base_url, "/batch/run", method="POST", body=b"")
    assert (code, answer["error"]) == (500, "batch_failed")


@pytest.mark.gen_test
async def test_a_run_that_waits_at_the_end_of_the_server_is_answered(
    http_client: Any, base_url: str, market_data: MarketData
) -> None:
    waiting = asyncio.ensure_future(ask(http_client, base_url, "/batch/run", method="POST", body=b""))
    await ask(http_client, base_url, "/batch/queue/stats")  # whichever is first: one that comes later is told so, too
    market_data.stop()
    code, answer = await waiting
    assert (code, answer["error"]) == (500, "batch_failed")


class TestGuarded:
    """A server with a key of each role."""

    MADE = {role: key(role=role, now=SystemClock().now()) for role in Role}  # noqa: RUF012 a table

    @pytest.fixture
    def guard(self) -> Iterator[Guard]:
        with ThreadPoolExecutor(1) as checks:
            guard = Guard(checks, SystemClock(), secret=b"of a test")
            guard.learn([ours for ours, _ in self.MADE.values()])
            yield guard

    @pytest.mark.gen_test
    async def test_a_run_is_for_admins_and_leaves_a_line(
        self, http_client: Any, base_url: str, market_data: MarketData, caplog: pytest.LogCaptureFixture
    ) -> None:
        market_data.start(lambda _: None)
        codes = []
        with caplog.at_level(logging.INFO):
            for role in (None, *Role):
                headers = {} if role is None else {"X-API-Key": self.MADE[role][1]}
                asked = {"method": "POST", "body": b"", "headers": headers}
                codes.append((await ask(http_client, base_url, "/batch/run", **asked))[0])
        assert codes == [401, 403, 403, 200]
        lines = [record for record in caplog.records if record.message == "audit"]
        assert [(one.action, one.key_id) for one in lines] == [("batch_run", self.MADE[Role.ADMIN][0].key_id)]

    @pytest.mark.gen_test
    async def test_readers_see_everything(self, http_client: Any, base_url: str) -> None:
        headers = {"X-API-Key": self.MADE[Role.READER][1]}
        for path in DOCUMENTED.keys() - {"/batch/run"}:
            assert (await ask(http_client, base_url, path, headers=headers))[0] == 200


# --- switched off, and without a store -------------------------------------------------------------------------------


class TestSwitchedOff:
    """Nothing is fetched here; what is there is shown."""

    @pytest.fixture
    def market_data(self, market_settings: Settings) -> Iterator[MarketData]:
        made = MarketData(market_settings, SystemClock(), fetches=False)
        made.start(lambda _: None)
        yield made
        made.stop()
        made.join()

    @pytest.mark.gen_test
    async def test_a_run_is_409_and_all_else_answers(self, http_client: Any, base_url: str) -> None:
        code, answer = await ask(http_client, base_url, "/batch/run", method="POST", body=b"")
        assert (code, answer["error"]) == (409, "market_data_disabled")
        _, status = await ask(http_client, base_url, "/batch/status")
        assert (status["status"], status["batch_id"], status["jobs"]) == ("stopped", "", [])
        for path in DOCUMENTED.keys() - {"/batch/run"}:
            assert (await ask(http_client, base_url, path))[0] == 200


@pytest.mark.gen_test
async def test_without_a_store_what_needs_it_is_503_and_the_rest_answers(
    http_client: Any, base_url: str, market_settings: Settings
) -> None:
    Path(market_settings.store_url.removeprefix("sqlite:///")).unlink()
    for path in ("/batch/results", "/batch/assets", "/batch/rate-limit"):
        response = await http_client.fetch(f"{base_url}{path}", raise_error=False)
        assert (response.code, json.loads(response.body)["error"]) == (503, "store_unavailable")
        assert response.headers["Retry-After"] == "5"
    _, status = await ask(http_client, base_url, "/batch/status")
    assert (status["batch_id"], status["api_calls_remaining"]) == ("", None)
    for path in ("/batch/queue/stats", "/batch/plan"):
        assert (await ask(http_client, base_url, path))[0] == 200


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_bad_arguments_are_400_and_named(http_client: Any, base_url: str) -> None:
    for path, names in (
        ("/batch/results?limit=abc", ["limit"]),
        ("/batch/results?limit=1&limit=2", ["limit"]),
        ("/batch/results?limt=5", ["limt"]),
        ("/batch/plan?add=EURUSD", ["add"]),
        ("/batch/plan?add=EURUSD:LOW", ["add"]),  # an asset already
        ("/batch/plan?add=X:NOPE,%20Y:LOW&symbol=EURUSD", ["symbol", "add", "add"]),
        ("/batch/plan?add=%FF:LOW", ["query"]),
    ):
        code, answer = await ask(http_client, base_url, path)
        assert (code, answer["error"]) == (400, "bad_request")
        assert [problem["field"] for problem in answer["details"]] == names, path


@pytest.mark.gen_test
async def test_routes_without_arguments_ignore_them(http_client: Any, base_url: str) -> None:
    assert (await ask(http_client, base_url, "/batch/assets?limit=abc"))[0] == 200


@pytest.mark.parametrize(
    ("query", "added"),
    [
        ("", {}),
        ("add=NZDUSD:LOW", {"NZDUSD": Level.LOW}),
        ("add=BRK.B:HIGH,%C3%9CBER:CRITICAL", {"BRK.B": Level.HIGH, "ÜBER": Level.CRITICAL}),
    ],
)
def test_additions_are_symbols_with_levels(query: str, added: dict[str, Level]) -> None:
    assert read_additions(query) == added


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' must be SYMBOL:LEVEL"),
        ("EURUSD", "'EURUSD' must be SYMBOL:LEVEL"),
        (":LOW", "':LOW' must be SYMBOL:LEVEL"),
        ("A:LOW,", "'' must be SYMBOL:LEVEL"),
        ("A%20B:LOW", "'A B:LOW' must be SYMBOL:LEVEL"),
        ("A:LOW,%20B:LOW", "' B:LOW' must be SYMBOL:LEVEL"),
        ("C:A:LOW", "'C:A:LOW' must be SYMBOL:LEVEL"),
        ("A%00:LOW", "'A\\x00:LOW' must be SYMBOL:LEVEL"),
        ("X" * 65 + ":LOW", "must be SYMBOL:LEVEL"),
        ("A:NOPE", "'A:NOPE': the level must be one of CRITICAL, HIGH, MEDIUM, LOW"),
        ("A:low", "'A:low': the level must be one of CRITICAL, HIGH, MEDIUM, LOW"),
        ("A:", "'A:': the level must be one of CRITICAL, HIGH, MEDIUM, LOW"),
        ("A:LOW,B:LOW,A:HIGH", "A is there twice"),
        (",".join(f"A{n}:LOW" for n in range(1001)), "must name at most 1000 symbols"),
    ],
)
def test_any_other_addition_is_refused_by_its_text(text: str, problem: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_additions(f"add={text}")
    (found,) = refused.value.problems
    assert found.field == "add"
    assert problem in found.message


# --- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(DOCUMENTED))
def test_every_field_of_an_answer_is_documented(path: str) -> None:
    method = "POST" if path == "/batch/run" else "GET"
    rows = page("http.md").rows(f"{method} {path}")
    schema = DOCUMENTED[path]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(schema.get("items", schema)["properties"]) <= rows.keys()
