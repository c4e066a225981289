"""The nightly portfolio batch: runs, factor fits, snapshots, manual valuations, onboarding."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIMESTAMP = sa.DateTime(timezone=True)
NOT_SUPERSEDED = sa.text("status <> 'superseded'")


def upgrade() -> None:
    """Create the tables."""
    _create_runs()
    _create_factors()
    _create_snapshots()
    _create_valuations_and_jobs()


def downgrade() -> None:
    """Drop the tables, those that refer to others first."""
    for table in (
        "onboarding_jobs",
        "private_valuations",
        "snapshot_positions",
        "portfolio_snapshots",
        "factor_exposures",
        "factor_fits",
        "batch_runs",
    ):
        op.drop_table(table)


def _required(kind: Any, *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=False) for name in names]


def _optional(kind: Any, *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind) for name in names]


def _instrument(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["instrument"], ["instruments.instrument"], name=f"fk_{table}_instrument")


def _create_runs() -> None:
    op.create_table(
        "batch_runs",
        *_required(TEXT, "run_id", "batch_type"),
        *_required(sa.Date(), "batch_date"),
        *_required(TEXT, "status", "process"),
        *_optional(TEXT, "supersedes"),
        *_required(TIMESTAMP, "started_at", "heartbeat_at"),
        *_optional(TIMESTAMP, "completed_at"),
        *_optional(TEXT, "error_message", "input_hash", "counts"),
        sa.PrimaryKeyConstraint("run_id", name="pk_batch_runs"),
        sa.ForeignKeyConstraint(["supersedes"], ["batch_runs.run_id"], name="fk_batch_runs_supersedes"),
        sa.CheckConstraint("batch_type IN ('symbol_batch', 'portfolio_refresh')", name="batch_type"),
        sa.CheckConstraint("status IN ('running', 'completed', 'failed', 'superseded')", name="status"),
    )
    op.create_index(
        "ix_batch_runs_current",
        "batch_runs",
        ["batch_type", "batch_date"],
        unique=True,
        sqlite_where=NOT_SUPERSEDED,
        postgresql_where=NOT_SUPERSEDED,
    )
    op.create_index("ix_batch_runs_started_at", "batch_runs", ["started_at"])


def _create_factors() -> None:
    op.create_table(
        "factor_fits",
        *_required(TEXT, "instrument"),
        *_required(sa.Date(), "fit_date"),
        *_optional(sa.Double(), "r_squared"),
        *_required(sa.Integer(), "observations"),
        *_optional(sa.Double(), "market_beta"),
        *_required(TEXT, "flags"),
        sa.PrimaryKeyConstraint("instrument", "fit_date", name="pk_factor_fits"),
        _instrument("factor_fits"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_factor_fits_fit_date", "factor_fits", ["fit_date"])
    op.create_table(
        "factor_exposures",
        *_required(TEXT, "instrument"),
        *_required(sa.Date(), "exposure_date"),
        *_required(TEXT, "factor"),
        *_required(sa.Double(), "beta"),
        sa.PrimaryKeyConstraint("instrument", "exposure_date", "factor", name="pk_factor_exposures"),
        sa.ForeignKeyConstraint(
            ["instrument", "exposure_date"],
            ["factor_fits.instrument", "factor_fits.fit_date"],
            name="fk_factor_exposures_instrument",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_factor_exposures_exposure_date", "factor_exposures", ["exposure_date"])


def _create_snapshots() -> None:
    op.create_table(
        "portfolio_snapshots",
        *_required(TEXT, "book"),
        *_required(sa.Date(), "snapshot_date"),
        *_required(TEXT, "currency"),
        *_optional(sa.Double(), "total_value", "total_cost", "total_pnl", "daily_pnl"),
        *_required(sa.Integer(), "position_count", "priced_count"),
        *_optional(sa.Double(), "gross_share"),
        *_required(TEXT, "counts", "exposures"),
        *_optional(sa.Double(), "exposure_coverage", "private_allocation_pct", "options_allocation_pct"),
        *_required(TEXT, "warnings"),
        sa.PrimaryKeyConstraint("book", "snapshot_date", name="pk_portfolio_snapshots"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_portfolio_snapshots_snapshot_date", "portfolio_snapshots", ["snapshot_date"])
    op.create_table(
        "snapshot_positions",
        *_required(TEXT, "book"),
        *_required(sa.Date(), "snapshot_date"),
        *_required(TEXT, "instrument", "kind", "investment_class", "currency"),
        *_required(sa.Double(), "quantity"),
        *_optional(sa.Double(), "entry_price", "price"),
        *_optional(sa.Date(), "price_date"),
        *_optional(TEXT, "price_source"),
        *_optional(sa.Double(), "fx_rate", "market_value", "market_value_base", "cost_base", "daily_pnl", "total_pnl"),
        sa.PrimaryKeyConstraint("book", "snapshot_date", "instrument", name="pk_snapshot_positions"),
        _instrument("snapshot_positions"),
        sa.ForeignKeyConstraint(
            ["book", "snapshot_date"],
            ["portfolio_snapshots.book", "portfolio_snapshots.snapshot_date"],
            name="fk_snapshot_positions_book",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )


def _create_valuations_and_jobs() -> None:
    op.create_table(
        "private_valuations",
        *_required(TEXT, "book", "instrument"),
        *_required(sa.Date(), "valued_on"),
        *_required(sa.Double(), "market_value"),
        *_required(TEXT, "valued_by"),
        *_required(TIMESTAMP, "entered_at"),
        sa.PrimaryKeyConstraint("book", "instrument", "valued_on", name="pk_private_valuations"),
        _instrument("private_valuations"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "onboarding_jobs",
        *_required(TEXT, "symbol", "status"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        *_required(TEXT, "requested_by"),
        *_optional(TEXT, "process"),
        *_required(TIMESTAMP, "queued_at"),
        *_optional(TIMESTAMP, "started_at", "heartbeat_at", "completed_at"),
        *_optional(TEXT, "error_message"),
        sa.PrimaryKeyConstraint("symbol", name="pk_onboarding_jobs"),
        sa.CheckConstraint("status IN ('pending', 'processing', 'completed', 'failed')", name="status"),
    )
    op.create_index("ix_onboarding_jobs_status_queued_at", "onboarding_jobs", ["status", "queued_at"])
