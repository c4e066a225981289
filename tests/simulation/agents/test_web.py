"""Searching with Jina's service, a stand-in of which answers here: what is sent, what is shown, what is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from position_server.errors import AgentFailed
from tests.fakes import VirtualClock
from tests.simulation.agents.stand_in import answering, calls, decided, finish, log_lines, toolbox

KEY = "jina_secret_key_1"
RESULTS = [
    {"title": "Before", "url": "https://a.example/1", "description": "d", "date": "Jun 8, 2025", "content": "page"},
    {"title": "That day", "url": "https://a.example/2", "description": "d", "date": "2025-06-09"},
    {"title": "Undated", "url": "https://a.example/3", "description": "d"},
    {"title": "Later", "url": "https://a.example/4", "description": "d", "date": "3 days ago"},
    {"title": "No time", "url": "https://a.example/5", "description": "d", "date": "recently"},
    {"title": "Changed", "url": "u", "date": "2025-06-01", "publishedTime": "2025-07-01T00:00:00Z"},
    {"title": "Early", "url": "u", "publishedTime": "2025-06-09T13:00:00Z", "description": None},
    "no result",
]


class Service:
    """What the stand-in was asked, and its address."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body
        self.asked: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.url = ""


@contextmanager
def serving(results: Any = RESULTS, status: int = 200, body: bytes | None = None) -> Iterator[Service]:
    service = Service(status, json.dumps({"code": 200, "data": results}).encode() if body is None else body)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.asked.append((sent, {name.lower(): value for name, value in self.headers.items()}))
            self.send_response(service.status)
            self.send_header("Content-Length", str(len(service.body)))
            self.end_headers()
            try:
                self.wfile.write(service.body)
            except ConnectionError:  # it was too much
                pass

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


def searched(folder: Path, service: Service, **params: Any) -> Any:
    """What an agent is told that searches."""
    with answering([calls(("search", {"query": "chips of NVDA"})), finish()]) as endpoint:
        environment = {**endpoint.environment, "JINA_API_BASE": service.url, "JINA_API_KEY": KEY}
        tools = decided(toolbox(folder, environment, clock=VirtualClock()), **params)
    assert KEY not in json.dumps(log_lines(tools))
    return json.loads(endpoint.told()[0])


def test_only_what_is_known_to_have_been_out_is_shown(tmp_path: Path) -> None:
    with serving() as service:
        found = searched(tmp_path, service)
    assert found == {
        "results": [
            {"time": "2025-06-08", "title": "Before", "url": "https://a.example/1", "description": "d"},
            {"time": "2025-06-09 13:00:00+00:00", "title": "Early", "url": "u", "description": ""},
        ]
    }


def test_the_query_and_the_key_are_sent_and_no_pages_are_asked_for(tmp_path: Path) -> None:
    with serving() as service:
        searched(tmp_path, service)
    ((sent, headers),) = service.asked
    assert sent == {"q": "chips of NVDA"}
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["accept"] == "application/json"
    assert headers["x-respond-with"] == "no-content"


def test_results_are_limited(tmp_path: Path) -> None:
    many = [{"title": str(n), "date": "2025-06-01", "description": "x" * 5000} for n in range(50)]
    with serving(many) as service:
        found = searched(tmp_path, service, search_results=3)["results"]
    assert [one["title"] for one in found] == ["0", "1", "2"]
    assert {len(one["description"]) for one in found} == {1000}


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (429, b"", "does not answer now (429)"),
        (500, b"", "does not answer now (500)"),
        (302, b"", "does not answer now (302)"),
        (200, b"<html>", "no list of results"),
        (200, b'{"data": null}', "no list of results"),
        (200, b"[]", "no list of results"),
        (200, b"[" * 3_000_000, "answers too much"),
    ],
)
def test_a_service_that_cannot_answer_now_is_told_and_the_day_goes_on(
    status: int, body: bytes, told: str, tmp_path: Path
) -> None:
    with serving(status=status, body=body) as service:
        assert told in searched(tmp_path, service)["error"]


def test_a_service_that_is_not_there_is_told(tmp_path: Path) -> None:
    with serving() as service:
        pass
    assert "does not answer now (ConnectError)" in searched(tmp_path, service)["error"]


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_key_that_is_refused_ends_the_day(status: int, tmp_path: Path) -> None:
    with serving(status=status) as service, pytest.raises(AgentFailed, match=f"refuses JINA_API_KEY .{status}"):
        searched(tmp_path, service)
