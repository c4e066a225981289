"""How long a new quote takes into what is served: from the event on the bus to the new version of a LIVE environment.

Runs in a process of its own (`python -m bench.measurements.live STORE ROUNDS`), with the parts that a server is made
of: workers, the environment service, the bus and the live refreshes; the workers run where they like. A quote is
committed, its event published, and the clock stops when the cache has a version with its price in it. A hit after that
costs what `hits` says. Every commit has the workers read again what they need, as in a server.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.lab import STORE_FILE, Lab
from bench.lines import Line, at_most, line, percentile
from bench.processes import REPOSITORY, BenchError, clean_environment

SCALE = 3  # 361 positions of all books, three times: 1,083
BOOKS = ("CUPS", "EXO", "YCSO")
ENV_DATE, POS_DATE = date(2025, 10, 30), date(2025, 10, 29)
SYMBOL, PRICE = "EURUSD", 1.15
EVENTS = 100  # a round; its 99th percentile is the second slowest
PAUSE_SECONDS = 0.02  # between two events, for the process to be at rest
LANDS_WITHIN_SECONDS = 30.0
PATIENCE_SECONDS = 600.0
SOON_ENOUGH = at_most(150)


def measure(lab: Lab) -> list[Line]:
    """The lines of live refreshes."""
    store = lab.new_folder("live") / STORE_FILE
    store.write_bytes(lab.demo_store(SCALE).read_bytes())
    lab.say(f"from event to new version: {lab.rounds} rounds of {EVENTS} quotes")
    done = subprocess.run(
        [sys.executable, "-m", "bench.measurements.live", str(store), str(lab.rounds)],
        cwd=REPOSITORY,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"live: {done.stderr.strip()[-400:]}")
    return lines_of(json.loads(done.stdout))


def lines_of(found: dict[str, Any]) -> list[Line]:
    """p99 with its goal, and p50."""
    name = f"from event to new version, {found['positions']:,} positions"
    p99, p50 = ([percentile(one, percent) for one in found["rounds_ms"]] for percent in (99, 50))
    note = f"{found['workers']} workers, {len(found['rounds_ms'][0])} events a round"
    return [line(f"{name}, p99", p99, "ms", SOON_ENOUGH, note), line(f"{name}, p50", p50, "ms")]


# --- in the process that is timed ------------------------------------------------------------------------------------


class Desk:
    """One LIVE environment that is kept, the store that its quotes come from, and the bus that tells of them."""

    def __init__(self, service: Any, store: Any, bus: Any, base: Any) -> None:
        self.service, self.store, self.bus, self.base = service, store, bus, base
        self.number = 0
        self.refreshed = threading.Event()

    def one(self) -> float:
        """Milliseconds from the event of one quote to the version with its price."""
        update = self._stored()
        self.refreshed.clear()
        since = time.perf_counter()
        self.bus.publish(update)
        if not self.refreshed.wait(LANDS_WITHIN_SECONDS):
            raise BenchError(f"no new version within {LANDS_WITHIN_SECONDS:g} s")
        elapsed = (time.perf_counter() - since) * 1e3
        if self.price() != update.last_price:
            raise BenchError(f"the new version shows {self.price()}, not {update.last_price}")
        return elapsed

    def price(self) -> float:
        """What is served."""
        rows = self.sections()["spot"]["data"]["positions"]
        return float(next(row["price"] for row in rows if row["instrument"] == SYMBOL))

    def sections(self) -> dict[str, Any]:
        """What is served, whole."""
        entry = self.service.cache.peek(self.base.to_cache_key())
        return dict(json.loads(entry.encoded.whole.parts[0]))

    def _stored(self) -> Any:
        """The event of a quote that is newer than all others, and committed."""
        from position_server.events.bus import PriceUpdate
        from position_server.store.tables import quotes

        self.number += 1
        at = datetime(2025, 10, 30, 23, tzinfo=UTC) + timedelta(seconds=self.number)
        quote = {"bid": None, "ask": None, "last_price": round(PRICE + self.number / 1e5, 5)}
        today = (quotes.c.instrument == SYMBOL, quotes.c.quote_date == ENV_DATE)
        row = {"instrument": SYMBOL, "quote_date": ENV_DATE, "quote_time": at, "source": "bench"}
        with self.store.write() as connection:
            connection.execute(quotes.delete().where(*today))
            connection.execute(quotes.insert(), row | quote)
        return PriceUpdate(SYMBOL, self.number, spread=None, timestamp=at, **quote)


@contextmanager
def running(url: str) -> Iterator[Desk]:
    """The desk as a server runs it, its environment computed once."""
    from position_server.clock import SystemClock
    from position_server.compute import tasks
    from position_server.compute.pool import ComputePool
    from position_server.environment.live import LiveRefresh
    from position_server.environment.service import EnvironmentService
    from position_server.events.in_process import InProcessBus
    from position_server.metrics import Metrics
    from position_server.params import BaseParams
    from position_server.settings import Settings
    from position_server.store.engine import open_store

    settings, metrics, clock = Settings(), Metrics.create(), SystemClock()
    known: dict[str, Any] = {"clock": clock, "metrics": metrics, "business_date": lambda: ENV_DATE}
    compute = settings.compute
    with ExitStack() as up:
        threads = up.enter_context(ThreadPoolExecutor(compute.threads))
        arguments = (url, settings.calendar, settings.base_currency)
        limits = {"workers": compute.worker_count, "queue": compute.queue, "niceness": compute.nice}
        pool = up.enter_context(ComputePool(tasks.OPEN_WORKBENCH, arguments, **limits))
        service = EnvironmentService(pool=pool, threads=threads, settings=settings, **known)
        service.start()
        bus = up.enter_context(InProcessBus(metrics))
        base = BaseParams(env_date=ENV_DATE, pos_date=POS_DATE, books=BOOKS, time_of_day="LIVE")
        desk = Desk(service, up.enter_context(open_store(url)), bus, base)
        live = LiveRefresh(service=service, bus=bus, refreshed=lambda _: desk.refreshed.set(), **known)
        live.start()
        up.callback(live.join)
        up.callback(live.stop)
        service.refresh(base)
        yield desk


def run(store: Path, rounds: int, events: int = EVENTS) -> dict[str, Any]:
    """Milliseconds of every event, round by round; one round of a tenth before them does not count."""
    sys.setswitchinterval(2e-4)  # as `serve` does
    with running(f"sqlite:///{store}") as desk:
        found: list[list[float]] = []
        for size in (max(1, events // 10), *[events] * rounds):
            found.append([])
            for _ in range(size):
                time.sleep(PAUSE_SECONDS)
                found[-1].append(desk.one())
        kinds = [
            section["data"].get("positions", ()) for name, section in desk.sections().items() if name != "new_trades"
        ]
        workers = desk.service.stats()["compute"]["workers"]
    return {"rounds_ms": found[1:], "positions": sum(map(len, kinds)), "workers": workers}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]))))
