"""Who may ask: API keys, by their hashes."""

from __future__ import annotations

from sqlalchemy import Column, Table

from position_server.store.tables.base import METADATA, TEXT, UtcTimestamp, one_of

ROLES = ("reader", "analyst", "admin")

api_keys = Table(
    "api_keys",
    METADATA,
    Column("key_id", TEXT, primary_key=True),  # the part of a key that may be shown
    Column("name", TEXT, nullable=False),
    Column("role", TEXT, nullable=False),
    Column("secret_hash", TEXT, nullable=False),  # scrypt, with its parameters and salt
    Column("created_at", UtcTimestamp, nullable=False),
    Column("expires_at", UtcTimestamp),
    Column("revoked_at", UtcTimestamp),
    one_of("role", ROLES),
)
