"""Blocking reads on the server's threads, a few at once: a slow store must not take the threads of the environment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from position_server.errors import Busy

T = TypeVar("T")
READS_AT_ONCE = 4
READS_WAITING = 100  # beyond it 503: they would wait for minutes


class Reads:
    """Belongs to the event loop."""

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._slots = asyncio.Semaphore(READS_AT_ONCE)
        self._count = 0

    async def run(self, read: Callable[[], T]) -> T:
        """What `read` returns. Raises Busy where too many wait already."""
        if self._count >= READS_AT_ONCE + READS_WAITING:
            raise Busy("Too many requests wait for the store.")
        self._count += 1
        try:
            async with self._slots:
                return await asyncio.get_running_loop().run_in_executor(self._threads, read)
        finally:
            self._count -= 1
