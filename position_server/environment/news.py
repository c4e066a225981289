"""News of the market: which symbols changed, whom that concerns, whether it was taken up. Pure; no clock, no lock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from position_server.environment.cache import Entry


@dataclass(frozen=True, slots=True)
class News:
    """That these symbols changed (None: that any may have), and the monotonic time of the oldest event that said so."""

    symbols: frozenset[str] | None
    since: float

    def joined(self, other: News | None) -> News:
        """Both."""
        if other is None:
            return self
        either_any = self.symbols is None or other.symbols is None
        symbols = None if either_any else self.symbols | other.symbols  # type: ignore[operator]
        return News(symbols, min(self.since, other.since))

    def used_by(self, entry: Entry) -> News | None:
        """What of it concerns the environment; None where nothing does."""
        if self.symbols is None:
            return self
        used = frozenset().union(*(state.outcome.symbols & self.symbols for state in entry.states.values()))
        return replace(self, symbols=used) if used else None

    def missing_in(self, entry: Entry) -> bool:
        """Whether a section that should have taken it up still serves older data, since its computation failed."""
        stale = (state for state in entry.states.values() if state.status == "stale")
        return any(self.symbols is None or state.outcome.symbols & self.symbols for state in stale)
