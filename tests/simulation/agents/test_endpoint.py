"""What fails for the moment and what fails for good, by what the endpoint does; and that no key is in a message."""

from __future__ import annotations

import json
import pickle
import socket
import threading
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from position_server.errors import AgentFailed
from position_server.simulation.calls import TransientFailure
from tests.fakes import NOON, VirtualClock
from tests.simulation.agents.stand_in import (
    KEY,
    Reply,
    answering,
    calls,
    decided,
    failure,
    finish,
    log_lines,
    toolbox,
)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 529])
def test_what_passes_is_worth_another_try(status: int, tmp_path: Path) -> None:
    with answering([failure(status, "later")]) as endpoint, pytest.raises(TransientFailure) as failed:
        decided(toolbox(tmp_path, endpoint.environment))
    assert str(failed.value).startswith(f"the endpoint answered {status}: ")
    assert "later" in str(failed.value)
    assert len(endpoint.requests) == 1, "the runner repeats, and nobody else"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_does_not_pass_is_final(status: int, tmp_path: Path) -> None:
    with answering([failure(status, "wrong")]) as endpoint, pytest.raises(AgentFailed) as failed:
        decided(toolbox(tmp_path, endpoint.environment))
    assert failed.value.message.startswith(f"the endpoint answered {status}: ")
    assert "wrong" in failed.value.message


def test_a_quota_that_is_used_up_does_not_pass(tmp_path: Path) -> None:
    used_up = failure(429, "You exceeded your current quota.", "insufficient_quota")
    with answering([used_up]) as endpoint, pytest.raises(AgentFailed, match="exceeded your current quota"):
        decided(toolbox(tmp_path, endpoint.environment))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("soon", 0.0),
        (format_datetime(NOON + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOON - timedelta(seconds=90), usegmt=True), 0.0),
    ],
)
def test_how_long_to_wait_is_handed_on(header: str, seconds: float, tmp_path: Path) -> None:
    reply = failure(429, "slow down", retry_after=header)
    with answering([reply]) as endpoint, pytest.raises(TransientFailure) as failed:
        decided(toolbox(tmp_path, endpoint.environment, clock=VirtualClock()))
    assert failed.value.retry_after_seconds == seconds
    arrived = pickle.loads(pickle.dumps(failed.value))  # on its way from a worker
    assert (str(arrived), arrived.retry_after_seconds) == (str(failed.value), seconds)


def test_an_answer_that_does_not_come_is_worth_another_try(tmp_path: Path) -> None:
    silent = Reply(b"{}", holds=True)
    with answering([silent]) as endpoint, pytest.raises(TransientFailure, match=r"did not answer within 0\.2 s"):
        decided(toolbox(tmp_path, endpoint.environment), request_timeout_seconds=0.2)


def test_an_answer_that_drips_is_bounded_as_a_whole(tmp_path: Path) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100_000)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
                )
                while not over.wait(0.05):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        environment = {"OPENAI_API_BASE": f"http://127.0.0.1:{server.getsockname()[1]}/v1"}
        with pytest.raises(TransientFailure, match="did not answer"):
            decided(toolbox(tmp_path, environment), request_timeout_seconds=0.5)
        over.set()
        thread.join()


def test_an_endpoint_that_is_not_there_is_worth_another_try(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environment = {"OPENAI_API_BASE": f"http://127.0.0.1:{probe.getsockname()[1]}/v1", "OPENAI_API_KEY": KEY}
        with pytest.raises(TransientFailure, match="cannot be reached"):
            decided(toolbox(tmp_path, environment))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>It works!</html>", content_type="text/html"),
        Reply(b"<html>It works!</html>"),
        Reply(b'{"choices": [{"message": {"content": '),
        Reply(b'{"choices": "none"}'),
        Reply(b'{"choices": [5]}'),
        Reply(b'{"choices": [{"message": {"content": {"a": 1}}}]}'),
        Reply(b'{"choices": [{"message": {"tool_calls": [{"function": {"arguments": {"a": 1}}}]}}]}'),
        Reply(b"[]"),
        Reply(b"null"),
        Reply(b""),
        Reply(b"\xff\xfe\x00"),
        Reply(b"[" * 100_000),
    ],
)
def test_a_body_that_is_no_completion_is_final(reply: Reply, tmp_path: Path) -> None:
    with answering([reply]) as endpoint, pytest.raises(AgentFailed, match="is no chat completion"):
        decided(toolbox(tmp_path, endpoint.environment))


def test_a_body_that_is_cut_short_is_worth_another_try(tmp_path: Path) -> None:
    short = Reply(b'{"choices": [', headers={"Content-Length": "1000"})
    with answering([short]) as endpoint, pytest.raises(TransientFailure, match="cannot be reached"):
        decided(toolbox(tmp_path, endpoint.environment))


def test_what_a_day_did_before_it_failed_is_in_its_log(tmp_path: Path) -> None:
    buy = ("buy", {"symbol": "BBB", "amount": 1})
    with answering([calls(buy), failure(500, "oh")]) as endpoint:
        tools = toolbox(tmp_path, endpoint.environment)
        with pytest.raises(TransientFailure):
            decided(tools)
    lines = log_lines(tools)
    assert [line["level"] for line in lines] == ["info", "info", "info", "error"]
    assert "oh" in lines[-1]["message"]


@pytest.mark.parametrize("status", [401, 500])
def test_a_key_that_the_endpoint_repeats_is_cut_out(status: int, tmp_path: Path) -> None:
    reply = failure(status, f"Incorrect API key provided: {KEY}")
    with answering([reply]) as endpoint:
        tools = toolbox(tmp_path, endpoint.environment)
        with pytest.raises((AgentFailed, TransientFailure)) as failed:
            decided(tools)
    assert tools.occasion is not None
    assert KEY not in str(failed.value)
    assert "***" in str(failed.value)
    assert KEY not in tools.occasion.log_file.read_text()


def test_a_password_in_the_address_is_shown_to_nobody(tmp_path: Path) -> None:
    environment = {"OPENAI_API_BASE": "http://desk:hush-hush@127.0.0.1:99999/v1"}
    tools = toolbox(tmp_path, environment)
    with pytest.raises((AgentFailed, TransientFailure)) as failed:
        decided(tools)
    assert tools.occasion is not None
    assert "hush-hush" not in str(failed.value) + tools.occasion.log_file.read_text()


def test_an_endpoint_of_ones_own_needs_no_key(tmp_path: Path) -> None:
    with answering([finish()]) as endpoint:
        decided(toolbox(tmp_path, {"OPENAI_API_BASE": endpoint.url}))
    assert endpoint.requests[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "OPENAI_API_KEY is not set"),
        ({"OPENAI_API_KEY": "  "}, "OPENAI_API_KEY is not set"),
        ({"OPENAI_API_KEY": "sk-1\nsk-2"}, "OPENAI_API_KEY has characters that no key has"),
        ({"OPENAI_API_KEY": "sk", "JINA_API_KEY": "ключ"}, "JINA_API_KEY has characters that no key has"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused(environment: dict[str, str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(AgentFailed) as failed:
        decided(toolbox(tmp_path, environment))
    assert failed.value.message.startswith(problem)
    assert "sk-" not in failed.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def like_completions(draw: st.DrawFn) -> Any:
    """A completion with some of its parts replaced by anything."""
    function = {"name": draw(st.sampled_from(["get_symbols", "finish", "?"])), "arguments": draw(st.text(max_size=5))}
    call = {"id": "x", "type": "function", "function": function}
    message = {"role": "assistant", "content": "y", "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body: dict[str, Any] = {"id": "x", "choices": [choice]}
    for part in draw(st.lists(st.sampled_from([function, call, message, choice, body]), max_size=2)):
        part[draw(st.sampled_from(sorted(part)))] = draw(JSON)
    return body


@hypothesis.settings(max_examples=30, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(like_completions())
def test_whatever_an_endpoint_sends_is_an_answer_or_none(tmp_path: Path, body: Any) -> None:
    with answering([Reply(json.dumps(body).encode())]) as endpoint:
        tools = toolbox(tmp_path, endpoint.environment)
        try:
            decided(tools, max_steps=1)
        except AgentFailed as failed:
            assert "is no chat completion" in failed.message  # noqa: PT017 either is right
    assert len(endpoint.requests) == 1
