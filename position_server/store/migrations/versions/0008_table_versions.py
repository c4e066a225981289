"""A version for each table that sections read, counted by triggers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from position_server.store.migrations import counting

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
COUNTED = (
    "closes",
    "curves",
    "factor_exposures",
    "factor_fits",
    "fx",
    "instruments",
    "positions",
    "private_valuations",
    "quotes",
    "trades",
)


def upgrade() -> None:
    """Create the table, with a first lane for each table that is counted, and the triggers."""
    versions = op.create_table(
        "table_versions",
        sa.Column("table_name", TEXT, nullable=False),
        sa.Column("lane", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", "lane", name="pk_table_versions"),
        sqlite_with_rowid=False,
    )
    op.bulk_insert(versions, [{"table_name": table, "lane": 0, "version": 0} for table in COUNTED])
    counting.create_counter()
    for table in COUNTED:
        counting.count_changes_of(table)


def downgrade() -> None:
    """Drop the triggers, then the table."""
    for table in COUNTED:
        counting.stop_counting_changes_of(table)
    counting.drop_counter()
    op.drop_table("table_versions")
