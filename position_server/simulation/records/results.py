"""Results as they are asked for: portfolios of a range of days, and what belongs to them. One query per kind of row."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, Connection, Table, and_, select

from position_server.simulation.holdings import Trade
from position_server.store.tables import sim_holdings, sim_positions, sim_tool_usage, sim_trades

Key = tuple[str, date]  # model and day


@dataclass(frozen=True, slots=True)
class Asked:
    """Which completed days: None does not narrow."""

    start: date | None
    end: date | None
    model: str | None
    job_id: str | None


@dataclass(frozen=True, slots=True)
class Portfolio:
    """A model's completed day."""

    model: str
    day: date
    cash_cents: int
    value_cents: int
    profit_cents: int
    total_steps: int
    stop_signal_received: bool
    reasoning_summary: str | None
    log_file_path: str | None


def portfolios(connection: Connection, asked: Asked) -> list[Portfolio]:
    """The completed days, by model, then day."""
    columns = [sim_positions.c[name] for name in Portfolio.__dataclass_fields__]
    query = select(*columns).where(_asked(asked)).order_by(sim_positions.c.model, sim_positions.c.day)
    return [Portfolio(*row) for row in connection.execute(query)]


def holdings(connection: Connection, asked: Asked) -> dict[Key, dict[str, int]]:
    """Shares by symbol, in order, of every completed day that holds any."""
    columns = (sim_holdings.c.model, sim_holdings.c.day, sim_holdings.c.symbol, sim_holdings.c.quantity)
    query = select(*columns).join(sim_positions, _same_day(sim_holdings)).where(_asked(asked))
    found: dict[Key, dict[str, int]] = defaultdict(dict)
    for model, day, symbol, quantity in connection.execute(query.order_by(*columns[:3])):
        found[model, day][symbol] = quantity
    return found


def trades(connection: Connection, asked: Asked) -> dict[Key, list[Trade]]:
    """The trades of every completed day that has any, in the order in which they were made."""
    columns = [sim_trades.c[name] for name in Trade.__dataclass_fields__]
    query = select(sim_trades.c.model, sim_trades.c.day, *columns)
    query = query.join(sim_positions, _same_day(sim_trades)).where(_asked(asked))
    found: dict[Key, list[Trade]] = defaultdict(list)
    for model, day, *values in connection.execute(query.order_by(sim_trades.c.day, sim_trades.c.sequence)):
        found[model, day].append(Trade(*values))
    return found


def tool_usage(connection: Connection, asked: Asked) -> dict[Key, dict[str, int]]:
    """How often each tool was called, of every completed day."""
    same_job = and_(_same_day(sim_tool_usage), sim_tool_usage.c.job_id == sim_positions.c.job_id)
    columns = (sim_tool_usage.c.model, sim_tool_usage.c.day, sim_tool_usage.c.tool, sim_tool_usage.c.calls)
    query = select(*columns).join(sim_positions, same_job).where(_asked(asked))
    found: dict[Key, dict[str, int]] = defaultdict(dict)
    for model, day, tool, calls in connection.execute(query.order_by(*columns[:3])):
        found[model, day][tool] = calls
    return found


def _asked(asked: Asked) -> ColumnElement[bool]:
    days = sim_positions.c.day
    conditions = [
        None if asked.start is None else days >= asked.start,
        None if asked.end is None else days <= asked.end,
        None if asked.model is None else sim_positions.c.model == asked.model,
        None if asked.job_id is None else sim_positions.c.job_id == asked.job_id,
    ]
    return and_(True, *(one for one in conditions if one is not None))


def _same_day(table: Table) -> ColumnElement[bool]:
    return (table.c.model == sim_positions.c.model) & (table.c.day == sim_positions.c.day)
