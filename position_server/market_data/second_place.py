"""Permits for work that has time: the quotes that are kept fresh come first. Grants none itself, the limiter does."""

from __future__ import annotations

import threading

from position_server.clock import Clock
from position_server.market_data.assets import Asset, calls_for, priority, secondary
from position_server.market_data.rate_limiter import RateLimiter, Stopped

LOOK_SECONDS = 1.0  # from one look at the budget to the next


class SecondPlace:
    """The limiter's permits for as long as some others stay free.

    Who stood in line all the time would take every call that gets free, and the queue of quotes, which only takes what
    is to spare, none. May be used by several threads; two that look at once may leave one call less.
    """

    def __init__(self, limiter: RateLimiter, *, leaves: int, clock: Clock) -> None:
        """`leaves`: so many calls stay free in the window."""
        self._limiter = limiter
        self._leaves = leaves
        self._clock = clock

    def acquire(self, stop: threading.Event) -> float:
        """As the limiter's, once more calls are free than have to be left. Raises Stopped and StoreUnavailable."""
        waited = 0.0
        while self._limiter.get_remaining() <= self._leaves:
            if self._clock.wait(stop, LOOK_SECONDS):
                raise Stopped("stopped while others had the calls")
            waited += LOOK_SECONDS
        return waited + self._limiter.acquire(stop)

    def pause(self, seconds: float) -> None:
        """As the limiter's."""
        self._limiter.pause(seconds)


def calls_of_quotes(assets: tuple[Asset, ...], limit: int) -> int:
    """How many calls of a window to leave for quotes: a priority batch's and one of the queue, but never all."""
    return min(calls_for(priority(assets)) + bool(secondary(assets)), limit - 1)
