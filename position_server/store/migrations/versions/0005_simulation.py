"""The simulation service: jobs, model-days, and the portfolios of models."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, those first that others refer to."""
    _create_jobs()
    _create_details()
    _create_positions()
    _create_holdings_and_trades()
    _create_logs_and_usage()


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "sim_tool_usage",
        "sim_reasoning_logs",
        "sim_trades",
        "sim_holdings",
        "sim_positions",
        "sim_job_details",
        "sim_jobs",
    ):
        op.drop_table(table)


def _required(kind: Any, *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _model_day(table: str) -> sa.ForeignKeyConstraint:
    columns = ["model", "day"]
    targets = ["sim_positions.model", "sim_positions.day"]
    return sa.ForeignKeyConstraint(columns, targets, name=f"fk_{table}_model", ondelete="CASCADE")


def _job_detail(table: str) -> sa.ForeignKeyConstraint:
    columns = ["job_id", "day", "model"]
    targets = [f"sim_job_details.{column}" for column in columns]
    return sa.ForeignKeyConstraint(columns, targets, name=f"fk_{table}_job_id", ondelete="CASCADE")


def _job(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["job_id"], ["sim_jobs.job_id"], name=f"fk_{table}_job_id", ondelete="CASCADE")


def _symbol(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["symbol"], ["instruments.instrument"], name=f"fk_{table}_symbol")


def _create_jobs() -> None:
    op.create_table(
        "sim_jobs",
        *_required(TEXT, "job_id"),
        *_required(sa.BigInteger(), "number"),
        sa.Column("slot", sa.Integer()),
        sa.Column("identity", TEXT),
        *_required(TEXT, "status", "config_path", "config", "date_range", "models", "triggered_by"),
        *_required(sa.Boolean(), "cancel_requested"),
        sa.Column("owner", TEXT),
        sa.Column("lease_until", TIMESTAMP),
        *_required(TIMESTAMP, "created_at"),
        sa.Column("started_at", TIMESTAMP),
        *_required(TIMESTAMP, "updated_at"),
        sa.Column("completed_at", TIMESTAMP),
        sa.PrimaryKeyConstraint("job_id", name="pk_sim_jobs"),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'partial', 'failed', 'cancelled')", name="status"
        ),
    )
    for column in ("number", "slot", "identity"):
        op.create_index(f"ix_sim_jobs_{column}", "sim_jobs", [column], unique=True)


def _create_details() -> None:
    op.create_table(
        "sim_job_details",
        *_required(TEXT, "job_id"),
        *_required(sa.Date(), "day"),
        *_required(TEXT, "model", "status"),
        *_required(sa.Integer(), "attempt"),
        sa.Column("started_at", TIMESTAMP),
        sa.Column("completed_at", TIMESTAMP),
        sa.Column("duration_seconds", sa.Double()),
        sa.Column("error", TEXT),
        sa.PrimaryKeyConstraint("job_id", "day", "model", name="pk_sim_job_details"),
        _job("sim_job_details"),
        sa.CheckConstraint("status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name="status"),
        sqlite_with_rowid=False,
    )


def _create_positions() -> None:
    op.create_table(
        "sim_positions",
        *_required(TEXT, "model"),
        *_required(sa.Date(), "day"),
        *_required(TEXT, "job_id"),
        *_required(sa.BigInteger(), "cash_cents", "value_cents", "profit_cents"),
        *_required(sa.Integer(), "total_steps"),
        *_required(sa.Boolean(), "stop_signal_received"),
        sa.Column("reasoning_summary", TEXT),
        sa.Column("log_file_path", TEXT),
        sa.PrimaryKeyConstraint("model", "day", name="pk_sim_positions"),
        _job("sim_positions"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_sim_positions_day", "sim_positions", ["day"])
    op.create_index("ix_sim_positions_job_id", "sim_positions", ["job_id"])


def _create_holdings_and_trades() -> None:
    op.create_table(
        "sim_holdings",
        *_required(TEXT, "model"),
        *_required(sa.Date(), "day"),
        *_required(TEXT, "symbol"),
        *_required(sa.BigInteger(), "quantity", "cost_cents"),
        sa.PrimaryKeyConstraint("model", "day", "symbol", name="pk_sim_holdings"),
        _model_day("sim_holdings"),
        _symbol("sim_holdings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sim_trades",
        *_required(TEXT, "model"),
        *_required(sa.Date(), "day"),
        *_required(sa.Integer(), "sequence"),
        *_required(TEXT, "action", "symbol"),
        *_required(sa.BigInteger(), "amount", "price_micros", "costs_cents", "total_cents"),
        sa.PrimaryKeyConstraint("model", "day", "sequence", name="pk_sim_trades"),
        _model_day("sim_trades"),
        _symbol("sim_trades"),
        sa.CheckConstraint("action IN ('buy', 'sell')", name="action"),
        sa.CheckConstraint("amount > 0", name="amount_positive"),
        sqlite_with_rowid=False,
    )


def _create_logs_and_usage() -> None:
    op.create_table(
        "sim_reasoning_logs",
        *_required(TEXT, "job_id"),
        *_required(sa.Date(), "day"),
        *_required(TEXT, "model"),
        *_required(sa.Integer(), "sequence", "step"),
        *_required(TEXT, "role", "content"),
        sa.PrimaryKeyConstraint("job_id", "day", "model", "sequence", name="pk_sim_reasoning_logs"),
        _job_detail("sim_reasoning_logs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sim_tool_usage",
        *_required(TEXT, "job_id"),
        *_required(sa.Date(), "day"),
        *_required(TEXT, "model", "tool"),
        *_required(sa.Integer(), "calls", "errors"),
        sa.PrimaryKeyConstraint("job_id", "day", "model", "tool", name="pk_sim_tool_usage"),
        _job_detail("sim_tool_usage"),
        sqlite_with_rowid=False,
    )
