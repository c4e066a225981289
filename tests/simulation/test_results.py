"""The demo simulated with the shipped configuration: results as they are answered; books that add up to the cent."""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from position_server.errors import NoData
from position_server.sections.base.wrapper import open_workbench
from position_server.simulation.config import read_config
from position_server.simulation.requests import ResultsQuery
from position_server.store import tables
from position_server.store.engine import open_store
from tests.desk import outcome_of
from tests.simulation.conftest import SIMULATED
from tests.simulation.desk import CALENDAR, Desk

MODELS = ["buy_and_hold", "equal_weight", "min_variance", "momentum"]
DAYS = CALENDAR.between(*SIMULATED)
SPLIT_DAY = date(2025, 6, 10)
Row = dict[str, Any]


def answered(desk: Desk, **arguments: str) -> dict[str, Any]:
    with desk.service() as service:
        answer = service.results(ResultsQuery.from_arguments(arguments))
    return orjson.loads(orjson.dumps(answer))


def rows(desk: Desk, name: str) -> list[Row]:
    with desk.store.read() as connection:
        return [dict(row._mapping) for row in connection.execute(tables.METADATA.tables[name].select())]


@dataclass(frozen=True)
class Shipped:
    """The shipped prices as decimals, by symbol and day."""

    opens: dict[tuple[str, date], Decimal]
    closes: dict[tuple[str, date], Decimal]


@pytest.fixture(scope="module")
def shipped(simulated: Desk) -> Shipped:
    closes = tables.closes
    columns = (closes.c.instrument, closes.c.close_date, closes.c.open, closes.c.close)
    query = select(*columns).where(closes.c.open.is_not(None), closes.c.close_date.between(*SIMULATED))
    with simulated.store.read() as connection:
        found = connection.execute(query).all()
    return Shipped(
        {(row[0], row[1]): Decimal(repr(row[2])) for row in found},
        {(row[0], row[1]): Decimal(repr(row[3])) for row in found},
    )


@pytest.mark.parametrize("model", MODELS)
def test_cash_and_positions_reconcile_with_the_trades_on_every_day(
    simulated: Desk, shipped: Shipped, model: str
) -> None:
    """From the initial cash, the trades and the shipped prices alone, in decimals: every share and every cent."""
    portfolios = {row["day"]: row for row in rows(simulated, "sim_positions") if row["model"] == model}
    trades, holdings = defaultdict(list), defaultdict(dict)
    for row in rows(simulated, "sim_trades"):
        trades[row["model"], row["day"]].append(row)
    for row in rows(simulated, "sim_holdings"):
        holdings[row["model"], row["day"]][row["symbol"]] = row["quantity"]
    cash, held, worth = Decimal(1_000_000), defaultdict(int), Decimal(1_000_000)
    assert sorted(portfolios) == DAYS
    for day in DAYS:
        if day == SPLIT_DAY:
            held["ORLY"] *= 15
        for trade in trades[model, day]:
            price, total = Decimal(trade["price_micros"]) / 1_000_000, Decimal(trade["total_cents"]) / 100
            assert price == shipped.opens[trade["symbol"], day]
            assert total == round(price * trade["amount"], 2)
            sign = 1 if trade["action"] == "buy" else -1
            held[trade["symbol"]] += sign * trade["amount"]
            cash -= sign * total
            assert cash >= 0
        now = {symbol: count for symbol, count in held.items() if count}
        assert holdings[model, day] == now
        assert min(now.values(), default=1) > 0
        value = cash + round(sum(count * shipped.closes[symbol, day] for symbol, count in now.items()), 2)
        portfolio = portfolios[day]
        assert Decimal(portfolio["cash_cents"]) / 100 == cash
        assert Decimal(portfolio["value_cents"]) / 100 == value
        assert Decimal(portfolio["profit_cents"]) / 100 == value - worth
        worth = value
    assert trades


def test_a_split_changes_shares_and_not_the_portfolio(simulated: Desk) -> None:
    held = {
        (row["model"], row["day"]): row
        for row in rows(simulated, "sim_holdings")
        if row["symbol"] == "ORLY" and row["model"] == "buy_and_hold"
    }
    before, after = (held["buy_and_hold", day] for day in (date(2025, 6, 9), SPLIT_DAY))
    assert after["quantity"] == 15 * before["quantity"]
    assert after["cost_cents"] == before["cost_cents"]
    (day,) = [one for one in range_of(simulated, "buy_and_hold")["daily"] if one["date"] == SPLIT_DAY.isoformat()]
    assert abs(day["return_pct"]) < 3


def range_of(desk: Desk, model: str) -> dict[str, Any]:
    start, end = (day.isoformat() for day in SIMULATED)
    (found,) = answered(desk, start_date=start, end_date=end, model=model)["results"]
    return found


def test_every_model_trades(simulated: Desk) -> None:
    traded = {(row["model"], row["action"]) for row in rows(simulated, "sim_trades")}
    assert traded >= {(model, "buy") for model in MODELS}
    assert traded >= {("equal_weight", "sell"), ("momentum", "sell")}
    assert ("buy_and_hold", "sell") not in traded


def test_a_day_is_answered_with_portfolios_and_their_gain(simulated: Desk) -> None:
    answer = answered(simulated, date="2025-07-18")
    assert answer["date"] == "2025-07-18"
    assert [one["model"] for one in answer["results"]] == MODELS
    for one in answer["results"]:
        assert one.keys() == {"model", "positions", "daily_pnl"}
        assert one["daily_pnl"].keys() == {"profit", "return_pct", "portfolio_value"}
        assert one["positions"]["CASH"] >= 0
        assert all(isinstance(count, int) for name, count in one["positions"].items() if name != "CASH")


def test_full_detail_adds_trades_and_reasons(simulated: Desk) -> None:
    (one,) = answered(simulated, date="2025-06-02", model="equal_weight", detail="full")["results"]
    assert one["log_file_path"] is None
    assert one["ai_reasoning"] == {
        "total_steps": 1,
        "stop_signal_received": True,
        "reasoning_summary": "towards 101 symbols: 101 trades, 16847.23 in cash",
        "tool_usage": {"buy": 101, "get_symbols": 1},
    }
    first = one["trades"][0]
    assert first == {
        "id": "equal_weight-2025-06-02-1",
        "action": "buy",
        "symbol": "AAPL",
        "amount": 49,
        "price": 200.28,
        "costs": 0.0,
        "total": 9813.72,
    }


def test_a_range_adds_figures_and_full_detail_what_happened_each_day(simulated: Desk) -> None:
    found = range_of(simulated, "momentum")
    assert [one["date"] for one in found["daily"]] == [day.isoformat() for day in DAYS]
    metrics = found["metrics"]
    assert metrics["trading_days"] == len(DAYS)
    assert metrics["starting_portfolio_value"] == 1_000_000
    assert metrics["ending_portfolio_value"] == found["daily"][-1]["portfolio_value"]
    gain = metrics["ending_portfolio_value"] / 1_000_000 - 1
    assert metrics["period_return_pct"] == pytest.approx(gain * 100, abs=1e-5)
    assert sum(one["profit"] for one in found["daily"]) == pytest.approx(gain * 1_000_000)
    start, end = (day.isoformat() for day in SIMULATED)
    full = answered(simulated, start_date=start, end_date=end, model="momentum", detail="full")["results"][0]
    assert {"positions", "trades", "ai_reasoning", "log_file_path"} <= full["daily"][0].keys()


def test_a_job_can_be_asked_for_without_dates(simulated: Desk) -> None:
    with simulated.service() as service:
        job_id = service.current()["job_id"]
    answer = answered(simulated, job_id=job_id)
    assert (answer["start_date"], answer["end_date"]) == (DAYS[0].isoformat(), DAYS[-1].isoformat())


@pytest.mark.parametrize(
    "arguments", [{"date": "2025-06-01"}, {"date": "2025-06-02", "model": "nobody"}, {"job_id": "none"}]
)
def test_what_was_not_simulated_has_no_data(simulated: Desk, arguments: dict[str, str]) -> None:
    with pytest.raises(NoData, match="Nothing was completed"):
        answered(simulated, **arguments)


def test_the_same_simulation_again_is_the_same_to_the_bit(simulated: Desk, demo_store: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated.folder / "configs", tmp_path / "configs")
    url = f"sqlite:///{shutil.copy(demo_store, tmp_path)}"
    with open_store(url) as store:
        other = Desk(store, url, tmp_path)
        other.simulate(SIMULATED[0], SIMULATED[1])
        assert other.outcome() == simulated.outcome()


def test_a_portfolio_is_a_book_that_the_environment_values(simulated: Desk) -> None:
    day = SIMULATED[1]
    bench = open_workbench(simulated.url, "XNYS", "USD")
    with bench.source.reader:
        outcome = outcome_of(bench, "equities", books=("sim:momentum",), env_date=day, pos_date=day)
    assert outcome.data is not None, outcome.error_stack
    data = orjson.loads(outcome.data)
    (model,) = answered(simulated, date=day.isoformat(), model="momentum")["results"]
    held = {row["instrument"]: row["quantity"] for row in data["positions"]}
    cash = model["positions"].pop("CASH")
    assert held == model["positions"]
    total = sum(row["market_value"] for row in data["positions"])
    assert total + cash == pytest.approx(model["daily_pnl"]["portfolio_value"], abs=0.005)
    paid = sum(row["entry_price"] * row["quantity"] for row in data["positions"])
    cost = sum(r["cost_cents"] for r in rows(simulated, "sim_holdings") if (r["model"], r["day"]) == ("momentum", day))
    assert paid == pytest.approx(cost / 100)


def test_the_job_keeps_the_configuration_it_was_created_with(simulated: Desk) -> None:
    (job,) = rows(simulated, "sim_jobs")
    assert job["config"] == read_config(simulated.folder, None).chosen(None).as_json()
