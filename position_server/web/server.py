"""The HTTP server: the application on its sockets, within its bounds, from the first connection to the last answer."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence

from tornado.httpserver import HTTPServer

from position_server.settings import ServerSettings
from position_server.web.routes import Services, application, with_fast_path

log = logging.getLogger(__name__)
MAX_HEADER_BYTES = 262_144  # a GET of 10,000 books is a line of some 100 KB
DISCARDED_BODY_BYTES = 128 * 2**20  # a body above the limit is read up to here, so that its 413 can be read


class WebServer:
    """Serves what `services` are. Belongs to the event loop."""

    def __init__(self, services: Services, settings: ServerSettings) -> None:
        self._services, self._settings = services, settings
        self._http = HTTPServer(
            with_fast_path(services) if settings.fast_path else application(services),
            idle_connection_timeout=settings.idle_connection_seconds,
            body_timeout=settings.body_timeout_seconds,
            max_header_size=MAX_HEADER_BYTES,
            max_body_size=DISCARDED_BODY_BYTES,
        )
        if settings.fast_path:
            self._http.conn_params.header_timeout = None  # `idle` closes them

    def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accepts connections on sockets that are bound already."""
        self._watch = asyncio.create_task(self._services.idle.watch())
        self._http.add_sockets(sockets)

    async def stop(self) -> None:
        """Stops accepting, lets running requests end within their grace, then closes every connection."""
        self._http.stop()
        self._services.streams.end()
        try:
            await asyncio.wait_for(self._services.context.in_flight.none(), self._settings.shutdown_grace_seconds)
        except TimeoutError:
            log.warning("requests were still running at the end of their grace")
        await self._http.close_all_connections()
        self._watch.cancel()
