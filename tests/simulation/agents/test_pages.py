"""What docs/simulation.md says of agents: parameters, tools, variables, the example, a line of news."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from position_server.settings import CONFIG_FILE
from position_server.simulation import registry
from position_server.simulation.agents import day
from position_server.simulation.agents.news import Entry
from position_server.simulation.agents.params import AgentParams
from position_server.simulation.agents.service import OFFERS
from position_server.simulation.config import parse_config, read_config
from position_server.simulation.requests import TriggerRequest
from tests.house.pages import page
from tests.simulation.agents.stand_in import answering, calls, finish
from tests.simulation.agents.test_jobs import lead_to, ran, variables
from tests.simulation.clients import WEEK
from tests.simulation.desk import SYMBOLS, Desk

__all__ = ["variables"]
PAGE = page("simulation.md")
EXAMPLE = CONFIG_FILE.parent / "configs" / "agent_example.json"


def json_examples() -> list[str]:
    return [example.text for example in PAGE.examples("json")]


def test_every_parameter_is_documented_with_its_default() -> None:
    rows = PAGE.rows("Agents")
    defaults = AgentParams(model="m").model_dump(mode="json")
    for name, default in defaults.items():
        documented = rows.pop(name)[0].strip("`")
        if name == "model":
            assert documented == "required"
        elif name != "system_prompt":
            assert json.loads(documented) == default, name


def test_every_tool_is_documented() -> None:
    assert PAGE.rows("Tools").keys() - {"tool"} >= {*OFFERS, "finish"}


def test_every_variable_is_documented() -> None:
    read = {"OPENAI_API_BASE", "OPENAI_API_KEY", "JINA_API_BASE", "JINA_API_KEY"}
    assert PAGE.rows("Keys and addresses").keys() == read
    assert all(f'"{name}"' in inspect.getsource(day) for name in read)


def test_the_line_of_news_is_one() -> None:
    (line,) = [text for text in json_examples() if '"title"' in text]
    assert Entry.model_validate_json(line).symbols == ("NVDA",)
    assert "\n" not in line.strip()


def test_the_example_is_the_file_and_is_valid() -> None:
    assert EXAMPLE.read_text() in json_examples()
    config = read_config(CONFIG_FILE.parent, "configs/agent_example.json")
    assert registry.problems_of([(one.name, one.kind, one.params) for one in config.models]) == []


def test_the_example_runs(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    config = json.loads(EXAMPLE.read_text())
    assert parse_config(json.dumps(config)).universe
    desk.configure({**config, "universe": list(SYMBOLS)})  # the small market's
    with answering([calls(("buy", {"symbol": "AAA", "amount": 5})), finish()]) as endpoint:
        lead_to(endpoint, variables)
        with desk.service() as service:
            status, _ = ran(service, TriggerRequest(start_date=WEEK[0], end_date=WEEK[1]))
    assert status == "completed"
    assert {row[0] for row in desk.rows("sim_positions")} == {"careful", "buy_and_hold"}
    assert Path(desk.folder / "simulation" / "careful").is_dir()
