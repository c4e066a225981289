"""MarketData: the face of the room, for the application, the command line and HTTP.

`start` starts one thread, `market-data`, which imports what it needs (SQLAlchemy, the provider's client) and runs the
beats; the caller does not wait for that. Everything that is shown can be read where nothing is fetched, too: another
process may fetch into the same store. What reads the store blocks; call it from threads.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from position_server import threads
from position_server.clock import Clock
from position_server.errors import MarketDataDisabled, PositionServerError, StoreUnavailable
from position_server.events.bus import PriceUpdate
from position_server.market_data.ages import Budget
from position_server.market_data.assets import assets_of, priority
from position_server.market_data.plan import plan_answer
from position_server.market_data.priority_queue import Level, PriorityQueue
from position_server.market_data.results import BatchResult, iso
from position_server.market_data.rows import asset_row, run_answer
from position_server.market_data.runs import Runs
from position_server.metrics import Metrics
from position_server.settings import Settings

if TYPE_CHECKING:
    from position_server.market_data.batch import BatchOrchestrator
    from position_server.market_data.room import Room

log = logging.getLogger(__name__)
JOIN_SECONDS = 5.0  # a call that is under way is not cut short


class MarketData:
    """The updater of one server, or of a process of its own."""

    def __init__(self, settings: Settings, clock: Clock, *, fetches: bool, metrics: Metrics | None = None) -> None:
        """`fetches` False: everything is shown, and nothing fetched."""
        self._settings = settings
        self._clock = clock
        self._assets = assets_of(settings.market_data)
        self._fetches = fetches and bool(self._assets)
        self._queue = PriorityQueue(clock)
        self._metrics = metrics or Metrics.create()
        self._metrics.assets_waiting.set_function(self._queue.size)
        self._runs = Runs()
        self._lock = threading.Lock()  # guards the opening of the room, and what is there when it is time to stop
        self._stopped = False
        self._room: Room | None = None
        self._orchestrator: BatchOrchestrator | None = None
        self._publish: Callable[[PriceUpdate], None] = lambda _: None
        self._thread = threading.Thread(target=self._run, name="market-data", daemon=True)

    @property
    def fetches(self) -> bool:
        """Whether quotes are fetched here."""
        return self._fetches

    # --- its life ------------------------------------------------------------------------------------------------

    def start(self, publish: Callable[[PriceUpdate], None]) -> None:
        """Starts the thread, where there is anything to fetch. `publish` hears of every quote that was stored."""
        self._publish = publish
        if self._fetches:
            self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end."""
        with self._lock:
            self._stopped = True
            orchestrator = self._orchestrator
        self._runs.stop()
        if orchestrator is not None:
            orchestrator.stop()

    def join(self) -> None:
        """Waits for the thread's end, says so where it does not, and closes everything."""
        if not threads.join(self._thread, JOIN_SECONDS):
            return  # it still uses what would be closed
        with self._lock:
            room, self._room = self._room, None
        if room is not None:
            room.close()

    def is_running(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def trouble(self) -> str | None:
        """Why no quotes come, by the newest priority batch of this process, in one line; None: they do, or may yet."""
        if self._thread.ident is not None and not self._thread.is_alive():
            return "the updater has ended; the log says why"
        last = self._orchestrator.last_batch if self._orchestrator is not None else None
        if last is None or last.priority_updated or not last.priority_failed:
            return None
        symbol, error = last.priority_failed[0]
        return f"{symbol}: {error}"

    def _run(self) -> None:
        try:
            self._fetch()
        except PositionServerError as error:
            log.error("market data cannot start", extra={"error": error.message})
        except Exception:
            log.exception("market data broke off")
        finally:
            self._runs.stop()  # however it ended: nobody waits for a batch that never comes

    def _fetch(self) -> None:
        room = self._open()
        orchestrator = room.orchestrator(self._assets, self._queue, self._runs, self._publish, self._metrics)
        with self._lock:
            self._orchestrator = orchestrator
            stopped = self._stopped
        if not stopped:
            log.info("market data started", extra={"assets": len(self._assets)})
            orchestrator.run()

    def _open(self) -> Room:
        # Under the lock, although it imports: whoever comes meanwhile needs the very same thing.
        with self._lock:
            if self._room is None:
                from position_server.market_data.room import Room  # not at the top: SQLAlchemy, httpx

                self._room = Room(self._settings, self._clock)
            return self._room

    # --- what is asked -------------------------------------------------------------------------------------------

    def run_now(self) -> Future[dict[str, Any]]:
        """The priority batch, run now, or the one that runs already: `{success, batch_id, result, message}`.

        The future's error is BatchFailed where the batch broke as a whole. Raises MarketDataDisabled at once where
        nothing is fetched here. Does not block.
        """
        if not self._fetches:
            raise MarketDataDisabled
        answer: Future[dict[str, Any]] = Future()
        answer.set_running_or_notify_cancel()  # whoever gives up waiting cancels nothing
        batch = self._runs.ask()
        if self._orchestrator is not None:
            self._orchestrator.wake()
        batch.add_done_callback(lambda done: _answer(answer, done))
        return answer

    def status(self) -> dict[str, Any]:
        """`{batch_id, status, last_run, next_run, priority_assets, queue_size, api_calls_remaining, jobs}`.

        `batch_id` and `last_run` are of the newest batch with priority assets. What the store cannot tell now is null.
        """
        orchestrator = self._orchestrator if self.is_running() else None
        jobs = [] if orchestrator is None else orchestrator.jobs()
        last = self._last_batch()
        return {
            "batch_id": last.batch_id if last else "",
            "status": "running" if self.is_running() else "stopped",
            "last_run": iso(last.started_at) if last else None,
            "next_run": iso(jobs[0][2]) if jobs else None,
            "priority_assets": [asset.symbol for asset in priority(self._assets)],
            "queue_size": self._queue.size(),
            "api_calls_remaining": self._calls_remaining(),
            "jobs": [{"id": id_, "name": name, "next_run": iso(at)} for id_, name, at in jobs],
        }

    def queue_stats(self) -> dict[str, Any]:
        """The queue in numbers."""
        return self._queue.get_stats()

    def rate_limit(self) -> dict[str, Any]:
        """The call budget in numbers. Raises StoreUnavailable."""
        stats = self._open().limiter.get_stats()
        return {name: iso(value) if isinstance(value, datetime) else value for name, value in stats.items()}

    def results(self, limit: int) -> list[dict[str, Any]]:
        """The newest batch results, newest first. Raises StoreUnavailable."""
        return [result.to_dict() for result in self._open().records.results(limit)]

    def assets(self) -> list[dict[str, Any]]:
        """Every asset with its newest quote and how its updates go. Raises StoreUnavailable.

        One whose last update is over `stale_after_seconds` old is `stale`, whether or not anything runs that could
        have said so.
        """
        records, now = self._open().records, self._clock.now()
        longest = timedelta(seconds=self._settings.market_data.stale_after_seconds)
        statuses = records.statuses()
        quotes = records.newest_quotes(asset.symbol for asset in self._assets)
        return [
            asset_row(asset, statuses.get(asset.symbol, {}), quotes.get(asset.symbol, {}), now, longest)
            for asset in self._assets
        ]

    def plan(self, add: Mapping[str, Level]) -> dict[str, Any]:
        """How old each symbol gets under the budget, and with `add` what more symbols would cost. Raises BadRequest."""
        budget = Budget.of(self._settings.market_data)
        return plan_answer(budget, {asset.symbol: asset.level for asset in self._assets}, add)

    def _last_batch(self) -> BatchResult | None:
        if self._orchestrator is not None and self._orchestrator.last_batch is not None:
            return self._orchestrator.last_batch
        try:
            return next(iter(self._open().records.results(1, with_priority=True)), None)
        except StoreUnavailable:
            return None  # the batches are shown again with the store

    def _calls_remaining(self) -> int | None:
        try:
            return self._open().limiter.get_remaining()
        except StoreUnavailable:
            return None


def _answer(answer: Future[dict[str, Any]], done: Future[BatchResult]) -> None:
    error = done.exception()
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(run_answer(done.result()))
