"""The tools as a model or an agent calls them: answers, refusals, counts. What they may show is in test_look_ahead."""

from __future__ import annotations

from typing import Any

import pytest

from position_server.simulation.holdings import Account, Holding
from position_server.simulation.tools import Toolbox
from tests.simulation.desk import DAYS, bar, bars
from tests.simulation.test_look_ahead import history

SPLIT_DAY = DAYS[6]  # of ORLY


def toolbox(universe: set[str] | None = None, **rows: Any) -> Toolbox:
    days = [bar("ORLY", DAYS[5], 1350.0, 1380.0, 1330.0, 1348.1), bar("ORLY", SPLIT_DAY, 90.0, 92.0, 89.0, 91.7)]
    others = [row for row in bars() if row["instrument"] != "ORLY"]
    market = history([*others, *days]).market(SPLIT_DAY, universe)
    return Toolbox(market, Account(1_000_000, {"ORLY": Holding(30, 270_000)}))


def test_prices_are_as_traded_and_say_what_a_share_has_become() -> None:
    assert toolbox().get_price("ORLY", DAYS[5].isoformat()) == {
        "symbol": "ORLY", "date": "2025-06-09", "open": 1350.0, "high": 1380.0, "low": 1330.0, "close": 1348.1,
        "volume": 1000.0, "split_ratio": 15,
    }  # fmt: skip
    assert toolbox().get_price("ORLY") == {"symbol": "ORLY", "date": "2025-06-10", "open": 90.0}


def test_a_history_ends_on_the_day_before() -> None:
    found = toolbox().get_price_history("AAA", 3)
    assert [one["date"] for one in found] == [day.isoformat() for day in DAYS[3:6]]


def test_the_portfolio_is_worth_what_it_is_at_the_open() -> None:
    assert toolbox().get_portfolio() == {
        "date": "2025-06-10",
        "cash": 10_000.0,
        "positions": {"ORLY": 30},
        "value": 10_000.0 + 30 * 90,
    }


def test_a_trade_is_at_the_open() -> None:
    tools = toolbox()
    sold = tools.call("sell", {"symbol": "ORLY", "amount": 10})
    assert sold == {"action": "sell", "symbol": "ORLY", "amount": 10, "price": 90.0, "costs": 0.0, "total": 900.0}
    assert tools.account.cash_cents == 1_090_000


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("get_price", {"symbol": "ZZZ"}, "there are no prices of ZZZ on 2025-06-10"),
        ("get_price", {"symbol": "AAA", "on": "2025-06-11"}, "2025-06-11 is after the day that is simulated"),
        ("get_price", {"symbol": "AAA", "on": "soon"}, "not a date"),
        ("get_price", {"symbol": ["AAA"]}, "a symbol is a text"),
        ("get_price", {"ticker": "AAA"}, "symbol"),
        ("get_price_history", {"symbol": "AAA", "days": 0}, "from 1 to 250"),
        ("buy", {"symbol": "ZZZ", "amount": 1}, "ZZZ has no opening price"),
        ("buy", {"symbol": "AAA", "amount": 10_000}, "cost"),
        ("buy", {"symbol": "AAA", "amount": "1"}, "whole number"),
        ("sell", {"symbol": "AAA", "amount": 1}, "0 AAA are held"),
        ("fly", {}, "there is no tool 'fly'"),
    ],
)
def test_a_refusal_is_an_answer_that_says_why(name: str, arguments: dict[str, Any], error: str) -> None:
    tools = toolbox()
    assert error in tools.call(name, arguments)["error"]
    assert tools.account.trades == []


def test_what_is_outside_the_universe_cannot_be_bought_but_sold() -> None:
    tools = toolbox({"AAA"})
    assert tools.get_symbols() == ["AAA"]
    assert "not in the universe" in tools.call("buy", {"symbol": "BBB", "amount": 1})["error"]
    assert tools.call("sell", {"symbol": "ORLY", "amount": 1})["total"] == 90.0


def test_calls_and_refusals_are_counted() -> None:
    tools = toolbox()
    tools.call("get_price", {"symbol": "AAA"})
    tools.call("get_price", {"symbol": "ZZZ"})
    tools.call("buy", {"symbol": "AAA", "amount": 1})
    assert tools.calls == {"get_price": 2, "buy": 1}
    assert tools.errors == {"get_price": 1}


def test_notes_are_numbered_steps() -> None:
    tools = toolbox()
    tools.note("looked around")
    tools.note("bought", role="assistant")
    assert [(one.step, one.role, one.content) for one in tools.steps] == [
        (1, "model", "looked around"),
        (2, "assistant", "bought"),
    ]
