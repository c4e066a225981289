"""A process that calls a provider which is not there: it writes down when it was permitted to, nothing else.

`python -m tests.market_data.caller LEDGER RECORD CALLS`: the URL of a store, or of Redis with the budget behind a #, a
file, and how many calls each of its three threads makes.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import datetime
from pathlib import Path

from position_server.clock import SystemClock
from position_server.market_data.ledger import StoreLedger
from position_server.market_data.rate_limiter import Ledger, RateLimiter
from position_server.market_data.redis_ledger import open_redis_ledger
from position_server.store.engine import open_store

LIMIT = 5
WINDOW_SECONDS = 0.3
GUARD_SECONDS = 0.3
STALL_SECONDS = GUARD_SECONDS / 2  # a thread that is not run for longer calls too late, whatever permitted it
PATIENCE_SECONDS = 1.0
THREADS = 3


class NotingClock(SystemClock):
    """The machine's clock, and for each thread what it has read since the limiter last asked for the time of day."""

    def __init__(self) -> None:
        self._of = threading.local()

    def now(self) -> datetime:
        self._of.readings = []
        return super().now()

    def monotonic(self) -> float:
        reading = super().monotonic()
        self.readings().append(reading)
        return reading

    def readings(self) -> list[float]:
        """Of this thread."""
        if not hasattr(self._of, "readings"):
            self._of.readings = []
        found: list[float] = self._of.readings
        return found


def main(where: str, record: str, calls: str) -> None:
    clock = NotingClock()
    limiter = RateLimiter(
        _ledger(where),
        calls=LIMIT,
        window_seconds=WINDOW_SECONDS,
        clock=clock,
        guard_seconds=GUARD_SECONDS,
        patience_seconds=PATIENCE_SECONDS,
    )
    with Path(record).open("a", buffering=1) as file:

        def work() -> None:
            for _ in range(int(calls)):
                limiter.acquire(threading.Event())
                _, handed_out, *_ = clock.readings()  # permitted, and seen to be no later than that by half a guard
                file.write(f"{min(time.monotonic(), handed_out + STALL_SECONDS)}\n")

        threads = [threading.Thread(target=work) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _ledger(where: str) -> Ledger:
    url, _, budget = where.partition("#")
    return open_redis_ledger(url, budget) if budget else StoreLedger(open_store(url), "polygon")


if __name__ == "__main__":
    main(*sys.argv[1:])
