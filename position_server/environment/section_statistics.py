"""How each section has been doing: runs, failures, timeouts, latency. For `/status` and `/metrics`."""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from position_server.metrics import Metrics
from position_server.outcomes import SectionOutcome

log = logging.getLogger(__name__)
REMEMBERED = 500  # durations per section, for the percentiles


@dataclass(slots=True)
class _Record:
    runs: int = 0
    failures: int = 0
    timeouts: int = 0
    last_error: str | None = None
    durations_ms: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class SectionStatistics:
    """Counts outcomes by section. Callable from any thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()  # guards _records
        self._records: dict[str, _Record] = {}

    def know(self, names: Sequence[str]) -> None:
        """Shows these sections from the start, before their first run."""
        with self._lock:
            for name in names:
                self._records.setdefault(name, _Record())

    def record(self, outcome: SectionOutcome, *, timed_out: bool) -> None:
        """Counts one outcome, and logs a failed one with its traceback. A refused one is no failure."""
        if outcome.refused:
            self._metrics.section_runs.labels(outcome.section, "refused").inc()
            log.info("section refused a value", extra={"section": outcome.section, "error": outcome.error_line})
            return
        with self._lock:
            record = self._records.setdefault(outcome.section, _Record())
            record.runs += 1
            record.durations_ms.append(outcome.duration_ms)
            if outcome.failed:
                record.failures += 1
                record.timeouts += timed_out
                record.last_error = outcome.error_line
        how = "timeout" if timed_out else "error" if outcome.failed else "ok"
        self._metrics.section_runs.labels(outcome.section, how).inc()
        self._metrics.section_seconds.labels(outcome.section).observe(outcome.duration_ms / 1000)
        if outcome.failed:
            log.warning("section failed", extra={"section": outcome.section, "traceback": outcome.error_stack})

    def stats(self) -> dict[str, Any]:
        """`{section: {runs, failures, timeouts, p50_ms, p99_ms, last_error}}`."""
        with self._lock:
            return {
                name: {
                    "runs": record.runs,
                    "failures": record.failures,
                    "timeouts": record.timeouts,
                    "p50_ms": percentile(record.durations_ms, 0.50),
                    "p99_ms": percentile(record.durations_ms, 0.99),
                    "last_error": record.last_error,
                }
                for name, record in sorted(self._records.items())
            }


def percentile(values: Sequence[int], share: float) -> int | None:
    """The smallest value that at least `share` of `values` do not exceed (nearest rank); None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
