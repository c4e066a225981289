"""The ledger of calls to the provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "call_budgets",
        sa.Column("budget", TEXT, nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("budget", name="pk_call_budgets"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("call_budgets")
