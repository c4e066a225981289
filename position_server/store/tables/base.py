"""What all tables share: their MetaData, the types of their columns, and constraints that say what a column holds.

Text sorts by code point on both backends (collation "C" on PostgreSQL), rates are decimals, timestamps are UTC. Tables
read by key are kept in key order on SQLite (WITHOUT ROWID), which saves a look-up per row.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import CheckConstraint, Column, DateTime, Dialect, ForeignKey, MetaData, String, TypeDecorator


class UtcTimestamp(TypeDecorator[datetime]):
    """An instant: aware datetimes in and out, UTC in the table (timestamptz, or naive UTC text on SQLite)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's signature)
        """The instant in UTC. Raises ValueError for a naive datetime."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a timestamp needs an offset from UTC: {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The instant as an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


TEXT = String().with_variant(String(collation="C"), "postgresql")

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def one_of(column: str, allowed: tuple[str, ...]) -> CheckConstraint:
    """The constraint that `column` holds one of `allowed` (or null)."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in allowed)})", name=column)


def positive(column: str) -> CheckConstraint:
    """The constraint that `column` is greater than zero (or null)."""
    return CheckConstraint(f"{column} > 0", name=f"{column}_positive")


def instrument_key() -> Column[str]:
    """The column that names a known instrument, as (a part of) the primary key."""
    return Column("instrument", TEXT, ForeignKey("instruments.instrument"), primary_key=True)
