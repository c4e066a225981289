"""Bare Tornado on uvloop: the smallest delegate that answers ready bytes. No log, no metrics, no request ids.

What Tornado's HTTP/1 can do in Python at all; every other field, header and check comes on top of it.
"""

from __future__ import annotations

import asyncio

import uvloop
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from bench.peers.arguments import peer

OK = ResponseStartLine("HTTP/1.1", 200, "OK")
COPIED_BYTES = 262_144  # larger bodies are written by themselves: joined to the headers they would be copied


class Exchange(HTTPMessageDelegate):
    """One request and its answer."""

    def __init__(self, connection: HTTPConnection, bodies: dict[str, bytes]) -> None:
        self._connection = connection
        self._bodies = bodies

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, _: HTTPHeaders) -> None:
        self._body = self._bodies[start_line.path]  # type: ignore[union-attr]  # of a request, here

    def finish(self) -> None:
        body = self._body
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(body))})
        if len(body) <= COPIED_BYTES:
            self._connection.write_headers(OK, headers, body)
        else:
            self._connection.write_headers(OK, headers)
            self._connection.write(body)
        self._connection.finish()


class Answering(HTTPServerConnectionDelegate):
    """Every request of every connection."""

    def __init__(self, bodies: dict[str, bytes]) -> None:
        self._bodies = bodies

    def start_request(self, _: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return Exchange(request_conn, self._bodies)


async def main() -> None:
    """Serves until it is ended."""
    me = peer("Bare Tornado on uvloop.")
    HTTPServer(Answering(me.bodies)).listen(me.port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
