"""Tools that run elsewhere: an MCP server over HTTP in a process of its own, beside those of this process."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from position_server.errors import AgentFailed
from position_server.health import checks
from position_server.simulation.agents.journal import Journal, Secrets
from position_server.simulation.agents.service import Service
from position_server.simulation.agents.toolset import connected
from position_server.simulation.calls import TransientFailure
from position_server.simulation.tools import Toolbox
from tests.simulation.agents.stand_in import (
    DAY,
    StandIn,
    answering,
    calls,
    decided,
    finish,
    log_lines,
    says,
    steps,
    toolbox,
)
from tests.simulation.agents.tool_server import ToolServer, tool_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolServer]:
    with tool_server(tmp_path_factory.mktemp("tools") / "server.log") as running:
        yield running


def using(folder: Path, server: str, *made: tuple[str, Any], **params: Any) -> tuple[Toolbox, StandIn]:
    with answering([calls(*made), finish()]) as endpoint:
        tools = toolbox(folder, endpoint.environment, tool_servers={"archive": server})
        decided(tools, **params)
    return tools, endpoint


def offered(endpoint: StandIn) -> dict[str, dict[str, Any]]:
    return {one["function"]["name"]: one["function"] for one in endpoint.requests[0].body["tools"]}


def test_tools_of_a_server_are_called_there(server: ToolServer, tmp_path: Path) -> None:
    made = [("math", {"expression": "1+1"}), ("weather", {"city": "Oslo"}), ("get_symbols", {})]
    tools, endpoint = using(tmp_path, server.url, *made)
    elsewhere, weather, here = endpoint.told()
    assert elsewhere == "elsewhere: 1+1"
    assert json.loads(weather) == {"city": "Oslo", "weather": "fine"}
    assert "AAA" in json.loads(here)
    assert dict(tools.calls) == {"math": 1, "weather": 1, "get_symbols": 1}
    assert sum(tools.errors.values()) == 0
    assert offered(endpoint)["math"]["description"] == "Calculates elsewhere."


def test_the_accounts_stay_here(server: ToolServer, tmp_path: Path) -> None:
    tools, endpoint = using(tmp_path, server.url, ("buy", {"symbol": "BBB", "amount": 1}))
    assert json.loads(endpoint.told()[0])["action"] == "buy"
    assert len(tools.account.trades) == 1
    left_out = [line["tool"] for line in log_lines(tools) if line["message"] == "tool left out"]
    assert left_out == ["buy", "a name with spaces"]


def test_the_date_of_a_tool_is_ours_and_not_the_models(server: ToolServer, tmp_path: Path) -> None:
    made = [("search", {"query": "chips"}), ("search", {"query": "chips", "date": "2030-01-01"})]
    _, endpoint = using(tmp_path, server.url, *made)
    assert endpoint.told() == [f"archive of {DAY}: chips"] * 2
    schema = offered(endpoint)["search"]["parameters"]
    assert set(schema["properties"]) == {"query"}
    assert schema["required"] == ["query"]


def test_what_a_server_refuses_is_told_and_counted(server: ToolServer, tmp_path: Path) -> None:
    tools, endpoint = using(tmp_path, server.url, ("fail", {}), ("weather", {"town": "Oslo"}), ("weather", {}))
    assert "no idea" in endpoint.told()[0] or "fail" in endpoint.told()[0]
    assert dict(tools.errors) == {"fail": 1, "weather": 2}
    assert tools.stop_signal_received


def test_a_tool_that_does_not_answer_in_time_is_told(server: ToolServer, tmp_path: Path) -> None:
    tools, endpoint = using(tmp_path, server.url, ("sleep", {}), tool_timeout_seconds=0.3)
    assert "archive" in endpoint.told()[0]
    assert tools.errors["sleep"] == 1
    assert steps(tools)[-1][0] == "tool"


def test_a_server_that_dies_in_a_call_is_worth_another_try(tmp_path: Path) -> None:
    with (
        tool_server(tmp_path / "server.log") as server,
        answering([calls(("die", {})), says("still there?"), finish()]) as endpoint,
    ):
        tools = toolbox(tmp_path, endpoint.environment, tool_servers={"archive": server.url})
        with pytest.raises(TransientFailure, match="tool server archive"):
            decided(tools)


def test_a_server_that_is_away_is_worth_another_try(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/mcp"
        with pytest.raises(TransientFailure, match="the tool server archive is away"):
            using(tmp_path, url)


def test_a_server_that_says_nothing_is_worth_another_try(tmp_path: Path) -> None:
    async def connect(url: str) -> None:
        tools = toolbox(tmp_path, {})
        assert tools.occasion is not None
        journal = Journal(tools, tools.occasion, Secrets(()))
        service = Service(tools, lambda _: asyncio.sleep(0, {}))
        async with connected(tools, service, {"mute": url}, journal, call_seconds=1.0, connect_seconds=0.3):
            raise AssertionError("it said something")

    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/mcp"
        with pytest.raises(TransientFailure, match="the tool server mute is away"):
            asyncio.run(connect(url))


@contextmanager
def speaking(status: int, body: bytes = b"") -> Iterator[str]:
    """An HTTP server that answers every POST like this."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{other.server_port}/mcp"
        finally:
            other.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>hello</html>"), (404, b""), (302, b"")])
def test_a_server_that_speaks_another_language_is_none(status: int, body: bytes, tmp_path: Path) -> None:
    with (
        speaking(status, body) as url,
        pytest.raises(AgentFailed, match="the tool server archive does not answer as one"),
    ):
        using(tmp_path, url)


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_is_worth_another_try(status: int, tmp_path: Path) -> None:
    with speaking(status) as url, pytest.raises(TransientFailure, match="the tool server archive is away"):
        using(tmp_path, url)


def test_a_wrong_path_is_no_tool_server(server: ToolServer, tmp_path: Path) -> None:
    with pytest.raises(AgentFailed, match="the tool server archive does not answer as one"):
        using(tmp_path, server.url.replace("/mcp", "/nothing"))


def test_two_servers_with_the_same_tool_are_refused(server: ToolServer, tmp_path: Path) -> None:
    with tool_server(tmp_path / "more.log", "more") as more, answering([finish()]) as endpoint:
        tools = toolbox(tmp_path, endpoint.environment, tool_servers={"archive": server.url, "more": more.url})
        with pytest.raises(AgentFailed, match="the tool weather is offered by archive and more"):
            decided(tools)


def test_a_server_with_too_many_tools_is_refused(tmp_path: Path) -> None:
    with tool_server(tmp_path / "crowd.log", "crowd") as crowd, pytest.raises(AgentFailed, match="64 are the most"):
        using(tmp_path, crowd.url)


def test_health_sees_the_server(server: ToolServer) -> None:
    assert checks.tool_server(server.url)() is None
