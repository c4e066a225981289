"""What one turn of the updater did: every figure counted while it happened. Plain data; records.py keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One batch: the priority assets, what was taken from the queue, or both.

    `priority_updated` counts the priority assets whose newest quote is in the store afterwards, `queue_processed` what
    was taken from the queue, failures included. `errors` are what went wrong beside single symbols.
    """

    batch_id: str
    started_at: datetime
    completed_at: datetime
    duration_ms: int
    priority_updated: int
    priority_failed: tuple[tuple[str, str], ...]  # symbol, error
    queue_processed: int
    queue_remaining: int
    api_calls_used: int
    rate_limit_waits: int
    errors: tuple[str, ...]

    @property
    def has_priority(self) -> bool:
        """Whether the priority assets were among it."""
        return bool(self.priority_updated or self.priority_failed)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "batch_id": self.batch_id,
            "started_at": iso(self.started_at),
            "completed_at": iso(self.completed_at),
            "duration_ms": self.duration_ms,
            "priority_updated": self.priority_updated,
            "priority_failed": [{"symbol": symbol, "error": error} for symbol, error in self.priority_failed],
            "queue_processed": self.queue_processed,
            "queue_remaining": self.queue_remaining,
            "api_calls_used": self.api_calls_used,
            "rate_limit_waits": self.rate_limit_waits,
            "errors": list(self.errors),
        }


def iso(moment: datetime) -> str:
    """ISO 8601 with the offset, to the millisecond."""
    return moment.isoformat(timespec="milliseconds")
