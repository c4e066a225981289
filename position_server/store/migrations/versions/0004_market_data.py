"""The market-data updater: sync status, sequence numbers of quotes, and batch results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "asset_sync",
        sa.Column("symbol", TEXT, nullable=False),
        sa.Column("provider", TEXT, nullable=False),
        sa.Column("sync_status", TEXT, nullable=False),
        sa.Column("last_attempt", TIMESTAMP),
        sa.Column("last_update", TIMESTAMP),
        sa.Column("last_error", TEXT),
        sa.Column("updates", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("symbol", "provider", name="pk_asset_sync"),
        sa.CheckConstraint(
            "sync_status IN ('pending', 'in_progress', 'success', 'failed', 'stale')", name="sync_status"
        ),
    )
    op.create_table(
        "quote_sequences",
        sa.Column("instrument", TEXT, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("instrument", name="pk_quote_sequences"),
        sa.ForeignKeyConstraint(["instrument"], ["instruments.instrument"], name="fk_quote_sequences_instrument"),
    )
    counts = (
        "duration_ms",
        "priority_updated",
        "queue_processed",
        "queue_remaining",
        "api_calls_used",
        "rate_limit_waits",
    )
    op.create_table(
        "batch_results",
        sa.Column("batch_id", TEXT, nullable=False),
        sa.Column("started_at", TIMESTAMP, nullable=False),
        sa.Column("completed_at", TIMESTAMP, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in counts),
        sa.Column("priority_failed", TEXT, nullable=False),
        sa.Column("errors", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name="pk_batch_results"),
    )
    op.create_index("ix_batch_results_started_at", "batch_results", ["started_at"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("batch_results", "quote_sequences", "asset_sync"):
        op.drop_table(table)
