"""BatchOrchestrator: the three beats of market data, and what each turn of them did.

One thread runs them, so nothing in a turn has to be guarded; other threads ask for a batch, and read what is replaced
whole. It fetches nothing itself (updater.py) and grants no calls (rate_limiter.py).

A turn does what is due, in this order: the priority batch; the other assets join the queue; the queue is drained with
the calls to spare. Whatever breaks in one of them is logged and counted, and the next turn comes at its time.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from position_server.clock import Clock
from position_server.errors import BatchFailed, PositionServerError
from position_server.market_data.assets import TICKERS_PER_CALL, Asset, calls_for, priority, secondary
from position_server.market_data.beats import Beat, HoldBack, Reserve
from position_server.market_data.meter import Meter
from position_server.market_data.priority_queue import Item, Level, PriorityQueue
from position_server.market_data.rate_limiter import Stopped
from position_server.market_data.results import BatchResult
from position_server.market_data.runs import STOPPED, Runs
from position_server.market_data.updater import Outcome
from position_server.metrics import Metrics
from position_server.settings import MarketDataSettings

log = logging.getLogger(__name__)
MOST_TROUBLES = 20
PRIORITY, SECONDARY, QUEUE = "priority_batch", "enqueue_secondary", "queue_processor"


class Updater(Protocol):
    """Who fetches and stores: AssetUpdater."""

    def update(self, assets: Sequence[Asset], stop: threading.Event) -> Mapping[str, Outcome]:
        """The outcome of each asset."""
        ...


@dataclass(slots=True)
class _Tally:
    """What a turn did so far."""

    started_at: datetime
    since: float
    calls_before: int
    waits_before: int
    updated: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    processed: int = 0
    errors: list[str] = field(default_factory=list)


class BatchOrchestrator:
    """The beats. `run` is a thread's; everything else may be called from any."""

    def __init__(
        self,
        assets: Iterable[Asset],
        settings: MarketDataSettings,
        *,
        updater: Updater,
        queue: PriorityQueue,
        meter: Meter,
        runs: Runs,
        make_ready: Callable[[], None],
        keep: Callable[[BatchResult], None],
        clock: Clock,
        metrics: Metrics | None = None,
    ) -> None:
        """`make_ready` prepares the store, `keep` keeps a result there; both may raise StoreUnavailable."""
        self._assets = {asset.symbol: asset for asset in assets}
        self._priority = priority(self._assets.values())
        self._updater = updater
        self._queue = queue
        self._meter = meter
        self._keep = keep
        self._clock = clock
        self._metrics = metrics or Metrics.create()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._hold_back = HoldBack()
        self._runs = runs
        self._make_ready = make_ready
        self._turns = 0
        self._troubles: list[str] = []  # what broke since all was well, each once in the log
        self.last_batch: BatchResult | None = None  # the newest with priority assets; replaced whole
        self._beats = {
            beat.id: beat
            for beat in (
                Beat(PRIORITY, "Priority batch", settings.priority_interval_seconds),
                Beat(SECONDARY, "Other assets join the queue", settings.secondary_interval_seconds),
                Beat(QUEUE, "Queue drained with the calls to spare", settings.queue_interval_seconds),
            )
        }

    def run(self) -> None:
        """Does what is due, now for the first time, until `stop`."""
        for beat in self._beats.values():
            beat.due = self._clock.monotonic()
        while not self._stop.is_set():
            self._wake.clear()
            now = self._clock.monotonic()
            due = {beat.id for beat in self._beats.values() if beat.take(now)}
            is_asked = self._runs.is_asked()
            if due or is_asked:
                self._turn(due, is_asked=is_asked)
            else:
                self._clock.wait(self._wake, min(beat.due for beat in self._beats.values()) - now)

    def stop(self) -> None:
        """Has `run` end, and whoever waits for a batch told so."""
        self._stop.set()
        self._runs.stop()
        self._wake.set()

    def wake(self) -> None:
        """Has `run` see that a batch was asked for."""
        self._wake.set()

    def jobs(self) -> list[tuple[str, str, datetime]]:
        """(id, name, next time) of each beat."""
        now, since = self._clock.now(), self._clock.monotonic()
        return [(b.id, b.name, now + timedelta(seconds=max(0.0, b.due - since))) for b in self._beats.values()]

    # --- a turn --------------------------------------------------------------------------------------------------

    def _turn(self, due: set[str], *, is_asked: bool) -> None:
        tally = _Tally(self._clock.now(), self._clock.monotonic(), self._meter.calls, self._meter.waits)
        is_batch, broken = is_asked or PRIORITY in due, None
        try:
            if is_batch:
                self._runs.begin()
                broken = self._guarded(tally, lambda: self._run_priority(tally, is_asked=is_asked))
            if SECONDARY in due:
                self._enqueue(secondary(self._assets.values()))
            if QUEUE in due:
                self._guarded(tally, lambda: self._drain(tally))
        except Stopped:
            self._runs.end(BatchFailed(STOPPED))
            return
        result = self._result(tally)
        if is_batch or tally.processed or tally.errors:
            self._guarded(tally, lambda: self._keep(result))
        if result.has_priority:
            self.last_batch = result  # once it can be found among the results
        if is_batch:
            self._runs.end(result if broken is None else BatchFailed(broken))
        if self._troubles and (is_batch or tally.processed) and not tally.errors:
            log.info("market data go on", extra={"after": self._troubles[0]})
            self._troubles = []

    def _guarded(self, tally: _Tally, part: Callable[[], None]) -> str | None:
        """Runs a part of the turn; its error, noted, where it broke. The log has it once, until all is well again."""
        try:
            part()
        except Stopped:
            raise
        except Exception as error:
            problem = _one_line(error)
            tally.errors += [] if problem in tally.errors else [problem]
            if problem not in self._troubles:
                unforeseen = None if isinstance(error, PositionServerError) else error
                level = logging.WARNING if unforeseen is None else logging.ERROR
                log.log(level, "a market-data batch broke", extra={"error": problem}, exc_info=unforeseen)
                self._troubles = [*self._troubles, problem][-MOST_TROUBLES:]
            return problem
        return None

    # --- its parts -----------------------------------------------------------------------------------------------

    def _run_priority(self, tally: _Tally, *, is_asked: bool) -> None:
        """All priority assets, a call's worth at a time. Those that fail get another try from the queue."""
        for first in range(0, len(self._priority), TICKERS_PER_CALL):
            held_back = self._hold_back.until - self._clock.monotonic()
            if held_back > 0 and not is_asked:
                why = f"not_authorised: the provider refused; nothing is asked for another {held_back:.0f} s"
                tally.failed += [(asset.symbol, why) for asset in self._priority[first:]]
                return
            try:
                self._make_ready()
                outcomes = self._update(self._priority[first : first + TICKERS_PER_CALL])
            except Stopped:
                raise
            except Exception as error:  # none is at fault: each gets another try as soon as there is one
                tally.failed += [(asset.symbol, _one_line(error)) for asset in self._priority[first:]]
                self._enqueue(self._priority[first:])
                raise
            self._note(tally, outcomes.values())
            is_asked = False

    def _note(self, tally: _Tally, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            if outcome.error is None:
                tally.updated += 1
                continue
            tally.failed.append((outcome.symbol, outcome.error))
            if not outcome.is_final:
                self._queue.enqueue(outcome.symbol, Level.CRITICAL)

    def _drain(self, tally: _Tally) -> None:
        """As many calls' worth of the queue as can be spared. What fails waits for the next drain."""
        if not self._queue.size():
            return
        self._make_ready()
        again: list[tuple[Item, str]] = []
        try:
            while self._may_call():
                items = self._queue.take(TICKERS_PER_CALL)
                tally.processed += len(items)
                again += self._fetched(items)
        finally:
            for item, error in again:
                self._queue.requeue(item, error)

    def _may_call(self) -> bool:
        """Whether something waits, and a call for it takes nothing from the next priority batch."""
        now, batch = self._clock.monotonic(), self._beats[PRIORITY]
        if self._stop.is_set() or not self._queue.size() or now < self._hold_back.until:
            return False
        if self._priority and batch.due <= now:
            return False  # it is its turn
        return self._meter.has_call_to_spare(Reserve(calls_for(self._priority), batch.due, batch.interval_seconds))

    def _fetched(self, items: Sequence[Item]) -> list[tuple[Item, str]]:
        """Fetches them; those to be tried again. What is no fault of theirs costs them no try."""
        try:
            outcomes = self._update([self._assets[item.symbol] for item in items])
        except BaseException:
            self._enqueue(items)
            raise
        self._enqueue(item for item in items if outcomes[item.symbol].is_refused)
        failed = [(item, outcomes[item.symbol]) for item in items]
        return [
            (item, outcome.error)
            for item, outcome in failed
            if outcome.error is not None and not (outcome.is_final or outcome.is_refused)
        ]

    def _enqueue(self, items: Iterable[Item | Asset]) -> None:
        for item in items:
            self._queue.enqueue(item.symbol, item.level)

    def _update(self, assets: Sequence[Asset]) -> Mapping[str, Outcome]:
        outcomes = self._updater.update(assets, self._stop)
        for outcome in outcomes.values():
            self._metrics.asset_updates.labels("ok" if outcome.error is None else "failed").inc()
        if any(outcome.is_refused for outcome in outcomes.values()):
            seconds = self._hold_back.refused(self._clock.monotonic())
            log.error("the provider refuses us", extra={"seconds_held_back": seconds})
        elif any(not outcome.is_final for outcome in outcomes.values()):
            self._hold_back.let_in()
        return outcomes

    def _result(self, tally: _Tally) -> BatchResult:
        self._turns += 1
        return BatchResult(
            batch_id=f"{tally.started_at:%Y%m%dT%H%M%S.%f}-{os.getpid()}-{self._turns}",
            started_at=tally.started_at,
            completed_at=self._clock.now(),
            duration_ms=round((self._clock.monotonic() - tally.since) * 1000),
            priority_updated=tally.updated,
            priority_failed=tuple(tally.failed),
            queue_processed=tally.processed,
            queue_remaining=self._queue.size(),
            api_calls_used=self._meter.calls - tally.calls_before,
            rate_limit_waits=self._meter.waits - tally.waits_before,
            errors=tuple(tally.errors),
        )


def _one_line(error: Exception) -> str:
    return f"{getattr(error, 'code', type(error).__name__)}: {error}"
