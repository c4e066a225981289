"""The guard: who sends a request, by the key in its headers.

Asked by the event loop for every request, so the usual answers cost no more than a flag (no keys), or a digest and a
dictionary's look-up (a key that was checked before). A secret is checked on a thread. The keys come from `watch.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import Enum

from position_server.access.keys import KEY_LENGTH, ApiKey, Caller, Role, find_key
from position_server.clock import Clock
from position_server.errors import Busy, Starting, StoreUnavailable

log = logging.getLogger(__name__)
MEMO_SECONDS = 60.0  # a checked key is remembered this long after it was last used
MOST_REFUSED = 1_000  # texts remembered as no key, so that who repeats one costs nothing
MOST_CHECKS = 64  # secrets that may wait to be checked; at 40 ms each the last one waits some seconds
FIRST_READ_SECONDS = 5.0  # how long a request waits for the first read of the keys
ANYBODY = Caller(None, Role.ADMIN)


class Unknown(Enum):
    """What the guard says when it has to look first."""

    UNKNOWN = "unknown"


@dataclass(slots=True)
class _Checked:
    """A key that was checked, for the memo. The event loop's."""

    key: ApiKey
    caller: Caller
    used: float


@dataclass(frozen=True, slots=True)
class _Known:
    """The keys as they were read, and what was found out with them: dropped as a whole when the keys change."""

    keys: Mapping[str, ApiKey]
    on: bool  # whether a key is needed
    # By digest of the key's text; the event loop's, all three. At most one `checked` per key.
    checked: dict[bytes, _Checked] = field(default_factory=dict)
    refused: OrderedDict[bytes, float] = field(default_factory=OrderedDict)
    waiting: dict[bytes, asyncio.Future[ApiKey | None]] = field(default_factory=dict)


class Guard:
    """Who sends a request. `learn` and `cannot_read` are the watcher's thread's, the rest is the event loop's.

    They share `_known`, an object that the thread swaps whole, and `_first_read`, which the thread sets.
    """

    def __init__(self, checks: Executor, clock: Clock, *, secret: bytes, always_on: bool = False) -> None:
        """`checks` computes hashes; `secret` keys the memo's digests; `always_on` needs keys even where none is."""
        self._checks = checks
        self._clock = clock
        self._secret = secret
        self._always_on = always_on
        self._known: _Known | None = None
        self._first_read: Future[None] = Future()
        self._first_wait: asyncio.Future[None] | None = None
        self._readable = True

    @property
    def on(self) -> bool:
        """Whether a key is needed; it is until the keys have been read."""
        known = self._known
        return known is None or known.on

    def caller_of(self, headers: Mapping[str, str]) -> Caller | Unknown | None:
        """Who sends these headers; None where they carry no key that is good; UNKNOWN where `identify` must look."""
        known = self._known
        if known is None:
            return Unknown.UNKNOWN
        if not known.on:
            return ANYBODY
        text = key_in(headers)
        return None if text is None else self._remembered(known, self._digest(text))

    async def identify(self, headers: Mapping[str, str]) -> Caller | None:
        """As `caller_of`, after what it takes to know. Raises Starting while the keys are not known, and Busy."""
        known = await self._keys()
        caller, text = self.caller_of(headers), key_in(headers)
        if not isinstance(caller, Unknown):
            return caller
        if text is None:
            return None
        digest = self._digest(text)
        waiting = known.waiting.get(digest)
        if waiting is None:
            waiting = self._check(known, digest, text)
        key = await asyncio.shield(waiting)  # others may wait for it, too
        return None if key is None else self._caller(key)

    # --- the watcher's -----------------------------------------------------------------------------------------

    def learn(self, keys: Iterable[ApiKey]) -> None:
        """These are the keys now. Once there was one, a key is needed for good: losing the last one opens nothing."""
        found = {key.key_id: key for key in keys}
        before = self._known
        if before is None or before.keys != found:
            on = self._always_on or bool(found) or (before is not None and before.on)
            self._known = _Known(found, on)
            changed = [] if before is None else _differences(before.keys, found)
            log.info("API keys read", extra={"keys": len(found), "needed": on, "changed": changed})
        if not self._readable:
            self._readable = True
            log.info("API keys can be read again")
        self._tell_who_waits()

    def cannot_read(self, error: Exception) -> None:
        """The store does not say: the last known keys stay valid."""
        if self._readable:
            self._readable = False
            bug = None if isinstance(error, StoreUnavailable) else error
            log.warning("API keys cannot be read: the last known stay valid", extra={"error": str(error)}, exc_info=bug)
        self._tell_who_waits()

    def _tell_who_waits(self) -> None:
        if not self._first_read.done():
            self._first_read.set_result(None)

    # --- the event loop's --------------------------------------------------------------------------------------

    async def _keys(self) -> _Known:
        """The keys, waited for where they have not been read yet."""
        if self._known is None:
            if self._first_wait is None:  # one for all who wait: it would outlive each of them
                self._first_wait = asyncio.wrap_future(self._first_read)
            await asyncio.wait([self._first_wait], timeout=FIRST_READ_SECONDS)
        if self._known is None:
            raise Starting("The API keys could not be read yet.")
        return self._known

    def _remembered(self, known: _Known, digest: bytes) -> Caller | Unknown | None:
        now = self._clock.monotonic()
        checked = known.checked.get(digest)
        if checked is None:
            since = known.refused.get(digest)
            return Unknown.UNKNOWN if since is None or now - since > MEMO_SECONDS else None
        if checked.key.expires_at is not None and self._is_over(checked.key):
            return None
        if now - checked.used > MEMO_SECONDS:
            del known.checked[digest]
            return Unknown.UNKNOWN
        checked.used = now
        return checked.caller

    def _check(self, known: _Known, digest: bytes, text: str) -> asyncio.Future[ApiKey | None]:
        """Starts the check of a secret on the thread; its result goes into the memo of the keys it was made with."""
        if len(known.waiting) >= MOST_CHECKS:
            raise Busy("Too many API keys wait to be checked.")
        loop = asyncio.get_running_loop()
        waiting = known.waiting[digest] = loop.run_in_executor(self._checks, find_key, text, known.keys)
        waiting.add_done_callback(lambda done: self._remember(known, digest, done))
        return waiting

    def _remember(self, known: _Known, digest: bytes, done: asyncio.Future[ApiKey | None]) -> None:
        del known.waiting[digest]
        if done.cancelled() or done.exception() is not None:
            return
        key, now = done.result(), self._clock.monotonic()
        caller = None if key is None else self._caller(key)
        if key is not None and caller is not None:
            known.checked[digest] = _Checked(key, caller, now)
            return
        log.info("API key refused", extra={"key_id": key.key_id if key else None, "status": self._status(key)})
        known.refused[digest] = now
        if len(known.refused) > MOST_REFUSED:
            known.refused.popitem(last=False)

    def _caller(self, key: ApiKey) -> Caller | None:
        return None if self._is_over(key) else Caller(key.key_id, key.role)

    def _is_over(self, key: ApiKey) -> bool:
        return self._status(key) != "active"

    def _status(self, key: ApiKey | None) -> str:
        return "unknown" if key is None else key.status(self._clock.now())

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=16, key=self._secret).digest()


def _differences(before: Mapping[str, ApiKey], after: Mapping[str, ApiKey]) -> list[str]:
    return sorted(key_id for key_id in {*before, *after} if before.get(key_id) != after.get(key_id))


def key_in(headers: Mapping[str, str]) -> str | None:
    """The text of the key that a request carries, by its length; None for none, two different ones, or something else.

    `X-API-Key: KEY` or `Authorization: Bearer KEY` (in any case); another scheme is somebody else's.
    """
    text = headers.get("X-API-Key")
    authorization = headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            token = token.strip()
            if text is not None and text != token:
                return None
            text = token
    return text if text is not None and len(text) == KEY_LENGTH else None
