"""Reads on threads: so many at once, so many waiting, the rest refused."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from position_server.errors import Busy
from position_server.web.reads import READS_AT_ONCE, READS_WAITING, Reads
from tests.servers import until


def test_reads_run_a_few_at_once_and_are_refused_beyond_what_may_wait() -> None:
    async def scenario() -> None:
        with ThreadPoolExecutor(READS_AT_ONCE + 1) as threads:
            reads, release, running = Reads(threads), threading.Event(), []
            first = [
                asyncio.ensure_future(reads.run(lambda: running.append(1) or release.wait(10)))
                for _ in range(READS_AT_ONCE + READS_WAITING)
            ]
            await asyncio.to_thread(until, lambda: len(running) == READS_AT_ONCE)
            with pytest.raises(Busy):
                await reads.run(lambda: None)
            assert len(running) == READS_AT_ONCE
            release.set()
            await asyncio.gather(*first)
            assert await reads.run(lambda: 7) == 7

    asyncio.run(scenario())
