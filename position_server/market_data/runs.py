"""Who waits for a priority batch: one future for everybody who asked for the same one. Starts nothing itself.

Asked by any thread, answered by the one that runs the batches.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future

from position_server.errors import BatchFailed
from position_server.market_data.results import BatchResult

STOPPED = "the updater was stopped"


class Runs:
    """The batch that runs, and the one that was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all of it, and that each future is answered once
        self._running: Future[BatchResult] | None = None
        self._asked: Future[BatchResult] | None = None
        self._stopped = False

    def ask(self) -> Future[BatchResult]:
        """The batch that runs, else the next one. It cannot be cancelled: others may wait for it."""
        with self._lock:
            if self._running is not None:
                return self._running
            future = self._asked or _new_future()
            if self._stopped:
                _answer(future, BatchFailed(STOPPED))
            else:
                self._asked = future
            return future

    def is_asked(self) -> bool:
        """Whether somebody waits for a batch to begin."""
        return self._asked is not None

    def begin(self) -> None:
        """A batch begins: from here on whoever asks joins it."""
        with self._lock:
            if not self._stopped:
                self._running, self._asked = self._asked or _new_future(), None

    def end(self, result: BatchResult | BatchFailed) -> None:
        """It is over."""
        with self._lock:
            running, self._running = self._running, None
            if running is not None:
                _answer(running, result)

    def stop(self) -> None:
        """There will be no more: whoever waits is told so."""
        with self._lock:
            self._stopped = True
            for future in (self._running, self._asked):
                if future is not None:
                    _answer(future, BatchFailed(STOPPED))
            self._running = self._asked = None


def _new_future() -> Future[BatchResult]:
    future: Future[BatchResult] = Future()
    future.set_running_or_notify_cancel()
    return future


def _answer(future: Future[BatchResult], result: BatchResult | BatchFailed) -> None:
    if isinstance(result, BatchFailed):
        future.set_exception(result)
    else:
        future.set_result(result)
