"""What the market-data updater keeps beside the quotes: how far each asset is, what changed, what the batches did."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table

from position_server.store.tables.base import METADATA, TEXT, UtcTimestamp, instrument_key, one_of

SYNC_STATUSES = ("pending", "in_progress", "success", "failed", "stale")

asset_sync = Table(
    "asset_sync",
    METADATA,
    Column("symbol", TEXT, primary_key=True),
    Column("provider", TEXT, primary_key=True),
    Column("sync_status", TEXT, nullable=False),
    Column("last_attempt", UtcTimestamp),
    Column("last_update", UtcTimestamp),
    Column("last_error", TEXT),
    Column("updates", Integer, nullable=False, default=0, server_default="0"),
    Column("failures", Integer, nullable=False, default=0, server_default="0"),
    one_of("sync_status", SYNC_STATUSES),
)

quote_sequences = Table(
    "quote_sequences",
    METADATA,
    instrument_key(),
    Column("sequence", BigInteger, nullable=False),  # counts the quotes of this instrument that were stored
    Column("changed_at", UtcTimestamp, nullable=False),
)

batch_results = Table(
    "batch_results",
    METADATA,
    Column("batch_id", TEXT, primary_key=True),
    Column("started_at", UtcTimestamp, nullable=False),
    Column("completed_at", UtcTimestamp, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("priority_updated", Integer, nullable=False),
    Column("priority_failed", TEXT, nullable=False),  # a JSON list of {symbol, error}
    Column("queue_processed", Integer, nullable=False),
    Column("queue_remaining", Integer, nullable=False),
    Column("api_calls_used", Integer, nullable=False),
    Column("rate_limit_waits", Integer, nullable=False),
    Column("errors", TEXT, nullable=False),  # a JSON list of texts
    Index(None, "started_at"),
)
