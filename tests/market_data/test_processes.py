"""Real processes that share one limit, one of them killed in the middle of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from position_server.market_data.call_book import Book
from position_server.market_data.ledger import StoreLedger
from position_server.market_data.rate_limiter import Ledger
from position_server.market_data.redis_ledger import RedisLedger
from position_server.store.engine import open_store
from tests.market_data.caller import LIMIT, THREADS, WINDOW_SECONDS
from tests.market_data.ledgers import REDIS_URL, redis_budget
from tests.servers import REPOSITORY, until

CALLS = 3  # of each thread of those that live


@contextmanager
def processes(where: str, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three callers, the first of which would not end for long; killed at the end if they still run."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.market_data.caller", where]
    running = [
        subprocess.Popen([*command, str(folder / f"{n}"), str(calls)], cwd=REPOSITORY)
        for n, calls in enumerate((1000, CALLS, CALLS))
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait(60)


def times(folder: Path, name: str = "*") -> list[float]:
    """When the processes called, or would have but for a stall, in order; half a line of a killed one is none."""
    lines = [line for file in folder.glob(name) for line in file.read_text().splitlines(keepends=True)]
    return sorted(float(line) for line in lines if line.endswith("\n"))


def check(folder: Path, ledger: Ledger) -> None:
    at = times(folder)
    spans = [later - earlier for earlier, later in zip(at, at[LIMIT:], strict=False)]
    assert min(spans) >= WINDOW_SECONDS
    assert len(times(folder, "1")) == len(times(folder, "2")) == CALLS * THREADS
    book = ledger.look()
    assert book != Book()
    assert len(at) <= book.total_calls <= len(at) + THREADS  # the dead one may have had permits that it did not use


def test_three_processes_never_exceed_the_limit_though_one_is_killed_in_the_middle(tmp_path: Path) -> None:
    """On SQLite and Redis at once, which saves time and is no lighter a test."""
    with ExitStack() as stack:
        store = stack.enter_context(open_store(f"sqlite:///{tmp_path / 'store.sqlite'}"))
        store.upgrade()
        client, budget = stack.enter_context(redis_budget())
        cases: list[tuple[str, Path, Ledger]] = [
            (f"sqlite:///{tmp_path / 'store.sqlite'}", tmp_path / "sqlite", StoreLedger(store, "polygon")),
            (f"{REDIS_URL}#{budget}", tmp_path / "redis", RedisLedger(client, budget)),
        ]
        running = [stack.enter_context(processes(where, folder)) for where, folder, _ in cases]
        for (victim, *_), (_, folder, _) in zip(running, cases, strict=True):
            until(lambda folder=folder: len(times(folder, "0")) >= 2 and times(folder, "1") and times(folder, "2"))
            victim.kill()
        for _, *living in running:
            assert [process.wait(120) for process in living] == [0, 0]
        for _, folder, ledger in cases:
            check(folder, ledger)
