"""What all handlers share, against a real in-process Tornado server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import getrandbits
from typing import Any

import pytest
from tornado.httpclient import HTTPRequest
from tornado.web import Application

from position_server import errors
from position_server.clock import SystemClock
from position_server.logs import AccessLog
from position_server.metrics import Metrics
from position_server.web.base import InFlight, JsonHandler, NotFoundHandler, WebContext
from tests.fakes import open_guard


class EchoHandler(JsonHandler):
    """Answers what it was sent, or raises what it was told to."""

    async def get(self) -> None:
        raise {
            "bad": errors.BadRequest([errors.Problem("books", "is required"), errors.Problem("x", "unknown")]),
            "busy": errors.Busy(retry_after_seconds=7),
            "bug": ZeroDivisionError("division by zero"),
            "missing": errors.NotFound(),
        }[self.get_query_argument("how")]

    async def post(self) -> None:
        self.write_json({"size": len(self.body())})


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.create()


@pytest.fixture
def app(threads: ThreadPoolExecutor, metrics: Metrics) -> Application:
    bounds = {"max_body_bytes": 1000, "expose_tracebacks": True, "guard": open_guard()}
    context = WebContext(SystemClock(), metrics, threads, InFlight(), AccessLog(None), getrandbits, **bounds)
    return Application(
        [("/echo", EchoHandler, {"context": context, "route": "/echo"})],
        default_handler_class=NotFoundHandler,
        default_handler_args={"context": context, "route": "unknown"},
        cross_origin_protection=True,
    )


async def ask(client: Any, url: str, **options: Any) -> tuple[Any, Any]:
    response = await client.fetch(HTTPRequest(url, **options), raise_error=False)
    return response, json.loads(response.body) if response.body else None


@pytest.mark.gen_test
async def test_every_problem_of_a_bad_request_is_named(http_client: Any, base_url: str) -> None:
    response, body = await ask(http_client, f"{base_url}/echo?how=bad")
    assert response.code == 400
    assert body["error"] == "bad_request"
    assert body["details"] == [{"field": "books", "message": "is required"}, {"field": "x", "message": "unknown"}]
    assert body["request_id"] == response.headers["X-Request-ID"]
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.gen_test
async def test_a_full_queue_says_when_to_try_again(http_client: Any, base_url: str) -> None:
    response, body = await ask(http_client, f"{base_url}/echo?how=busy")
    assert (response.code, body["error"], response.headers["Retry-After"]) == (503, "busy", "7")


@pytest.mark.gen_test
async def test_a_bug_is_500_in_json_and_logged_with_its_traceback(
    http_client: Any, base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    response, body = await ask(http_client, f"{base_url}/echo?how=bug")
    assert (response.code, body["error"]) == (500, "internal_error")
    logged = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "ZeroDivisionError" in str(logged[0].exc_info)


@pytest.mark.gen_test
async def test_unknown_paths_are_404_in_json_by_every_method(http_client: Any, base_url: str) -> None:
    for method, options in (("GET", {}), ("POST", {"body": b"x" * 5000}), ("DELETE", {}), ("PUT", {"body": b""})):
        response, body = await ask(http_client, f"{base_url}/nowhere", method=method, **options)
        assert (response.code, body["error"]) == (404, "not_found")


@pytest.mark.gen_test
async def test_another_method_is_405_and_names_the_allowed_ones(http_client: Any, base_url: str) -> None:
    response, body = await ask(http_client, f"{base_url}/echo", method="DELETE")
    assert (response.code, body["error"]) == (405, "method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.gen_test
async def test_a_body_over_the_limit_is_read_and_refused(http_client: Any, base_url: str) -> None:
    response, body = await ask(http_client, f"{base_url}/echo", method="POST", body=b"x" * 3_000_000)
    assert (response.code, body["error"]) == (413, "payload_too_large")


@pytest.mark.gen_test
async def test_a_body_at_the_limit_is_taken(http_client: Any, base_url: str) -> None:
    _, body = await ask(http_client, f"{base_url}/echo", method="POST", body=b"x" * 1000)
    assert body == {"size": 1000}


@pytest.mark.gen_test
async def test_a_plain_request_id_is_kept_and_any_other_replaced(http_client: Any, base_url: str) -> None:
    for offered, kept in (("trade-42", True), ("a" * 64, True), ("a" * 65, False), ("two words", False)):
        response, _ = await ask(http_client, f"{base_url}/echo?how=missing", headers={"X-Request-ID": offered})
        assert (response.headers["X-Request-ID"] == offered) is kept


@pytest.mark.gen_test
async def test_a_page_of_another_origin_cannot_post(
    http_client: Any, base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"}
    response, body = await ask(http_client, f"{base_url}/echo", method="POST", body=b"", headers=headers)
    assert (response.code, body["error"]) == (403, "forbidden")
    await ask(http_client, f"{base_url}/echo?how=missing")
    assert "hung up" not in caplog.text, "it was answered, and the connection closed here"


@pytest.mark.gen_test
async def test_requests_are_counted_by_route_and_status(http_client: Any, base_url: str, metrics: Metrics) -> None:
    await ask(http_client, f"{base_url}/echo?how=missing")
    assert b'position_server_requests_total{method="GET",route="/echo",status="404"} 1.0' in metrics.render()
