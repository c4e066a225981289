"""A process that calls a provider which is not there: it writes down when it was permitted to, nothing else.

`python -m tests.market_data.caller LEDGER RECORD CALLS`: the URL of a store, or of Redis with the budget behind a #, a
file, and how many calls each of its three threads makes.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from position_server.clock import SystemClock
from position_server.market_data.ledger import StoreLedger
from position_server.market_data.rate_limiter import Ledger, RateLimiter
from position_server.market_data.redis_ledger import open_redis_ledger
from position_server.store.engine import open_store

LIMIT = 5
WINDOW_SECONDS = 0.3
GUARD_SECONDS = 0.3  # also for a process that is not run for a while between its permit and the line it writes
PATIENCE_SECONDS = 1.0
THREADS = 3


def main(where: str, record: str, calls: str) -> None:
    limiter = RateLimiter(
        _ledger(where),
        calls=LIMIT,
        window_seconds=WINDOW_SECONDS,
        clock=SystemClock(),
        guard_seconds=GUARD_SECONDS,
        patience_seconds=PATIENCE_SECONDS,
    )
    with Path(record).open("a", buffering=1) as file:

        def work() -> None:
            for _ in range(int(calls)):
                limiter.acquire(threading.Event())
                file.write(f"{time.monotonic()}\n")

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
