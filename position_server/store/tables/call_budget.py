"""The ledger of calls to the provider: what every process that calls it shares."""

from __future__ import annotations

from sqlalchemy import Column, Table, Text

from position_server.store.tables.base import METADATA, TEXT

call_budgets = Table(
    "call_budgets",
    METADATA,
    Column("budget", TEXT, primary_key=True),
    Column("book", Text, nullable=False),  # JSON: the calls of the last window, who waits, a pause, totals
)
