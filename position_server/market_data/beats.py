"""Beats and their arithmetic: what is due when, how many calls a drain may make, how long to hold back. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LATENESS_SECONDS = 0.25  # the limiter may count a call from so much later on than it was permitted


@dataclass(slots=True)
class Beat:
    """Something that is done every `interval_seconds`, the first time at `due`; times are of a monotonic clock."""

    id: str
    name: str
    interval_seconds: float
    due: float = 0.0

    def take(self, now: float) -> bool:
        """Whether it is due; then its next time is the next one of the grid. Beats that were missed are not made up."""
        if now < self.due:
            return False
        self.due += self.interval_seconds * (math.floor((now - self.due) / self.interval_seconds) + 1)
        return True


@dataclass(frozen=True, slots=True)
class Reserve:
    """The calls that the priority batches need: `calls` at `next_batch` and every `interval_seconds` from then on."""

    calls: int
    next_batch: float
    interval_seconds: float

    def calls_to_spare(self, now: float, limit: int, span_seconds: float, sent: Sequence[float], others: int) -> int:
        """How many calls may be made now so that each of these batches finds its own when it is due.

        At most `limit` calls are allowed in a span. `sent` are the times of those made so far, `others` how many more
        there are of which nobody here knows when they were made.
        """
        counts_for = span_seconds + LATENESS_SECONDS
        spare = limit - others - sum(now - call < span_seconds for call in sent)
        ahead = math.ceil((now + counts_for - self.next_batch) / self.interval_seconds) if self.calls else 0
        for number in range(ahead):  # every batch that a call of now would still count for
            batch = self.next_batch + number * self.interval_seconds
            still = sum(batch - call < counts_for for call in sent)
            batches = 1 + min(number, math.floor(counts_for / self.interval_seconds))  # it, and those just before it
            spare = min(spare, limit - others - still - self.calls * batches)
        return max(0, spare)


@dataclass(slots=True)
class HoldBack:
    """How long nothing is asked of a provider that does not let us in: longer each time, until it does."""

    first_seconds: float = 60.0
    longest_seconds: float = 900.0
    until: float = -math.inf  # of a monotonic clock
    _seconds: float = 0.0

    def refused(self, now: float) -> float:
        """The provider refused: the seconds to hold back."""
        self._seconds = min(max(self.first_seconds, 2 * self._seconds), self.longest_seconds)
        self.until = now + self._seconds
        return self._seconds

    def let_in(self) -> None:
        """The provider answered."""
        self._seconds, self.until = 0.0, -math.inf
