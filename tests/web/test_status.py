"""The small routes on a running server, and the OpenAPI document held against what is really answered."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from tests.servers import ServerProcess
from tests.web.test_environment import BODY, SOD


@pytest.fixture(scope="session")
def document(demo_server: ServerProcess) -> dict[str, Any]:
    return demo_server.get("/openapi.json").json()


def check(document: dict[str, Any], path: str, method: str, status: int, body: Any) -> None:
    """The body is what the document says this route answers with this status."""
    answer = document["paths"][path][method]["responses"][str(status)]
    schema = answer["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    jsonschema.validate(body, whole, cls=jsonschema.Draft202012Validator)


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_the_document_has_every_route_and_method(document: dict[str, Any]) -> None:
    assert {path: set(item) for path, item in document["paths"].items()} == {
        "/position-environment": {"get", "post"},
        "/status": {"get"},
        "/batch/status": {"get"},
        "/batch/run": {"post"},
        "/batch/queue/stats": {"get"},
        "/batch/rate-limit": {"get"},
        "/batch/results": {"get"},
        "/batch/assets": {"get"},
        "/batch/plan": {"get"},
        "/portfolios/runs": {"get"},
        "/portfolios/{book}/snapshots": {"get"},
        "/portfolios/{book}/exposures": {"get"},
        "/portfolios/{book}/tie-out": {"get"},
        "/positions/{book}/{instrument}/valuation": {"put"},
        "/onboarding/symbols": {"post"},
        "/onboarding/{symbol}": {"get"},
        "/simulate/trigger": {"post"},
        "/simulate/status/{job_id}": {"get"},
        "/simulate/current": {"get"},
        "/simulate/stream/{job_id}": {"get"},
        "/simulate/cancel/{job_id}": {"post"},
        "/results": {"get"},
        "/params": {"get"},
        "/metrics": {"get"},
        "/health": {"get"},
        "/health/live": {"get"},
        "/health/ready": {"get"},
        "/openapi.json": {"get"},
    }


@pytest.mark.parametrize("path", ["/status", "/params", "/health", "/health/live", "/health/ready", "/openapi.json"])
def test_the_small_routes_answer_as_documented(demo_server: ServerProcess, document: dict[str, Any], path: str) -> None:
    response = demo_server.get(path)
    assert response.headers["Content-Type"] == "application/json"
    check(document, path, "get", response.status_code, response.json())
    refused = demo_server.client.delete(path)
    assert refused.headers["Allow"] == "GET, HEAD"
    check(document, path, "get", 405, refused.json())


def test_environments_and_their_errors_answer_as_documented(
    demo_server: ServerProcess, document: dict[str, Any]
) -> None:
    path = "/position-environment"
    check(document, path, "get", 200, demo_server.get(path, **SOD).json())
    check(document, path, "get", 400, demo_server.get(path).json())
    check(document, path, "post", 200, demo_server.client.post(path, json=BODY).json())
    check(document, path, "post", 400, demo_server.client.post(path, content=b"x").json())
    check(document, path, "post", 413, demo_server.client.post(path, content=b"x" * 3_000_000).json())
    check(document, path, "get", 405, demo_server.client.put(path).json())


def test_status_tells_an_operator_what_is_warm(demo_server: ServerProcess) -> None:
    status = demo_server.status()
    assert status["server_status"] == "warmed_up"
    assert set(status["warmup_threads"]) == {"SOD_MAIN", "LIVE_EXO", "EOD_MAIN"}
    for state in status["warmup_threads"].values():
        assert state["status"] in {"idle", "running"}
        assert state["in_time_window"] is True
        assert state["runs"] >= 1
        assert state["failures"] == 0
    names = {"bonds", "equities", "exposures", "futures", "ir_delta", "new_trades", "options", "private", "spot"}
    assert names <= set(status["sections"])
    assert all(section["runs"] >= 3 for section in status["sections"].values())
    warm = [key["key"]["time_of_day"] for key in status["cache"]["keys"]]
    assert {"SOD", "EOD", "LIVE"} <= set(warm)


def test_metrics_count_hits_and_computations(demo_server: ServerProcess) -> None:
    demo_server.environment(**SOD)
    text = demo_server.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['position_server_environment_answers_total{how="hit"}']) >= 1
    assert float(values['position_server_section_runs_total{outcome="ok",section="bonds"}']) >= 3
    assert float(values["position_server_cache_entries"]) >= 3
    assert float(values["position_server_cache_bytes"]) > 10_000
    assert 'position_server_compute_queue{kind="miss"}' in values


def test_params_describe_every_field_and_every_section(demo_server: ServerProcess) -> None:
    params = demo_server.get("/params").json()
    assert [field["name"] for field in params["params"]] == ["env_date", "pos_date", "books", "time_of_day"]
    assert all(field["required"] for field in params["params"])
    assert [field["name"] for field in params["read_options"]] == ["sections", "max_age", "require"]
    assert set(params["section_params"]["bonds"]) == {
        "exclude_isins",
        "clean_price_overrides",
        "curve_shift_bp",
        "yield_overrides",
    }
    assert params["section_params"]["new_trades"] == {}


def test_unknown_paths_are_404_in_json(demo_server: ServerProcess) -> None:
    response = demo_server.get("/position-enviroment")
    assert response.status_code == 404
    assert response.json().keys() == {"error", "message", "request_id"}
