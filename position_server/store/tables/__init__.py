"""The tables of the store: one MetaData, the same on SQLite and PostgreSQL, a file per subject.

No queries here. A change here needs a migration in `store/migrations/versions`; a test compares the two.
"""

from position_server.store.tables.access import ROLES, api_keys
from position_server.store.tables.base import METADATA, TEXT, UtcTimestamp
from position_server.store.tables.call_budget import call_budgets
from position_server.store.tables.desk import (
    CLOSE_SOURCES,
    INVESTMENT_CLASSES,
    KINDS,
    OPTION_RIGHTS,
    SIDES,
    closes,
    curves,
    fx,
    instruments,
    positions,
    quotes,
    trades,
)
from position_server.store.tables.market_data import SYNC_STATUSES, asset_sync, batch_results, quote_sequences
from position_server.store.tables.portfolio import (
    BATCH_TYPES,
    ONBOARDING_STATUSES,
    RUN_STATUSES,
    batch_runs,
    factor_exposures,
    factor_fits,
    onboarding_jobs,
    portfolio_snapshots,
    price_histories,
    private_valuations,
    snapshot_positions,
)
from position_server.store.tables.simulation import (
    JOB_STATUSES,
    MODEL_DAY_STATUSES,
    TRADE_ACTIONS,
    sim_holdings,
    sim_job_details,
    sim_jobs,
    sim_positions,
    sim_reasoning_logs,
    sim_tool_usage,
    sim_trades,
)
from position_server.store.tables.versions import VERSIONED_TABLES, VersionedTable, table_versions

__all__ = [
    "BATCH_TYPES",
    "CLOSE_SOURCES",
    "INVESTMENT_CLASSES",
    "JOB_STATUSES",
    "KINDS",
    "METADATA",
    "MODEL_DAY_STATUSES",
    "ONBOARDING_STATUSES",
    "OPTION_RIGHTS",
    "ROLES",
    "RUN_STATUSES",
    "SIDES",
    "SYNC_STATUSES",
    "TEXT",
    "TRADE_ACTIONS",
    "VERSIONED_TABLES",
    "UtcTimestamp",
    "VersionedTable",
    "api_keys",
    "asset_sync",
    "batch_results",
    "batch_runs",
    "call_budgets",
    "closes",
    "curves",
    "factor_exposures",
    "factor_fits",
    "fx",
    "instruments",
    "onboarding_jobs",
    "portfolio_snapshots",
    "positions",
    "price_histories",
    "private_valuations",
    "quote_sequences",
    "quotes",
    "sim_holdings",
    "sim_job_details",
    "sim_jobs",
    "sim_positions",
    "sim_reasoning_logs",
    "sim_tool_usage",
    "sim_trades",
    "snapshot_positions",
    "table_versions",
    "trades",
]
