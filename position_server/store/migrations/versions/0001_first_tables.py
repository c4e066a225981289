"""The first tables: instruments, positions, trades, quotes, closes, curves, fx."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables, instruments first: the others refer to it."""
    _create_instruments()
    _create_positions()
    _create_trades()
    _create_quotes()
    _create_closes()
    _create_rates()


def downgrade() -> None:
    """Drop the tables, instruments last."""
    for table in ("fx", "curves", "closes", "quotes", "trades", "positions", "instruments"):
        op.drop_table(table)


def _instrument(table: str) -> tuple[sa.Column[str], sa.ForeignKeyConstraint]:
    return (
        sa.Column("instrument", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["instrument"], ["instruments.instrument"], name=f"fk_{table}_instrument"),
    )


def _doubles(*names: str) -> list[sa.Column[float]]:
    return [sa.Column(name, sa.Double()) for name in names]


def _create_instruments() -> None:
    op.create_table(
        "instruments",
        sa.Column("instrument", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT),
        sa.Column("currency", TEXT, nullable=False),
        sa.Column("exchange", TEXT),
        sa.Column("multiplier", sa.Double(), nullable=False, server_default="1"),
        sa.Column("tick_size", sa.Double()),
        sa.Column("root", TEXT),
        sa.Column("expiry", sa.Date()),
        sa.Column("isin", TEXT),
        sa.Column("coupon", sa.Double()),
        sa.Column("maturity", sa.Date()),
        sa.Column("issue_date", sa.Date()),
        sa.Column("underlying", TEXT),
        sa.Column("option_right", TEXT),
        sa.Column("strike", sa.Double()),
        sa.Column("base_currency", TEXT),
        sa.PrimaryKeyConstraint("instrument", name="pk_instruments"),
        sa.CheckConstraint(
            "kind IN ('FUTURE', 'BOND', 'EQUITY', 'OPTION', 'SPOT', 'PRIVATE')", name=op.f("ck_instruments_kind")
        ),
        sa.CheckConstraint("option_right IN ('C', 'P')", name=op.f("ck_instruments_option_right")),
        sa.CheckConstraint("multiplier > 0", name=op.f("ck_instruments_multiplier_positive")),
    )
    op.create_index("ix_instruments_kind", "instruments", ["kind"])


def _create_positions() -> None:
    op.create_table(
        "positions",
        sa.Column("pos_date", sa.Date(), nullable=False),
        sa.Column("book", TEXT, nullable=False),
        *_instrument("positions"),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("entry_price", sa.Double()),
        sa.Column("investment_class", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("pos_date", "book", "instrument", name="pk_positions"),
        sa.CheckConstraint(
            "investment_class IN ('PUBLIC', 'OPTIONS', 'PRIVATE')", name=op.f("ck_positions_investment_class")
        ),
        sqlite_with_rowid=False,
    )


def _create_trades() -> None:
    op.create_table(
        "trades",
        sa.Column("trade_id", TEXT, nullable=False),
        sa.Column("book", TEXT, nullable=False),
        *_instrument("trades"),
        sa.Column("trade_date", sa.Date(), nullable=False),
        sa.Column("trade_time", TIMESTAMP, nullable=False),
        sa.Column("side", TEXT, nullable=False),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("trade_id", name="pk_trades"),
        sa.CheckConstraint("side IN ('BUY', 'SELL')", name=op.f("ck_trades_side")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_trades_quantity_positive")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_trades_trade_date_book", "trades", ["trade_date", "book"])


def _create_quotes() -> None:
    op.create_table(
        "quotes",
        *_instrument("quotes"),
        sa.Column("quote_date", sa.Date(), nullable=False),
        sa.Column("quote_time", TIMESTAMP, nullable=False),
        *_doubles("bid", "ask", "last_price", "open", "high", "low", "close", "volume"),
        sa.Column("source", TEXT),
        sa.PrimaryKeyConstraint("instrument", "quote_date", name="pk_quotes"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_quotes_quote_date", "quotes", ["quote_date"])


def _create_closes() -> None:
    op.create_table(
        "closes",
        *_instrument("closes"),
        sa.Column("close_date", sa.Date(), nullable=False),
        sa.Column("close", sa.Double(), nullable=False),
        *_doubles("open", "high", "low", "volume"),
        sa.Column("source", TEXT, nullable=False, server_default="close"),
        sa.PrimaryKeyConstraint("instrument", "close_date", name="pk_closes"),
        sa.CheckConstraint("source IN ('close', 'model', 'manual')", name=op.f("ck_closes_source")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_closes_close_date", "closes", ["close_date"])


def _create_rates() -> None:
    op.create_table(
        "curves",
        sa.Column("curve", TEXT, nullable=False),
        sa.Column("curve_date", sa.Date(), nullable=False),
        sa.Column("tenor", TEXT, nullable=False),
        sa.Column("rate", sa.Double()),
        sa.PrimaryKeyConstraint("curve", "curve_date", "tenor", name="pk_curves"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fx",
        sa.Column("pair", TEXT, nullable=False),
        sa.Column("fx_date", sa.Date(), nullable=False),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("pair", "fx_date", name="pk_fx"),
        sa.CheckConstraint("rate > 0", name=op.f("ck_fx_rate_positive")),
        sqlite_with_rowid=False,
    )
