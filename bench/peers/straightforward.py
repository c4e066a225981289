"""The obvious Tornado server: a dictionary in a global-like cache, written as it is on every GET.

Tornado encodes it with json.dumps each time. A thread of the process replaces the cached values every ten seconds, as a
warm-up would; it costs next to nothing here, so that what is measured is the way of answering. No access log.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from tornado.web import Application, RequestHandler

from bench.peers.arguments import peer

REFRESH_SECONDS = 10.0


class Environment(RequestHandler):
    """Writes what is cached."""

    def initialize(self, cache: dict[str, Any]) -> None:
        self.cache = cache

    def get(self) -> None:
        self.write(self.cache[self.request.path])
        self.set_header("Content-Type", "application/json")


def refresh(cache: dict[str, Any], bodies: dict[str, bytes], stop: threading.Event) -> None:
    """Computes every value again, for ever."""
    while not stop.wait(REFRESH_SECONDS):
        for path, body in bodies.items():
            cache[path] = json.loads(body)


async def main() -> None:
    """Serves until it is ended."""
    me = peer("The straightforward Tornado server.")
    cache = {path: json.loads(body) for path, body in me.bodies.items()}
    threading.Thread(target=refresh, args=(cache, me.bodies, threading.Event()), daemon=True).start()
    Application([("/.*", Environment, {"cache": cache})]).listen(me.port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
