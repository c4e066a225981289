"""A completed model-day: read by the next one, written all at once. A worker's part of the store.

The transaction that writes a day marks it as completed, too, and only for the attempt that is current: a worker that
was given up finds itself superseded and writes nothing. So a day is there once and whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from position_server.simulation.calls import Superseded
from position_server.simulation.holdings import Holding, Trade
from position_server.simulation.records.jobs import BOOK_PREFIX
from position_server.store.tables import (
    positions,
    sim_holdings,
    sim_job_details,
    sim_positions,
    sim_reasoning_logs,
    sim_tool_usage,
    sim_trades,
)

# Built once: a worker runs them thousands of times.
LAST_DAY = (
    select(sim_positions.c.day, sim_positions.c.cash_cents, sim_positions.c.value_cents)
    .where(sim_positions.c.model == bindparam("model"), sim_positions.c.day < bindparam("day"))
    .order_by(sim_positions.c.day.desc())
    .limit(1)
)
HELD = (
    select(sim_holdings.c.symbol, sim_holdings.c.quantity, sim_holdings.c.cost_cents)
    .where(sim_holdings.c.model == bindparam("model"), sim_holdings.c.day == bindparam("day"))
    .order_by(sim_holdings.c.symbol)
)
COMPLETE = (
    update(sim_job_details)
    .where(
        sim_job_details.c.job_id == bindparam("of_job"),
        sim_job_details.c.day == bindparam("of_day"),
        sim_job_details.c.model == bindparam("of_model"),
        sim_job_details.c.status == "running",
        sim_job_details.c.attempt == bindparam("this"),
    )
    .values(
        status="completed",
        completed_at=bindparam("completed_at"),
        duration_seconds=bindparam("duration_seconds"),
        error=None,
    )
)
EMPTY_BOOK = delete(positions).where(
    positions.c.pos_date == bindparam("pos_date"), positions.c.book == bindparam("book")
)
INSERT = {
    table: insert(table)
    for table in (sim_positions, sim_holdings, sim_trades, sim_reasoning_logs, sim_tool_usage, positions)
}


@dataclass(frozen=True, slots=True)
class DayBefore:
    """What a model had at the close of the last day it completed."""

    day: date
    cash_cents: int
    value_cents: int
    holdings: Mapping[str, Holding]


@dataclass(frozen=True, slots=True)
class CompletedDay:
    """Everything that one model-day leaves behind."""

    job_id: str
    model: str
    day: date
    attempt: int
    cash_cents: int
    value_cents: int
    profit_cents: int
    holdings: Mapping[str, Holding]
    trades: Sequence[Trade]
    steps: Sequence[tuple[int, str, str]]  # step, role, content
    tool_usage: Mapping[str, tuple[int, int]]  # calls, and how many of them were refused
    stop_signal_received: bool
    summary: str | None
    log_file_path: str | None
    duration_seconds: float
    now: datetime


def before(connection: Connection, model: str, day: date) -> DayBefore | None:
    """The model's last completed day before `day`."""
    last = connection.execute(LAST_DAY, {"model": model, "day": day}).one_or_none()
    if last is None:
        return None
    held = connection.execute(HELD, {"model": model, "day": last[0]})
    return DayBefore(last[0], last[1], last[2], {row[0]: Holding(row[1], row[2]) for row in held})


def complete(connection: Connection, done: CompletedDay) -> None:
    """Writes the day, the model's book and the model-day's completion. Raises Superseded."""
    _mark_completed(connection, done)
    key = {"model": done.model, "day": done.day}
    job_key = {"job_id": done.job_id, **key}
    portfolio = {
        "cash_cents": done.cash_cents,
        "value_cents": done.value_cents,
        "profit_cents": done.profit_cents,
        "total_steps": len(done.steps),
        "stop_signal_received": done.stop_signal_received,
        "reasoning_summary": done.summary,
        "log_file_path": done.log_file_path,
    }
    _insert(connection, sim_positions, [{**job_key, **portfolio}])
    held = sorted(done.holdings.items())
    _insert(
        connection,
        sim_holdings,
        [{**key, "symbol": name, "quantity": one.quantity, "cost_cents": one.cost_cents} for name, one in held],
    )
    _insert(connection, sim_trades, [{**key, **_columns(trade)} for trade in done.trades])
    steps = [{"step": step, "role": role, "content": content} for step, role, content in done.steps]
    _insert(connection, sim_reasoning_logs, [{**job_key, "sequence": n, **step} for n, step in enumerate(steps, 1)])
    usage = [{"tool": tool, "calls": n, "errors": errors} for tool, (n, errors) in sorted(done.tool_usage.items())]
    _insert(connection, sim_tool_usage, [{**job_key, **used} for used in usage])
    _write_book(connection, done)


def _mark_completed(connection: Connection, done: CompletedDay) -> None:
    key = {"of_job": done.job_id, "of_day": done.day, "of_model": done.model, "this": done.attempt}
    values = {"completed_at": done.now, "duration_seconds": done.duration_seconds}
    if connection.execute(COMPLETE, {**key, **values}).rowcount != 1:
        raise Superseded(f"{done.model} on {done.day}: attempt {done.attempt} is not the current one")


def _write_book(connection: Connection, done: CompletedDay) -> None:
    """The holdings as a book of the desk, at the close of the day; `entry_price` is the average cost of a share."""
    book = BOOK_PREFIX + done.model
    connection.execute(EMPTY_BOOK, {"pos_date": done.day, "book": book})
    rows = [
        {
            "pos_date": done.day,
            "book": book,
            "instrument": symbol,
            "quantity": float(held.quantity),
            "entry_price": held.cost_cents / 100 / held.quantity,
            "investment_class": "PUBLIC",
        }
        for symbol, held in sorted(done.holdings.items())
    ]
    _insert(connection, positions, rows)


def _columns(trade: Trade) -> dict[str, Any]:
    return {field: getattr(trade, field) for field in Trade.__dataclass_fields__}


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(INSERT[table], rows)
