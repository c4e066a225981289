"""The nightly portfolio batch: its runs, factor fits, snapshots of books, manual valuations, symbols being onboarded.

Of a run that is current there is one per type and date; whoever replaces it marks it superseded first. The data tables
say neither which run wrote a row nor when: a run that is repeated changes nothing in them.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Date,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    text,
)

from position_server.store.tables.base import METADATA, TEXT, UtcTimestamp, instrument_key, one_of

BATCH_TYPES = ("symbol_batch", "portfolio_refresh")
RUN_STATUSES = ("running", "completed", "failed", "superseded")
ONBOARDING_STATUSES = ("pending", "processing", "completed", "failed")
NOT_SUPERSEDED = text("status <> 'superseded'")

batch_runs = Table(
    "batch_runs",
    METADATA,
    Column("run_id", TEXT, primary_key=True),
    Column("batch_type", TEXT, nullable=False),
    Column("batch_date", Date, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("process", TEXT, nullable=False),  # host:pid, for people
    Column("supersedes", TEXT, ForeignKey("batch_runs.run_id")),  # the run whose place this one took
    Column("started_at", UtcTimestamp, nullable=False),
    Column("heartbeat_at", UtcTimestamp, nullable=False),
    Column("completed_at", UtcTimestamp),
    Column("error_message", TEXT),
    Column("input_hash", TEXT),  # SHA-256 of what it worked from; equal hashes, equal results
    Column("counts", TEXT),  # JSON: rows written, gaps by name, seconds
    one_of("batch_type", BATCH_TYPES),
    one_of("status", RUN_STATUSES),
    Index(
        "ix_batch_runs_current",
        "batch_type",
        "batch_date",
        unique=True,
        sqlite_where=NOT_SUPERSEDED,
        postgresql_where=NOT_SUPERSEDED,
    ),
    Index(None, "started_at"),
)

price_histories = Table(
    "price_histories",
    METADATA,
    instrument_key(),
    Column("fetched_from", Date, nullable=False),  # its closes were asked for back to this day, whatever there was
    sqlite_with_rowid=False,
)

factor_fits = Table(
    "factor_fits",
    METADATA,
    instrument_key(),
    Column("fit_date", Date, primary_key=True),
    Column("r_squared", Double),
    Column("observations", Integer, nullable=False),
    Column("market_beta", Double),  # on the market factor alone
    Column("flags", TEXT, nullable=False),  # a JSON list: too_little_history, gaps, constant_price, jump
    Index(None, "fit_date"),
    sqlite_with_rowid=False,
)

factor_exposures = Table(
    "factor_exposures",
    METADATA,
    Column("instrument", TEXT, primary_key=True),
    Column("exposure_date", Date, primary_key=True),
    Column("factor", TEXT, primary_key=True),  # its name (SPY), whatever symbol stands for it
    Column("beta", Double, nullable=False),  # none where nothing could be fitted
    ForeignKeyConstraint(
        ["instrument", "exposure_date"], ["factor_fits.instrument", "factor_fits.fit_date"], ondelete="CASCADE"
    ),
    Index(None, "exposure_date"),
    sqlite_with_rowid=False,
)

portfolio_snapshots = Table(
    "portfolio_snapshots",
    METADATA,
    Column("book", TEXT, primary_key=True),
    Column("snapshot_date", Date, primary_key=True),
    Column("currency", TEXT, nullable=False),  # of all money
    Column("total_value", Double),
    Column("total_cost", Double),
    Column("total_pnl", Double),
    Column("daily_pnl", Double),
    Column("position_count", Integer, nullable=False),
    Column("priced_count", Integer, nullable=False),
    Column("gross_share", Double),  # coverage, as in every section
    Column("counts", TEXT, nullable=False),  # JSON: positions by kind, class and price source
    Column("exposures", TEXT, nullable=False),  # JSON: exposures by factor, as of when, and the note on weights
    Column("exposure_coverage", Double),  # the share of PUBLIC equities that have a fit
    Column("private_allocation_pct", Double),
    Column("options_allocation_pct", Double),
    Column("warnings", TEXT, nullable=False),  # a JSON list of texts
    Index(None, "snapshot_date"),
    sqlite_with_rowid=False,
)

snapshot_positions = Table(
    "snapshot_positions",
    METADATA,
    Column("book", TEXT, primary_key=True),
    Column("snapshot_date", Date, primary_key=True),
    instrument_key(),
    Column("kind", TEXT, nullable=False),
    Column("investment_class", TEXT, nullable=False),
    Column("currency", TEXT, nullable=False),
    Column("quantity", Double, nullable=False),
    Column("entry_price", Double),
    Column("price", Double),
    Column("price_date", Date),
    Column("price_source", TEXT),
    Column("fx_rate", Double),
    Column("market_value", Double),
    Column("market_value_base", Double),
    Column("cost_base", Double),
    Column("daily_pnl", Double),
    Column("total_pnl", Double),
    ForeignKeyConstraint(
        ["book", "snapshot_date"],
        ["portfolio_snapshots.book", "portfolio_snapshots.snapshot_date"],
        ondelete="CASCADE",
    ),
    sqlite_with_rowid=False,
)

private_valuations = Table(
    "private_valuations",
    METADATA,
    Column("book", TEXT, primary_key=True),
    instrument_key(),
    Column("valued_on", Date, primary_key=True),
    Column("market_value", Double, nullable=False),  # of the whole position, in the instrument's currency
    Column("valued_by", TEXT, nullable=False),
    Column("entered_at", UtcTimestamp, nullable=False),
    sqlite_with_rowid=False,
)

onboarding_jobs = Table(
    "onboarding_jobs",
    METADATA,
    Column("symbol", TEXT, primary_key=True),  # of an instrument that the store may not know yet
    Column("status", TEXT, nullable=False),
    Column("attempts", Integer, nullable=False, default=0, server_default="0"),
    Column("requested_by", TEXT, nullable=False),
    Column("process", TEXT),  # host:pid of who works on it
    Column("queued_at", UtcTimestamp, nullable=False),
    Column("started_at", UtcTimestamp),
    Column("heartbeat_at", UtcTimestamp),
    Column("completed_at", UtcTimestamp),
    Column("error_message", TEXT),
    one_of("status", ONBOARDING_STATUSES),
    Index(None, "status", "queued_at"),
)
