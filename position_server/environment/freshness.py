"""Keeps the last good data: newest outcomes over what was there give ok, stale or error. Pure; no clock, no lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from position_server.outcomes import SectionOutcome

RESTORED = "restored after a restart and not yet recomputed"


@dataclass(frozen=True, slots=True)
class SectionState:
    """A section as it is served.

    `outcome` is the newest computation that gave data, or the failure where none ever did. `obtained` is the monotonic
    time at which the server had it. A stale one also knows since when, and what failed since; one that was restored
    after a restart knows of no failure.
    """

    outcome: SectionOutcome
    version: int
    obtained: float
    failure: SectionOutcome | None = None
    stale_since: datetime | None = None

    @property
    def status(self) -> str:
        """ok | stale | error, as metadata says it."""
        if self.outcome.failed:
            return "error"
        return "stale" if self.stale_since else "ok"

    @property
    def stale_reason(self) -> str | None:
        """Why it is stale, in one line; None where it is not."""
        if self.failure is not None:
            return self.failure.error_line
        return RESTORED if self.stale_since else None

    @property
    def error_stack(self) -> str:
        """The traceback of the newest computation, where it failed."""
        return self.failure.error_stack if self.failure else self.outcome.error_stack

    @property
    def has_data(self) -> bool:
        """Whether there is anything to show."""
        return not self.outcome.failed


States = Mapping[str, SectionState]


def merge(previous: States | None, outcomes: Iterable[SectionOutcome], monotonic: float) -> dict[str, SectionState]:
    """What to serve after `outcomes`: a failure over good data is stale and keeps the data. Sorted by name."""
    before = previous or {}
    merged = {outcome.section: _next_state(before.get(outcome.section), outcome, monotonic) for outcome in outcomes}
    return dict(sorted(merged.items()))


def _next_state(before: SectionState | None, outcome: SectionOutcome, monotonic: float) -> SectionState:
    version = before.version if before else 0
    if not outcome.failed:
        return SectionState(outcome, version + 1, monotonic)
    if before is None or not before.has_data:
        return SectionState(outcome, version, monotonic)
    return replace(before, failure=outcome, stale_since=before.stale_since or outcome.computed_at)
