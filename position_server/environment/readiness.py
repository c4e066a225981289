"""Whether the server can take traffic: once warm, or after a bounded wait without being so. Decides from counts."""

from __future__ import annotations

from typing import Any

from position_server.clock import Clock
from position_server.environment.cache import EnvironmentCache
from position_server.environment.scheduler import WarmUps


class Readiness:
    """Ready by cache when the warm-ups of the hour have run; by the store when they failed or took too long.

    A warm-up has failed while no run of it went well: one that fails later leaves its last good data in the cache.
    """

    def __init__(self, warm_ups: WarmUps, cache: EnvironmentCache, clock: Clock, patience_seconds: float) -> None:
        self._warm_ups = warm_ups
        self._cache = cache
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._started = clock.monotonic()

    def check(self) -> tuple[bool, dict[str, Any]]:
        """Ready or not, and the answer of `GET /health/ready`."""
        elapsed = self._clock.monotonic() - self._started
        entries = self._cache.count_entries()
        warm = self._warm_ups.server_status == "warmed_up"
        if not warm and elapsed < self._patience_seconds:
            waiting = {"status": "initializing", "elapsed_seconds": round(elapsed, 3)}
            return False, {**waiting, "entries_loaded": entries, "cache_entries": entries}
        ready = {"status": "ready", "mode": "cache", "cache_entries": entries}
        if failed := self._failed():
            return True, {**ready, "mode": "db_fallback", "error": f"warm-ups failed: {failed}"}
        if not warm:
            return True, {**ready, "mode": "db_fallback", "message": f"not warm after {self._patience_seconds:g} s"}
        return True, ready

    def _failed(self) -> str:
        states = self._warm_ups.stats()
        return ", ".join(
            name for name, state in states.items() if state["last_error"] and state["runs"] == state["failures"]
        )
