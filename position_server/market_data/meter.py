"""The limiter as the beats use it, with its calls and waits noted: for their arithmetic, results and `/metrics`."""

from __future__ import annotations

import threading
from collections import deque

from position_server.clock import Clock
from position_server.market_data.beats import Reserve
from position_server.market_data.rate_limiter import GUARD_SECONDS, RateLimiter
from position_server.metrics import Metrics


class Meter:
    """Permits that are counted. Belongs to the thread that runs the beats."""

    def __init__(
        self,
        limiter: RateLimiter,
        *,
        calls: int,
        window_seconds: float,
        clock: Clock,
        metrics: Metrics | None = None,
    ) -> None:
        """`calls` in `window_seconds` are the limiter's limit."""
        self._limiter = limiter
        self._limit = calls
        self._span_seconds = window_seconds + GUARD_SECONDS
        self._clock = clock
        self._metrics = metrics or Metrics.create()
        self._sent: deque[float] = deque(maxlen=calls)  # older ones have left the window
        self.calls = 0
        self.waits = 0

    def acquire(self, stop: threading.Event) -> float:
        """As the limiter's."""
        waited = self._limiter.acquire(stop)
        self._sent.append(self._clock.monotonic())
        self.calls += 1
        self.waits += waited > 0
        self._metrics.provider_calls.inc()
        self._metrics.provider_waits.inc(waited > 0)
        return waited

    def pause(self, seconds: float) -> None:
        """As the limiter's."""
        self._limiter.pause(seconds)

    def has_call_to_spare(self, reserve: Reserve) -> bool:
        """Whether a call now waits for nothing and takes nothing from `reserve`. Raises StoreUnavailable."""
        stats = self._limiter.get_stats()
        if stats["remaining"] < 1:
            return False
        now = self._clock.monotonic()
        recent = [call for call in self._sent if now - call < self._span_seconds]
        others = max(0, stats["current_calls"] - len(recent))
        return reserve.calls_to_spare(now, self._limit, self._span_seconds, tuple(self._sent), others) > 0
