"""A chat-completions endpoint on a free port whose answers a test writes down, and what else agents' tests share.

A script is asked for the reply to each request; which step of a conversation it is, is in the request's own messages,
so that conversations of several days and workers may go on side by side.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from position_server.clock import Clock, SystemClock
from position_server.simulation import agents
from position_server.simulation.holdings import Account, Holding
from position_server.simulation.tools import Occasion, Toolbox
from tests.simulation.desk import DAYS, bars
from tests.simulation.test_look_ahead import history

KEY = "sk-very-secret-4711"
DAY = DAYS[5]  # 2025-06-09


@dataclass(frozen=True)
class Reply:
    """What is sent back; `holds` keeps it until the stand-in ends."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    holds: bool = False
    content_type: str = "application/json"


@dataclass(frozen=True)
class Request:
    """What was asked: the parsed body, the headers, and how many requests came before."""

    path: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    number: int

    @property
    def step(self) -> int:
        """Which answer of its conversation is wanted, from 0."""
        return sum(1 for one in self.body["messages"] if one["role"] == "assistant")

    @property
    def told(self) -> list[dict[str, Any]]:
        """What came after the last answer."""
        messages = self.body["messages"]
        last = max((n for n, one in enumerate(messages) if one["role"] == "assistant"), default=-1)
        return messages[last + 1 :]


Script = Callable[[Request], Reply]


def completion(message: Mapping[str, Any], finish_reason: str = "stop") -> Reply:
    """An answer in the format of chat completions."""
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return Reply(json.dumps(body).encode())


def says(text: str | None) -> Reply:
    """A text, without tool calls."""
    return completion({"content": text})


def calls(*made: tuple[str, Any], content: str | None = None) -> Reply:
    """Tool calls; arguments that are a text are sent as they are."""
    listed = [
        {
            "id": f"c{number}",
            "type": "function",
            "function": {"name": name, "arguments": sent if isinstance(sent, str) else json.dumps(sent)},
        }
        for number, (name, sent) in enumerate(made)
    ]
    return completion({"content": content, "tool_calls": listed}, "tool_calls")


def finish(summary: str = "done") -> Reply:
    """The stop signal."""
    return calls(("finish", {"summary": summary}))


def failure(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    """An error as OpenAI words it."""
    error = {"message": message, "type": "error", "code": code}
    return Reply(json.dumps({"error": error}).encode(), status, {k.replace("_", "-"): v for k, v in headers.items()})


def in_order(*replies: Reply) -> Script:
    """In each conversation one after the other, the last one again and again."""
    return lambda request: replies[min(request.step, len(replies) - 1)]


class StandIn:
    """The endpoint: its address, and what it was asked."""

    def __init__(self, script: Script) -> None:
        self.requests: list[Request] = []
        self._script = script
        self._over = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead an agent here."""
        return {"OPENAI_API_BASE": self.url, "OPENAI_API_KEY": KEY}

    def told(self) -> list[str]:
        """What tools and we said, over all requests, in order."""
        return [str(one["content"]) for request in self.requests[1:] for one in request.told]

    @contextmanager
    def running(self) -> Iterator[StandIn]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    request = Request(
                        self.path, body, {k.lower(): v for k, v in self.headers.items()}, len(outer.requests)
                    )
                    outer.requests.append(request)
                reply = outer._script(request)
                if reply.holds:
                    outer._over.wait(120)
                self.send_response(reply.status)
                headers = {
                    "Content-Type": reply.content_type,
                    "Content-Length": str(len(reply.body)),
                    "Connection": "close",
                    **reply.headers,
                }
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Says nothing."""

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, ValueError):  # who asked has gone
                    self.close_connection = True

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as self._server:
            thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield self
            finally:
                self._over.set()
                self._server.shutdown()
                thread.join()


@contextmanager
def answering(script: Script | Sequence[Reply]) -> Iterator[StandIn]:
    """A stand-in that runs; a list of replies is given in order in each conversation."""
    found = script if callable(script) else in_order(*script)
    with StandIn(found).running() as running:
        yield running


def toolbox(
    folder: Path,
    environment: Mapping[str, str],
    *,
    day: date = DAY,
    tool_servers: Mapping[str, str] | None = None,
    clock: Clock | None = None,
) -> Toolbox:
    """The tools of a day on the small market, with some shares and cash."""
    occasion = Occasion(
        job_id="job-1",
        model="gpt",
        attempt=1,
        clock=clock or SystemClock(),
        root=folder,
        log_file=folder / "log" / f"{day}.jsonl",
        tool_servers=tool_servers or {},
        environment=environment,
    )
    account = Account(1_000_000, {"AAA": Holding(100, 1), "ORLY": Holding(3, 1)})
    return Toolbox(history(bars()).market(day, None), account, occasion)


def decided(tools: Toolbox, **params: Any) -> Toolbox:
    """The tools after the agent has decided."""
    agents.MODEL.decide(tools, agents.AgentParams.model_validate({"model": "m", **params}))
    return tools


def log_lines(tools: Toolbox) -> list[dict[str, Any]]:
    """What the agent logged."""
    assert tools.occasion is not None
    return [json.loads(line) for line in tools.occasion.log_file.read_text().splitlines()]


def steps(tools: Toolbox) -> list[tuple[str, str]]:
    """Role and content of each step."""
    return [(one.role, one.content) for one in tools.steps]
