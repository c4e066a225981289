"""`batch` in real processes: forked from a server that has imported everything already, so that they start at once.

Each runs the very command line, with files for its output, on the small desk and a stand-in provider.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from position_server.cli import main
from position_server.store.engine import Store
from tests.market_data.stand_in import StandIn
from tests.portfolio.desk import CALL, FACTORS, NIGHT, PUT, Contents, contents, histories
from tests.servers import until

PRELOADED = [
    "position_server.cli.batch",
    "position_server.portfolio.symbols_batch",
    "position_server.portfolio.portfolios_batch",
    "position_server.provider_prices",
    "position_server.store.migrate",
    "tests.portfolio.processes",
]
EVENING = datetime(2025, 10, 30, 20, 5, tzinfo=UTC)
DATA = (
    "instruments", "closes", "price_histories", "factor_fits", "factor_exposures",
    "portfolio_snapshots", "snapshot_positions",
)  # fmt: skip
CONFIG = """
BUSINESS_DATE = "2025-10-30"
COMPUTE = {{"workers": 1}}
STORE = {{"url": "{store}", "demo": False}}
MARKET_DATA = {{"base_url": "{provider}", "calls": 1000000, "timeout_seconds": 30.0}}
PORTFOLIO = {{
    "poll_seconds": 0.1,
    "max_wait_seconds": {max_wait},
    "heartbeat_timeout_seconds": {timeout},
    "onboarding_wait_seconds": 0.5,
    "factors": {factors},
    "factor_window_days": 90,
}}
"""


@dataclass
class Batch:
    """A batch command that was started."""

    process: Any
    out: Path
    err: Path

    def says(self, text: str) -> None:
        """Waits until it has said so on standard error."""
        until(lambda: text in self.err.read_text() or self._ended())
        assert text in self.err.read_text(), self.err.read_text()

    def kill(self) -> None:
        """kill -9, and its end."""
        self.process.kill()
        self.process.join(60)

    def end(self) -> tuple[int, dict[str, Any]]:
        """Its exit code and what it answered, when it ends."""
        self.process.join(120)
        assert not self.process.is_alive(), self.err.read_text()
        text = self.out.read_text()
        assert text, self.err.read_text()
        return self.process.exitcode, json.loads(text)

    def _ended(self) -> bool:
        return not self.process.is_alive()


class Desk:
    """A store with the small desk, its provider, and the processes that work on it."""

    def __init__(self, folder: Path, store: Store, url: str, provider: StandIn) -> None:
        self.store, self.provider = store, provider
        self._folder, self._url = folder, url
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._started: list[Batch] = []

    def start(self, batch: str, *flags: str, timeout: float = 60.0, max_wait: float = 60.0) -> Batch:
        """Starts `batch symbols` or `batch portfolios`."""
        number = len(self._started)
        out, err = (self._folder / f"{batch}-{number}.{kind}" for kind in ("out", "err"))
        out.touch(), err.touch()
        arguments = ["batch", batch, "--json", "--config", str(self._config(timeout, max_wait)), *flags]
        arguments += ["--data-dir", str(self._folder)]
        process = self._context.Process(target=run_main, args=(arguments, out, err))
        process.start()
        started = Batch(process, out, err)
        self._started.append(started)
        return started

    def run(self, batch: str, **settings: float) -> dict[str, Any]:
        """Runs it to its good end."""
        code, answer = self.start(batch, **settings).end()
        assert code == 0, answer
        return answer

    def runs(self) -> list[tuple[str, str]]:
        """(type, status) of every run, oldest first."""
        with self.store.read() as connection:
            found = connection.exec_driver_sql("SELECT batch_type, status FROM batch_runs ORDER BY started_at")
            return [(row[0], row[1]) for row in found]

    def data(self) -> Contents:
        """Everything that batches write but the record of their runs."""
        return contents(self.store, *DATA)

    def close(self) -> None:
        """Ends what still runs."""
        for batch in self._started:
            if batch.process.is_alive():
                batch.kill()
            batch.process.close()

    def _config(self, timeout: float, max_wait: float) -> Path:
        file = self._folder / f"config-{len(self._started)}.py"
        values = {"store": self._url, "provider": self.provider.url, "factors": FACTORS}
        file.write_text(CONFIG.format(**values, timeout=timeout, max_wait=max_wait))
        return file


@contextmanager
def serving_prices() -> Iterator[StandIn]:
    """The provider, with the night's prices of the small desk."""
    with StandIn() as provider:
        for name, levels in histories().items():
            provider.bar(name, NIGHT, levels[-1])
        provider.quote(f"O:{CALL}", 7.4, 7.6, at=EVENING)
        provider.quote(f"O:{PUT}", 3.2, 3.3, at=EVENING)
        yield provider


def run_main(arguments: list[str], out: Path, err: Path) -> None:
    """The life of a process: the command line with these arguments."""
    for stream, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), stream)
    sys.exit(main(arguments))
