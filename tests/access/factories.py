"""Keys for tests, with defaults."""

from __future__ import annotations

from datetime import datetime
from secrets import token_bytes

from position_server.access import ApiKey, Role, new_key
from tests.fakes import NOON


def key(
    name: str = "desk", role: Role = Role.READER, *, expires_at: datetime | None = None, now: datetime = NOON
) -> tuple[ApiKey, str]:
    """A new key and its text."""
    return new_key(name, role, now=now, expires_at=expires_at, random_bytes=token_bytes)
