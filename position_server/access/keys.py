"""API keys: what one looks like, how its secret is hashed and checked. Pure; no store, no headers.

A key is `ps_<id>_<secret>`: 48 bits that name it and may be shown, 256 bits that are known to its holder only. The
store has scrypt's hash of the secret (RFC 7914), with the salt and the cost beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

KEY_ID = re.compile(r"[0-9a-f]{12}")
KEY = re.compile(rf"ps_({KEY_ID.pattern})_([0-9a-f]{{64}})")
KEY_LENGTH = 80
COST, BLOCK, LANES = 2**14, 8, 1  # scrypt's N, r, p: 16 MB and some 40 ms, which 256 random bits hardly need
MEMORY_BYTES = 2**26  # what scrypt may take at most
# What an unknown id is checked against, so that it takes as long as a wrong secret. No secret has this hash.
NOBODYS_HASH = f"scrypt${COST}${BLOCK}${LANES}${'00' * 16}${'00' * 32}"


class Role(IntEnum):
    """What a key may do; each role may do what those before it may."""

    READER = 1  # GET
    ANALYST = 2  # and POST what-ifs and simulations, PUT private values
    ADMIN = 3  # and runs and onboarding

    @property
    def word(self) -> str:
        """As commands, tables and documents write it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        """The role of that word. Raises KeyError."""
        return cls[word.upper()]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the store knows it: without its secret."""

    key_id: str
    name: str
    role: Role
    secret_hash: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def status(self, now: datetime) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "active"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the id of the key (None while there are no keys), and what it may do."""

    key_id: str | None
    role: Role


def new_key(
    name: str, role: Role, *, now: datetime, expires_at: datetime | None, random_bytes: Callable[[int], bytes]
) -> tuple[ApiKey, str]:
    """A new key, and the text that its holder sends: the only time that it exists. `random_bytes(n)` must be secret."""
    key_id, secret, salt = random_bytes(6).hex(), random_bytes(32).hex(), random_bytes(16)
    secret_hash = f"scrypt${COST}${BLOCK}${LANES}${salt.hex()}${_scrypt(secret, salt, COST, BLOCK, LANES, 32).hex()}"
    return ApiKey(key_id, name, role, secret_hash, now, expires_at), f"ps_{key_id}_{secret}"


def find_key(text: str, keys: Mapping[str, ApiKey]) -> ApiKey | None:
    """The key whose text this is, revoked and expired ones too; None for any other text.

    Takes tens of milliseconds, and as long for an unknown id as for a wrong secret; only what does not look like a key
    is refused at once.
    """
    match = KEY.fullmatch(text)
    if match is None:
        return None
    key_id, secret = match.groups()
    known = keys.get(key_id)
    is_right = _matches(secret, NOBODYS_HASH if known is None else known.secret_hash)
    return known if is_right else None


def _matches(secret: str, secret_hash: str) -> bool:
    _, cost, block, lanes, salt, expected = secret_hash.split("$")
    wanted = bytes.fromhex(expected)
    found = _scrypt(secret, bytes.fromhex(salt), int(cost), int(block), int(lanes), len(wanted))
    return hmac.compare_digest(found, wanted)


def _scrypt(secret: str, salt: bytes, cost: int, block: int, lanes: int, size: int) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, n=cost, r=block, p=lanes, maxmem=MEMORY_BYTES, dklen=size)
