"""An agent's day in front of a scripted endpoint: what it is told, what it does, and when it ends."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.agents.stand_in import (
    DAY,
    KEY,
    Reply,
    answering,
    calls,
    completion,
    decided,
    finish,
    log_lines,
    says,
    steps,
    toolbox,
)

BUY = ("buy", {"symbol": "BBB", "amount": 2})


def test_an_agent_looks_trades_and_ends_its_day(tmp_path: Path) -> None:
    script = [
        calls(("get_portfolio", {}), content="I look at what there is."),
        calls(("get_price", {"symbol": "BBB"}), BUY),
        finish("Bought two of BBB."),
    ]
    with answering(script) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment))
    assert [(t.action, t.symbol, t.amount) for t in tools.account.trades] == [("buy", "BBB", 2)]
    assert tools.stop_signal_received
    assert tools.summary == "Bought two of BBB."
    assert dict(tools.calls) == {"get_portfolio": 1, "get_price": 1, "buy": 1}
    assert [role for role, _ in steps(tools)] == ["assistant", "tool", "tool", "tool", "tool"]
    portfolio, price, bought = map(json.loads, endpoint.told())
    assert portfolio["date"] == DAY.isoformat()
    assert price.keys() == {"symbol", "date", "open"}
    assert bought["action"] == "buy"
    assert len(endpoint.requests) == 3


def test_the_endpoint_is_asked_as_it_is_configured(tmp_path: Path) -> None:
    with answering([finish()]) as endpoint:
        given = {
            "model": "gpt-x",
            "temperature": 0.5,
            "max_tokens": 77,
            "instructions": "Be brave.",
            "system_prompt": "S",
        }
        decided(toolbox(tmp_path, endpoint.environment), **given)
        decided(toolbox(tmp_path, endpoint.environment), token_limit="max_completion_tokens")
    first, second = endpoint.requests
    assert first.path == "/v1/chat/completions"
    assert first.headers["authorization"] == f"Bearer {KEY}"
    asked = first.body
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("gpt-x", 0.5, 77)
    system, user = asked["messages"]
    assert system == {"role": "system", "content": "S"}
    assert user == {"role": "user", "content": "Today is Monday, 2025-06-09. The market opens now.\n\nBe brave."}
    names = [one["function"]["name"] for one in asked["tools"]]
    assert names == [
        "get_price", "get_price_history", "get_symbols", "get_portfolio", "buy", "sell", "math", "search", "finish",
    ]  # fmt: skip
    assert second.body["max_completion_tokens"] == 2000
    assert not {"temperature", "max_tokens"} & second.body.keys()


def test_no_tool_that_acts_takes_a_date(tmp_path: Path) -> None:
    with answering([finish()]) as endpoint:
        decided(toolbox(tmp_path, endpoint.environment))
    schemas = {one["function"]["name"]: one["function"]["parameters"] for one in endpoint.requests[0].body["tools"]}
    assert {name for name, schema in schemas.items() if "on" in schema["properties"]} == {"get_price"}
    assert not any("date" in schema["properties"] for schema in schemas.values())
    assert all(schema["additionalProperties"] is False for schema in schemas.values())


@pytest.mark.parametrize(
    ("call", "told", "counted"),
    [
        (("buy", '{"symbol": "BBB", '), "the arguments are no JSON object", "buy"),
        (("buy", "[1]"), "the arguments are no JSON object", "buy"),
        (("buy", '{"symbol": "BBB", "amount": "many"}'), "amount: Input should be a valid integer", "buy"),
        (("buy", {"symbol": "BBB", "amount": 1, "date": "2025-06-02"}), "date: Extra inputs", "buy"),
        (("buy", {"symbol": "BBB", "amount": 0}), "amount: Input should be greater than", "buy"),
        (("buy", {"symbol": "BBB", "amount": 10**9}), "there are 10000.00", "buy"),
        (("sell", {"symbol": "NOPE", "amount": 1}), "NOPE has no opening price", "sell"),
        (("get_price", {"symbol": "AAA", "on": "2025-06-10"}), "2025-06-10 is after the day", "get_price"),
        (("math", {"expression": "__import__('os')"}), "there is no such function", "math"),
        (("math", {"expression": "1/0"}), "division by zero", "math"),
        (("rm_rf", {}), "there is no tool 'rm_rf'", "unknown"),
        (("unknown", {}), "there is no tool 'unknown'", "unknown"),
        (("finish", "{"), "the arguments are no JSON object", "finish"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_and_counted_and_the_day_goes_on(
    call: tuple[str, Any], told: str, counted: str, tmp_path: Path
) -> None:
    with answering([calls(call), calls(BUY), finish()]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment))
    assert told in json.loads(endpoint.told()[0])["error"]
    assert tools.errors[counted] == 1
    assert tools.calls[counted] == 1 + (counted == "buy")
    assert len(tools.account.trades) == 1
    assert tools.stop_signal_received


@pytest.mark.parametrize(
    ("call", "echoed"),
    [
        (("buy", "{oops"), {"name": "buy", "arguments": "{}"}),
        (("buy", "null"), {"name": "buy", "arguments": "{}"}),
        (("rm -rf", {}), {"name": "unknown", "arguments": "{}"}),
        (("", {"a": 1}), {"name": "unknown", "arguments": '{"a": 1}'}),
        (("x" * 65, {}), {"name": "unknown", "arguments": "{}"}),
    ],
)
def test_what_endpoints_refuse_is_not_sent_back(call: tuple[str, Any], echoed: dict[str, str], tmp_path: Path) -> None:
    with answering([calls(call), finish()]) as endpoint:
        decided(toolbox(tmp_path, endpoint.environment))
    sent = endpoint.requests[1].body["messages"][2]["tool_calls"]
    assert [one["function"] for one in sent] == [echoed]


@pytest.mark.parametrize(
    ("reply", "noted", "told"),
    [
        (completion({"refusal": "I cannot trade."}), "refusal: I cannot trade.", "You refused."),
        (completion({}, "content_filter"), "refusal: (filtered by the endpoint)", "You refused."),
        (says(None), "an empty answer", "There was nothing in your answer."),
        (says("  \n"), "an empty answer", "There was nothing in your answer."),
        (completion({"content": "I th"}, "length"), "the answer was cut off", "Be shorter."),
        (Reply(b'{"choices": []}'), "an empty answer", "There was nothing"),
        (Reply(b"{}"), "an empty answer", "There was nothing"),
        (Reply(b'{"choices": [{"index": 0}]}'), "an empty answer", "There was nothing"),
    ],
)
def test_an_answer_with_nothing_in_it_is_told_and_noted_and_the_day_goes_on(
    reply: Reply, noted: str, told: str, tmp_path: Path
) -> None:
    with answering([reply, calls(BUY), finish()]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment))
    assert ("error", noted) in steps(tools)
    assert told in endpoint.told()[0]
    roles = [one["role"] for one in endpoint.requests[1].body["messages"]]
    assert roles == ["system", "user", "assistant", "user"], "endpoints want them in turns"
    assert len(tools.account.trades) == 1


def test_an_answer_without_calls_is_asked_to_go_on(tmp_path: Path) -> None:
    with answering([says("Let me think."), finish()]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment))
    assert endpoint.told() == ["Go on with your tools, or call finish if you are done for today."]
    assert steps(tools)[0] == ("assistant", "Let me think.")


def test_an_endless_loop_ends_at_the_last_step_without_the_stop_signal(tmp_path: Path) -> None:
    with answering([calls(("get_symbols", {}))]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment), max_steps=4)
    assert len(endpoint.requests) == 4
    assert not tools.stop_signal_received
    assert tools.calls["get_symbols"] == 4
    assert steps(tools)[-1] == ("error", "the last of 4 steps, and no finish")


def test_calls_of_one_answer_are_made_in_order_up_to_a_limit(tmp_path: Path) -> None:
    many = [("buy", {"symbol": "BBB", "amount": n}) for n in (1, 2, 3, 4)]
    with answering([calls(*many), finish()]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment), max_tool_calls=2)
    assert [trade.amount for trade in tools.account.trades] == [1, 2]
    assert "Only the first 2 of your tool calls were made." in endpoint.told()
    messages = endpoint.requests[1].body["messages"]
    ids = [one["id"] for one in messages[2]["tool_calls"]]
    assert ids == [one["tool_call_id"] for one in messages if one["role"] == "tool"]
    assert len(set(ids)) == 2


def test_calls_beside_finish_are_made(tmp_path: Path) -> None:
    with answering([calls(("finish", {}), BUY)]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment))
    assert len(tools.account.trades) == 1
    assert tools.summary is None
    assert len(endpoint.requests) == 1


def test_what_a_tool_says_is_cut_at_a_limit(tmp_path: Path) -> None:
    with answering([calls(("get_price_history", {"symbol": "AAA", "days": 5})), finish()]) as endpoint:
        decided(toolbox(tmp_path, endpoint.environment), max_tool_chars=200)
    (said,) = endpoint.told()
    assert said.endswith(" characters)")
    assert len(said) < 250


def test_ids_that_are_missing_or_twice_there_do_no_harm(tmp_path: Path) -> None:
    function = {"name": "get_symbols", "arguments": "{}"}
    twice = [{"type": "function", "function": function}, {"id": "", "type": "function", "function": function}]
    with answering([completion({"tool_calls": twice}), finish()]) as endpoint:
        decided(toolbox(tmp_path, endpoint.environment))
    told = [one["tool_call_id"] for one in endpoint.requests[1].told]
    assert len(set(told)) == 2


def test_texts_that_no_database_takes_are_mended(tmp_path: Path) -> None:
    with answering([says("a\0b\ud800c"), calls(("\ud800\0", "{}")), finish("\0\udfff!")]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment))
    assert steps(tools)[0] == ("assistant", "ab?c")
    assert tools.summary == "?!"
    assert log_lines(tools)


def test_every_step_is_a_line_that_says_whose_it_is(tmp_path: Path) -> None:
    with answering([calls(BUY, content="Now."), finish()]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment))
    lines = log_lines(tools)
    assert [line["message"] for line in lines] == ["message", "message", "step", "step", "step", "finished"]
    for line in lines:
        assert {"timestamp", "level", "logger", "message", "job_id", "date", "model", "attempt"} <= line.keys()
        assert (line["job_id"], line["date"], line["model"]) == ("job-1", DAY.isoformat(), "gpt")
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() is not None
    assert lines[3]["tool"] == "buy"
    assert json.loads(lines[3]["arguments"]) == BUY[1]
    assert lines[-1]["trades"] == 1


def test_no_key_is_in_the_log_or_the_steps(tmp_path: Path) -> None:
    """Not even where the endpoint tells it."""
    with answering([says(f"Your key is {KEY}."), calls((KEY, f'{{"{KEY}')), finish(KEY)]) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment))
    assert tools.occasion is not None
    everything = tools.occasion.log_file.read_text() + repr(tools.steps) + repr(tools.summary) + repr(tools.calls)
    assert KEY not in everything
    assert "Your key is ***." in everything
