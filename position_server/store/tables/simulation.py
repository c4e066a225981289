"""The simulation service: jobs, their model-days, and what model portfolios hold, trade and think.

A model has one portfolio: `sim_positions` has one row per model and completed day, whichever job made it. Money is in
whole cents, prices of trades are millionths of the currency: sums of them are exact.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
)

from position_server.store.tables.base import METADATA, TEXT, UtcTimestamp, one_of, positive

JOB_STATUSES = ("pending", "running", "completed", "partial", "failed", "cancelled")
MODEL_DAY_STATUSES = ("pending", "running", "completed", "failed", "cancelled")
TRADE_ACTIONS = ("buy", "sell")

sim_jobs = Table(
    "sim_jobs",
    METADATA,
    Column("job_id", TEXT, primary_key=True),
    Column("number", BigInteger, nullable=False),  # in the order of creation; unique: two creators cannot both be next
    Column("slot", Integer),  # of a pending or running job, 1 to max_concurrent_jobs; unique, so no more than that run
    Column("identity", TEXT),  # of range, models and config; unique; null when another job has replaced this one
    Column("status", TEXT, nullable=False),
    Column("config_path", TEXT, nullable=False),
    Column("config", TEXT, nullable=False),  # JSON, as it was read when the job was created
    Column("date_range", TEXT, nullable=False),  # a JSON list of days
    Column("models", TEXT, nullable=False),  # a JSON list of names
    Column("triggered_by", TEXT, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("owner", TEXT),  # the process that runs it
    Column("lease_until", UtcTimestamp),  # an owner that nobody can look at is taken for dead after this
    Column("created_at", UtcTimestamp, nullable=False),
    Column("started_at", UtcTimestamp),
    Column("updated_at", UtcTimestamp, nullable=False),
    Column("completed_at", UtcTimestamp),
    one_of("status", JOB_STATUSES),
    Index(None, "number", unique=True),
    Index(None, "slot", unique=True),
    Index(None, "identity", unique=True),
)

sim_job_details = Table(
    "sim_job_details",
    METADATA,
    Column("job_id", TEXT, ForeignKey("sim_jobs.job_id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("model", TEXT, primary_key=True),
    Column("status", TEXT, nullable=False),
    Column("attempt", Integer, nullable=False),  # only the newest attempt may complete it
    Column("started_at", UtcTimestamp),
    Column("completed_at", UtcTimestamp),
    Column("duration_seconds", Double),
    Column("error", TEXT),
    one_of("status", MODEL_DAY_STATUSES),
    sqlite_with_rowid=False,
)

sim_positions = Table(
    "sim_positions",
    METADATA,
    Column("model", TEXT, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("job_id", TEXT, ForeignKey("sim_jobs.job_id", ondelete="CASCADE"), nullable=False),
    Column("cash_cents", BigInteger, nullable=False),
    Column("value_cents", BigInteger, nullable=False),  # cash and holdings at the day's close
    Column("profit_cents", BigInteger, nullable=False),  # against the model's day before, or its initial cash
    Column("total_steps", Integer, nullable=False),
    Column("stop_signal_received", Boolean, nullable=False),
    Column("reasoning_summary", TEXT),
    Column("log_file_path", TEXT),
    Index(None, "day"),
    Index(None, "job_id"),
    sqlite_with_rowid=False,
)


def _model_day() -> ForeignKeyConstraint:
    """The reference to the model's completed day."""
    return ForeignKeyConstraint(["model", "day"], ["sim_positions.model", "sim_positions.day"], ondelete="CASCADE")


def _job_detail() -> ForeignKeyConstraint:
    """The reference to the model-day of one job, completed or not."""
    columns = ["job_id", "day", "model"]
    return ForeignKeyConstraint(columns, [f"sim_job_details.{column}" for column in columns], ondelete="CASCADE")


sim_holdings = Table(
    "sim_holdings",
    METADATA,
    Column("model", TEXT, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("symbol", TEXT, ForeignKey("instruments.instrument"), primary_key=True),
    Column("quantity", BigInteger, nullable=False),  # whole shares, at the day's close
    Column("cost_cents", BigInteger, nullable=False),  # what the shares held cost
    _model_day(),
    sqlite_with_rowid=False,
)

sim_trades = Table(
    "sim_trades",
    METADATA,
    Column("model", TEXT, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("action", TEXT, nullable=False),
    Column("symbol", TEXT, ForeignKey("instruments.instrument"), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("price_micros", BigInteger, nullable=False),
    Column("costs_cents", BigInteger, nullable=False),
    Column("total_cents", BigInteger, nullable=False),  # the cash that moved, costs included
    one_of("action", TRADE_ACTIONS),
    positive("amount"),
    _model_day(),
    sqlite_with_rowid=False,
)

sim_reasoning_logs = Table(
    "sim_reasoning_logs",
    METADATA,
    Column("job_id", TEXT, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("model", TEXT, primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("step", Integer, nullable=False),
    Column("role", TEXT, nullable=False),
    Column("content", TEXT, nullable=False),
    _job_detail(),
    sqlite_with_rowid=False,
)

sim_tool_usage = Table(
    "sim_tool_usage",
    METADATA,
    Column("job_id", TEXT, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("model", TEXT, primary_key=True),
    Column("tool", TEXT, primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("errors", Integer, nullable=False),  # calls that the tool refused
    _job_detail(),
    sqlite_with_rowid=False,
)
