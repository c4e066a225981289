"""All SQL of the API keys. Imported only where it is used: it brings SQLAlchemy with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import inspect, select, update

from position_server.access.keys import ApiKey, Role
from position_server.errors import NotFound, StoreUnavailable
from position_server.store.engine import Store
from position_server.store.location import SqliteLocation
from position_server.store.tables import api_keys


def read_keys(store: Store) -> tuple[ApiKey, ...]:
    """Every key, oldest first, revoked and expired ones too. Raises StoreUnavailable.

    None for a SQLite store that is not there yet, and for one without the table: no key was ever made in it.
    """
    if _is_missing(store):
        return ()
    try:
        with store.read() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id))
            return tuple(_key(row._asdict()) for row in rows)
    except StoreUnavailable:
        if _has_table(store):
            raise
        return ()


def add_key(store: Store, key: ApiKey) -> None:
    """Writes a new key. Raises StoreUnavailable."""
    values = {column.name: getattr(key, column.name) for column in api_keys.columns}
    with store.write() as connection:
        connection.execute(api_keys.insert().values({**values, "role": key.role.word}))


def revoke_key(store: Store, key_id: str, now: datetime) -> ApiKey:
    """Revokes the key and returns it; one that was revoked keeps its time. Raises NotFound and StoreUnavailable."""
    this = api_keys.c.key_id == key_id
    with store.write() as connection:
        connection.execute(update(api_keys).where(this, api_keys.c.revoked_at.is_(None)).values(revoked_at=now))
        row = connection.execute(select(api_keys).where(this)).one_or_none()
    if row is None:
        raise NotFound(f"There is no key with the id {key_id}.")
    return _key(row._asdict())


def _key(row: Mapping[str, Any]) -> ApiKey:
    return ApiKey(**{**row, "role": Role.of(row["role"])})


def _is_missing(store: Store) -> bool:
    return isinstance(store.location, SqliteLocation) and not store.location.path.exists()


def _has_table(store: Store) -> bool:
    with store.read() as connection:
        return inspect(connection).has_table(api_keys.name)
