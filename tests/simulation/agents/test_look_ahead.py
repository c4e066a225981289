"""No look-ahead for agents: poison what cannot be known at the opening, and no tool says anything else than before.

Every tool that an agent is offered is asked, through the protocol, as an endpoint would have it asked.
"""

from __future__ import annotations

import asyncio
import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from position_server.simulation.agents.day import Keys, opening, search_of
from position_server.simulation.agents.journal import Journal, Secrets
from position_server.simulation.agents.params import AgentParams
from position_server.simulation.agents.service import OFFERS, Service
from position_server.simulation.agents.toolset import connected
from position_server.simulation.holdings import Account, Holding
from position_server.simulation.prices import PriceHistory
from position_server.simulation.tools import Toolbox
from position_server.store import tables
from tests.simulation.agents.stand_in import answering, calls, finish, in_order
from tests.simulation.agents.stand_in import toolbox as empty_toolbox
from tests.simulation.agents.test_jobs import AGENT, lead_to, variables
from tests.simulation.agents.test_news import written
from tests.simulation.desk import CALENDAR, DAYS, Desk, bars, config
from tests.simulation.test_look_ahead import LATER, Row, history, poisoned, questions

__all__ = ["variables"]
NEWS = "configs/news.jsonl"


def asked(day: date) -> list[tuple[str, dict[str, Any]]]:
    """Everything that can be asked: of the Toolbox, of `search`, and of `math`."""
    prices = [(name, arguments) for name, several in questions(day).items() for arguments in several]
    return [
        *prices,
        ("search", {"query": "chips rise"}),
        ("search", {"query": "fall"}),
        ("math", {"expression": "1+1"}),
    ]


def answers(folder: Path, rows: list[Row], day: date, *, later: bool) -> list[str]:
    """What the tools of `day` say to all of it. `later`: the worker has seen later days before."""
    prices: PriceHistory = history(rows)
    if later:
        prices.market(LATER, None)
    account = Account(50_000_000, {"AAA": Holding(100, 1), "ORLY": Holding(30, 1)})
    tools = Toolbox(prices.market(day, None), account, empty_toolbox(folder, {}, day=day).occasion)
    return asyncio.run(_said(tools, AgentParams(model="m", news_file=NEWS, search_results=20), asked(day)))


async def _said(tools: Toolbox, params: AgentParams, questions: list[tuple[str, dict[str, Any]]]) -> list[str]:
    occasion = tools.occasion
    assert occasion is not None
    keys = Keys.of({"OPENAI_API_KEY": "none"})
    service = Service(tools, search_of(params, occasion, keys, opening(params, tools)))
    async with connected(tools, service, {}, Journal(tools, occasion, Secrets(())), call_seconds=30.0) as toolset:
        return [(await toolset.call(name, arguments)).text for name, arguments in questions]


def news(day: date) -> list[dict[str, Any]]:
    return [{"time": (day - timedelta(days=n)).isoformat(), "title": f"chips fall {n}"} for n in range(1, 4)]


@st.composite
def later_news(draw: st.DrawFn, day: date) -> list[dict[str, Any]]:
    """News of after the opening, in New York: of that day, of later days, of a moment after."""
    opens = datetime.fromisoformat(f"{day}T09:30:00-04:00")
    days = st.integers(0, 400).map(lambda n: (day + timedelta(days=n)).isoformat())
    moments = st.integers(1, 10**8).map(lambda n: (opens + timedelta(seconds=n)).isoformat())
    times = draw(st.lists(st.one_of(days, moments), min_size=1, max_size=10))
    return [{"time": time, "title": f"chips rise {n}", "text": "fall"} for n, time in enumerate(times)]


def test_every_tool_is_asked() -> None:
    assert {name for name, _ in asked(DAYS[5])} == OFFERS.keys()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_no_tool_of_an_agent_says_what_was_not_known_at_the_opening(tmp_path: Path, data: st.DataObject) -> None:
    rows, day = bars(), data.draw(st.sampled_from(DAYS[1:]))
    written(tmp_path, *news(day))
    clean = answers(tmp_path, rows, day, later=False)
    assert '"chips fall 1"' in clean[-3], "there is news to be found"
    mixed = data.draw(st.permutations([*news(day), *data.draw(later_news(day))]))
    in_time = [one for one in mixed if one["title"].startswith("chips fall")]
    written(tmp_path, *in_time, *[one for one in mixed if one not in in_time])
    poison = data.draw(poisoned(rows, day))
    found = answers(tmp_path, poison, day, later=data.draw(st.booleans()))
    for question, before, after in zip(asked(day), clean, found, strict=True):
        if question[0] == "search":  # the file's order decides between entries of the same time
            assert sorted(map(str, json.loads(after)["results"])) == sorted(map(str, json.loads(before)["results"]))
        else:
            assert after == before, question


def test_an_agent_is_told_the_same_whatever_the_future_is(desk: Desk, variables: pytest.MonkeyPatch) -> None:
    """A whole model-day in the store, twice, with another close of its day and another future."""
    desk.configure(config({**AGENT, "news_file": NEWS}))
    day = DAYS[10]
    script = in_order(
        calls(("get_price_history", {"symbol": "AAA", "days": 250}), ("get_portfolio", {}), ("get_symbols", {})),
        calls(
            *[("get_price", {"symbol": "AAA", "on": on.isoformat()}) for on in DAYS[8:13]], ("search", {"query": "x"})
        ),
        calls(("buy", {"symbol": "AAA", "amount": 3})),
        finish(),
    )
    closes = tables.closes
    told = []
    with answering(script) as endpoint:
        lead_to(endpoint, variables)
        written(desk.folder, {"time": "2025-06-01", "title": "x"})
        desk.simulate(DAYS[0], CALENDAR.previous(day))
        for _ in range(2):
            before = len(endpoint.requests)
            desk.simulate(day, day, replace_existing=True)
            told.append([request.body["messages"] for request in endpoint.requests[before:]])
            with desk.store.write() as connection:
                connection.execute(closes.update().where(closes.c.close_date > day).values(open=1e9, close=1e-6))
                connection.execute(closes.update().where(closes.c.close_date == day).values(close=1e9, high=1e9))
            written(desk.folder, {"time": "2025-06-01", "title": "x"}, {"time": day.isoformat(), "title": "x later"})
    assert len(told[0]) == 4
    assert told[0] == told[1]
