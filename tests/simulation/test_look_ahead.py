"""No look-ahead: poison everything a model cannot know on its day with absurd prices, and nothing that it sees changes.

Poisoned are the high, low and close of the day itself and every price of later days; also days and symbols that
appear only later.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.simulation import registry
from position_server.simulation.holdings import Account, Holding, Refused
from position_server.simulation.prices import Bar, PricedDay, PriceHistory, in_micros
from position_server.simulation.tools import Toolbox
from position_server.store import tables
from tests.simulation.desk import CALENDAR, DAYS, SYMBOLS, Desk, bars, config

ABSURD = st.sampled_from([1e-6, 1e12, 0.01, 123456.789, -5.0, float("inf"), float("nan"), 0.0, None])
LATER = DAYS[-1] + timedelta(days=1)
Row = dict[str, Any]
KINDS = sorted(set(registry.kinds()) - {registry.AGENT})
EAGER: dict[str, dict[str, Any]] = {  # trades every day, with little history
    "buy_and_hold": {},
    "momentum": {"lookback_days": 3, "hold": 2, "rebalance": "daily"},
    "min_variance": {"window_days": 5, "least_days": 3, "rebalance": "daily"},
}


def priced(rows: Sequence[Row]) -> list[PricedDay]:
    names = ("open", "high", "low", "close")
    return [
        (row["close_date"], row["instrument"], Bar(*(in_micros(row[n]) for n in names), row["volume"])) for row in rows
    ]


def history(rows: Sequence[Row]) -> PriceHistory:
    days = priced(sorted(rows, key=lambda row: (row["close_date"], row["instrument"])))
    return PriceHistory(lambda first, last: [one for one in days if first <= one[0] <= last])


@st.composite
def poisoned(draw: st.DrawFn, rows: Sequence[Row], day: date) -> list[Row]:
    """The rows, with what lies in the future of the open of `day` replaced."""
    changed = []
    for row in rows:
        future = ["open", "high", "low", "close", "volume"] if row["close_date"] > day else ["high", "low", "close"]
        if row["close_date"] >= day:
            row = row | {name: draw(ABSURD) for name in future}
            if row["close_date"] == day:
                row["volume"] = draw(ABSURD)
        changed.append(row)
    strangers = draw(st.lists(st.sampled_from(["NEW", "AAA2"]), unique=True))
    return changed + [
        {"instrument": name, "close_date": LATER, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}
        for name in strangers
    ]


def toolbox(rows: Sequence[Row], day: date, *, later: bool) -> Toolbox:
    """The tools of `day`. `later`: the worker that they are of has seen later days before."""
    prices = history(rows)
    if later:
        prices.market(LATER, None)
    return Toolbox(prices.market(day, None), Account(50_000_000, {"AAA": Holding(100, 1), "ORLY": Holding(30, 1)}))


def answer(tools: Toolbox, name: str, arguments: dict[str, Any]) -> str:
    return repr(tools.call(name, arguments))


def questions(day: date) -> dict[str, list[dict[str, Any]]]:
    """For every tool, everything that can be asked of it."""
    around = [(day + timedelta(days=n)).isoformat() for n in range(-9, 10)]
    symbols = (*SYMBOLS, "NEW", "AAA2")
    return {
        "get_price": [{"symbol": s} for s in symbols] + [{"symbol": s, "on": on} for s in symbols for on in around],
        "get_price_history": [{"symbol": s, "days": n} for s in symbols for n in (1, 5, 250)],
        "get_symbols": [{}],
        "get_portfolio": [{}],
        "buy": [{"symbol": s, "amount": n} for s in symbols for n in (1, 100, 100_000)],
        "sell": [{"symbol": s, "amount": n} for s in symbols for n in (1, 20)],
    }


def test_every_tool_is_asked() -> None:
    tools = toolbox(bars(), DAYS[5], later=False)
    assert questions(DAYS[5]).keys() == tools.tools.keys()


@pytest.mark.parametrize("name", sorted(questions(DAYS[0])))
@settings(max_examples=15)
@given(data=st.data())
def test_no_tool_shows_a_price_after_the_open_of_its_day(name: str, data: st.DataObject) -> None:
    rows, day = bars(), data.draw(st.sampled_from(DAYS[1:]))
    clean = toolbox(rows, day, later=False)
    tools = toolbox(data.draw(poisoned(rows, day)), day, later=data.draw(st.booleans()))
    for arguments in questions(day)[name]:
        assert answer(tools, name, arguments) == answer(clean, name, arguments)


@settings(max_examples=30)
@given(data=st.data())
def test_what_models_compute_with_is_the_past(data: st.DataObject) -> None:
    rows, day = bars(), data.draw(st.sampled_from(DAYS[1:]))
    clean = toolbox(rows, day, later=False).market
    market = toolbox(data.draw(poisoned(rows, day)), day, later=data.draw(st.booleans())).market
    assert market == clean
    assert market.closes(SYMBOLS, 250).tobytes() == clean.closes(SYMBOLS, 250).tobytes()
    assert [market.last_price(symbol) for symbol in SYMBOLS] == [clean.last_price(symbol) for symbol in SYMBOLS]


def test_the_high_the_low_and_the_close_of_the_day_are_not_there() -> None:
    tools = toolbox(bars(), DAYS[5], later=True)
    assert tools.get_price("AAA").keys() == {"symbol", "date", "open"}
    assert max(tools.market.past) == DAYS[4]


def test_a_later_day_is_refused_by_name() -> None:
    tools = toolbox(bars(), DAYS[5], later=True)
    with pytest.raises(Refused, match=f"{DAYS[6]} is after the day that is simulated, {DAYS[5]}"):
        tools.get_price("AAA", DAYS[6].isoformat())


@pytest.mark.parametrize("kind", KINDS)
def test_no_model_trades_by_what_it_cannot_know(kind: str, desk: Desk) -> None:
    """Whole model-days in the store: trades of a day are the same whatever its close and its future are."""
    desk.configure(config({"name": "model", "kind": kind, **EAGER.get(kind, {"rebalance": "daily"})}))
    day = DAYS[10]
    desk.simulate(DAYS[0], CALENDAR.previous(day))
    desk.simulate(day, day)
    clean = [row for row in desk.rows("sim_trades") if day in row]
    closes = tables.closes
    with desk.store.write() as connection:
        connection.execute(closes.update().where(closes.c.close_date > day).values(open=1e9, close=1e-6, high=1e9))
        connection.execute(closes.update().where(closes.c.close_date == day).values(close=1e9, high=1e9, low=1e-6))
    desk.simulate(day, day, replace_existing=True)
    assert [row for row in desk.rows("sim_trades") if day in row] == clean
    assert kind == "buy_and_hold" or clean, "the day has trades to compare"
