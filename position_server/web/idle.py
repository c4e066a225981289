"""Connections on which nobody asks: closed when their time is over, by one timer for all of them.

Tornado's own idle timeout makes a timer for every request and cancels it, which is a tenth of what a hit costs.
Belongs to the event loop.
"""

from __future__ import annotations

import asyncio

from tornado.http1connection import HTTP1Connection

from position_server.clock import Clock

LOOKS_PER_TIMEOUT = 10  # a connection lives at most a tenth longer than it should


class IdleConnections:
    """Connections between two requests (or in the headers of the next), by who serves them, oldest first."""

    def __init__(self, timeout_seconds: float, clock: Clock) -> None:
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._waiting: dict[object, tuple[float, HTTP1Connection]] = {}

    def begin(self, server: object, connection: HTTP1Connection) -> None:
        """From now on the connection waits for a request's headers."""
        self._waiting[server] = (self._clock.monotonic(), connection)

    def end(self, server: object) -> None:
        """The headers are there, or the connection has ended."""
        self._waiting.pop(server, None)

    def close_old(self) -> None:
        """Closes what has waited for too long."""
        latest = self._clock.monotonic() - self._timeout_seconds
        for server, (since, connection) in list(self._waiting.items()):
            if since > latest:
                return
            self.end(server)
            connection.close()

    async def watch(self) -> None:
        """Looks now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(self._timeout_seconds / LOOKS_PER_TIMEOUT)
            self.close_old()
