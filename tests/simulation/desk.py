"""A small market and a simulation service on it: real store, real transactions; workers in this process if wanted."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from position_server.business_days import Calendar
from position_server.clock import Clock, SystemClock
from position_server.compute.pool import Kind, Task
from position_server.settings import SimulationSettings
from position_server.simulation import model_day, registry
from position_server.simulation.jobs import JobService, Parts
from position_server.simulation.requests import TriggerRequest
from position_server.store import tables
from position_server.store.engine import Store

CALENDAR = Calendar.named("XNYS")
SYMBOLS = ("AAA", "BBB", "CCC", "ORLY")  # ORLY splits on 2025-06-10
DAYS = CALENDAR.between(date(2025, 6, 2), date(2025, 6, 30))
RunDay = Callable[[model_day.Workbench, Any], float]


def bars(seed: int = 1, symbols: Sequence[str] = SYMBOLS, days: Iterable[date] = DAYS) -> list[dict[str, Any]]:
    """Rows of `closes`: random walks with prices of two to four decimals."""
    dice = random.Random(seed)
    price = {symbol: dice.uniform(20, 300) for symbol in symbols}
    rows = []
    for day in days:
        for symbol in symbols:
            opened = round(price[symbol] * dice.uniform(0.98, 1.02), dice.choice((2, 3, 4)))
            close = round(opened * dice.uniform(0.97, 1.03), dice.choice((2, 3, 4)))
            price[symbol] = close
            high, low = max(opened, close) * 1.01, min(opened, close) * 0.99
            rows.append(bar(symbol, day, opened, high, low, close))
    return rows


def bar(symbol: str, day: date, opened: float | None, high: float, low: float, close: float) -> dict[str, Any]:
    """One row of `closes`."""
    values = {"open": opened, "high": high, "low": low, "close": close, "volume": 1000.0}
    return {"instrument": symbol, "close_date": day, **values}


def fill(store: Store, rows: Sequence[Mapping[str, Any]], symbols: Sequence[str] = SYMBOLS) -> None:
    """Puts equities and their bars into an empty store."""
    with store.write() as connection:
        equities = [{"instrument": name, "kind": "EQUITY", "currency": "USD"} for name in symbols]
        connection.execute(insert(tables.instruments), equities)
        connection.execute(insert(tables.closes), rows)


def config(*models: Mapping[str, Any], **other: Any) -> dict[str, Any]:
    """A configuration; without models, one that buys and holds."""
    listed = list(models) or [{"name": "holder", "kind": "buy_and_hold"}]
    return {"models": listed, "initial_cash": 100_000, **other}


class InlinePool:
    """The pool of a job without processes: a model-day runs when it is submitted, on the runner's thread."""

    workers = 2

    def __init__(self, store_url: str, run_day: RunDay = model_day.run_model_day) -> None:
        self._bench = model_day.open_workbench(store_url, "USD")
        self._run_day = run_day

    def submit(self, _: Kind, work: Sequence[Task]) -> list[Future[Any]]:
        futures = []
        for task in work:
            future: Future[Any] = Future()
            try:
                future.set_result(self._run_day(self._bench, *task.arguments))
            except Exception as error:  # noqa: BLE001 as the pool does
                future.set_exception(error)
            futures.append(future)
        return futures

    def close(self) -> None:
        self._bench.store.close()


@dataclass
class Desk:
    """A store with prices, a folder of configurations, and services on them."""

    store: Store
    url: str
    folder: Path

    def configure(self, content: Mapping[str, Any]) -> None:
        """Writes the default configuration."""
        file = self.folder / "configs" / "default_config.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))

    @contextmanager
    def pool(self, run_day: RunDay = model_day.run_model_day) -> Iterator[Any]:
        pool = InlinePool(self.url, run_day)
        try:
            yield pool
        finally:
            pool.close()

    @contextmanager
    def service(
        self,
        *,
        run_day: RunDay = model_day.run_model_day,
        open_pool: Callable[[], Any] | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> Iterator[JobService]:
        """A service that runs what it is told to."""
        parts = Parts(
            store=self.store,
            settings=SimulationSettings(**settings),
            calendar=CALENDAR,
            currency="USD",
            clock=clock or SystemClock(),
            data_dir=self.folder,
            root=self.folder,
            open_pool=open_pool or (lambda: self.pool(run_day)),
            check_models=registry.problems_of,
            new_id=lambda: uuid.uuid4().hex,
        )
        with JobService(parts) as service:
            yield service

    def simulate(self, start: date = DAYS[0], end: date = DAYS[-1], **other: Any) -> str:
        """Runs the range to its end; returns the job's id."""
        with self.service() as service:
            outcome = service.trigger(TriggerRequest(start_date=start, end_date=end, **other))
            service.run(outcome.job.job_id)  # type: ignore[union-attr]
        return outcome.job.job_id  # type: ignore[union-attr]

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """Every row of a table, in the order of its key, without what no run has in common: ids and times of jobs."""
        table = tables.METADATA.tables[name]
        columns = [c for c in table.c if c.name not in ("job_id", "duration_seconds") and not c.name.endswith("_at")]
        with self.store.read() as connection:
            return [
                tuple(row)
                for row in connection.execute(table.select().with_only_columns(*columns).order_by(*table.primary_key))
            ]

    def outcome(self) -> dict[str, list[tuple[Any, ...]]]:
        """What simulations leave behind, to be compared."""
        names = ("sim_positions", "sim_holdings", "sim_trades", "sim_reasoning_logs", "sim_tool_usage", "positions")
        return {name: self.rows(name) for name in names}
