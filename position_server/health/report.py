"""The report: every check on a thread, waited for within bounds, its outcome shared by all who ask within a second.

The event loop's; the threads only run the checks. One that hangs is reported as down and keeps its thread: until it
ends, no second one is started beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from position_server.clock import Clock
from position_server.errors import PositionServerError

TIMEOUT_SECONDS = 2.0
KEPT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. `look` blocks; it returns what else there is to say, and raises what is wrong.

    Without it, where it is `required`, the server is unhealthy.
    """

    name: str
    look: Callable[[], Mapping[str, Any] | None]
    required: bool = False
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Checks:
    """Everything that is looked at; `secrets` are cut out of what is said to be wrong."""

    services: Sequence[Check]
    database: Check
    storage: Check
    secrets: Sequence[str] = ()

    @property
    def all(self) -> list[Check]:
        """Each of them."""
        return [*self.services, self.database, self.storage]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look came to: why the thing is down (None: it is up), how long it took, what else there is to say."""

    error: str | None
    latency_ms: float
    details: Mapping[str, Any]


class Health:
    """What `GET /health` answers."""

    def __init__(
        self, checks: Checks, *, threads: Executor, clock: Clock, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._checks = checks
        self._threads = threads
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._looking: dict[str, asyncio.Future[Finding]] = {}
        self._report: asyncio.Task[tuple[bool, dict[str, Any]]] | None = None
        self._reported = 0.0

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Whether everything required is there, and the answer. At most `timeout_seconds` after the question."""
        kept = self._report
        if kept is None or (kept.done() and self._clock.monotonic() - self._reported >= KEPT_SECONDS):
            kept = self._report = asyncio.create_task(self._look_at_all())
        return await asyncio.shield(kept)

    async def _look_at_all(self) -> tuple[bool, dict[str, Any]]:
        services, database, storage = self._checks.services, self._checks.database, self._checks.storage
        everything = self._checks.all
        findings = dict(zip(everything, await asyncio.gather(*map(self._look_at, everything)), strict=True))
        healthy = not any(check.required and findings[check].error for check in everything)
        self._reported = self._clock.monotonic()
        return healthy, {
            "status": "healthy" if healthy else "unhealthy",
            "timestamp": self._clock.now().isoformat(timespec="milliseconds"),
            "services": {check.name: _service(check, findings[check]) for check in services},
            "storage": _storage(storage, findings[storage]),
            "database": _database(database, findings[database]),
        }

    async def _look_at(self, check: Check) -> Finding:
        looking = self._looking.get(check.name)
        if looking is None or looking.done():
            loop = asyncio.get_running_loop()
            looking = loop.run_in_executor(self._threads, partial(self._look, check))
            self._looking[check.name] = looking
        await asyncio.wait([looking], timeout=self._timeout_seconds)
        if looking.done():
            return looking.result()
        return Finding(f"no answer within {self._timeout_seconds:g} s", self._timeout_seconds * 1000, {})

    def _look(self, check: Check) -> Finding:
        since = self._clock.monotonic()
        error, details = None, None
        try:
            details = check.look()
        except Exception as problem:  # noqa: BLE001 whatever it raises is what is wrong with the thing
            error = self._said(problem)
        return Finding(error, round((self._clock.monotonic() - since) * 1000, 3), details or {})

    def _said(self, problem: Exception) -> str:
        """What is wrong, in one line without secrets: nobody needs a key to read it."""
        ours = isinstance(problem, PositionServerError)
        lines = str(problem).splitlines() or [""]
        text = lines[0] if ours else f"{type(problem).__name__}: {lines[0]}"
        for secret in self._checks.secrets:
            text = text.replace(secret, "***")
        return text


def _service(check: Check, finding: Finding) -> dict[str, Any]:
    address = {} if check.url is None else {"url": check.url}
    return {"status": "down" if finding.error else "up", **address, "latency_ms": finding.latency_ms, **_error(finding)}


def _database(check: Check, finding: Finding) -> dict[str, Any]:
    status = "down" if finding.error else "connected"
    return {"status": status, "path": check.url, "latency_ms": finding.latency_ms, **_error(finding)}


def _storage(check: Check, finding: Finding) -> dict[str, Any]:
    found = {"data_directory": check.url, "writable": False, "free_space_mb": None}
    return {**found, **finding.details, **_error(finding)}


def _error(finding: Finding) -> dict[str, str]:
    return {} if finding.error is None else {"error": finding.error}
