"""An entry of an agent in the configuration: what is refused, by name; and what is said without the extra."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from position_server.simulation import registry
from position_server.simulation.agents import AgentParams
from tests.house.sources import REPOSITORY

WITHOUT_THE_EXTRA = """
import sys
sys.modules["openai"] = sys.modules["mcp"] = None  # as if they were not there: importing them fails
from position_server.simulation import registry
print([(p.field, p.message) for p in registry.problems_of([("models.gpt", "agent", {"model": "m"})])])
print(registry.problems_of([("models.calm", "min_variance", {}), ("models.m", "momentum", {})]))
"""


def problems(**params: Any) -> list[tuple[str, str]]:
    found = registry.problems_of([("models.gpt", "agent", {"model": "m", **params})])
    return [(one.field, one.message) for one in found]


def test_a_model_is_enough() -> None:
    assert problems() == []
    assert registry.load("agent").params is AgentParams


def test_a_model_is_needed() -> None:
    (problem,) = registry.problems_of([("models.gpt", "agent", {})])
    assert (problem.field, problem.message) == ("models.gpt.model", "Field required (is {})")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_steps", 0, "greater than or equal to 1"),
        ("temperature", 3, "less than or equal to 2"),
        ("max_tokens", "many", "valid integer"),
        ("token_limit", "tokens", "'max_tokens' or 'max_completion_tokens'"),
        ("request_timeout_seconds", 0, "greater than 0"),
        ("max_tool_calls", 1000, "less than or equal to 128"),
        ("timezone", "Mars/Olympus", "no time zone is known by the name 'Mars/Olympus'"),
        ("timezone", "../etc", "no time zone is known"),
        ("opens_at", "half past", "valid time"),
        ("system_prompt", "", "at least 1 character"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(key: str, value: Any, message: str) -> None:
    ((field, said),) = problems(**{key: value})
    assert field == f"models.gpt.{key}"
    assert message in said


def test_a_key_in_the_configuration_is_refused_without_showing_it() -> None:
    assert problems(api_key="sk-secret") == [("models.gpt.api_key", "Extra inputs are not permitted")]


def test_every_parameter_says_what_it_is() -> None:
    assert [name for name, field in AgentParams.model_fields.items() if not field.description] == []


def test_without_the_extra_the_configuration_is_refused_with_the_cure() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with_agent, without = done.stdout.splitlines()
    cure = "the kind 'agent' needs openai and mcp: install position-server[agents]"
    assert with_agent == repr([("models.gpt.kind", cure)])
    assert without == "[]"
