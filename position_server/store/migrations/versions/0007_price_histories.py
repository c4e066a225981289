"""Which instruments' price histories have been fetched, and how far back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "price_histories",
        sa.Column("instrument", TEXT, nullable=False),
        sa.Column("fetched_from", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("instrument", name="pk_price_histories"),
        sa.ForeignKeyConstraint(["instrument"], ["instruments.instrument"], name="fk_price_histories_instrument"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("price_histories")
