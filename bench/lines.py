"""A line of the table: what was measured, the goal, and whether it was met. Pure; measures nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound that a value must keep."""

    sense: Literal["≥", "≤", "="]
    bound: float

    def met(self, value: float) -> bool:
        """Whether the value keeps it."""
        if self.sense == "≥":
            return value >= self.bound
        return value <= self.bound if self.sense == "≤" else value == self.bound

    def __str__(self) -> str:
        return f"{self.sense} {self.bound:g}"


def at_least(bound: float) -> Goal:
    """The value must not be below the bound."""
    return Goal("≥", bound)


def at_most(bound: float) -> Goal:
    """The value must not be above the bound."""
    return Goal("≤", bound)


def exactly(bound: float) -> Goal:
    """The value must be the bound."""
    return Goal("=", bound)


@dataclass(frozen=True, slots=True)
class Line:
    """One measured value. `value` is None where it could not be measured; `spread` is the rounds' least and largest."""

    name: str
    value: float | None
    unit: str
    goal: str | None = None
    met: bool | None = None
    spread: tuple[float, float] | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def line(name: str, rounds: Sequence[float] | float, unit: str, goal: Goal | None = None, note: str = "") -> Line:
    """The median of the rounds and their spread, held against the goal. One number is a line without a spread."""
    values = [rounds] if isinstance(rounds, int | float) else list(rounds)
    value = statistics.median(values)
    spread = (min(values), max(values)) if len(values) > 1 else None
    return Line(name, value, unit, str(goal) if goal else None, goal.met(value) if goal else None, spread, note)


def not_measured(name: str, unit: str, why: str) -> Line:
    """A line that says why there is no value."""
    return Line(name, None, unit, note=why)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, so that what slows the machine for a while slows both sides of a ratio."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: a value that was observed, never one in between."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def table(lines: Sequence[Line]) -> str:
    """The lines as text, one below the other."""
    rows = [("what", "value", "spread", "goal", "")] + [_row(one) for one in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(row[:4], widths, strict=True)) + "  " + row[4] for row in rows
    )


def _row(one: Line) -> tuple[str, str, str, str, str]:
    value = "-" if one.value is None else f"{number(one.value)} {one.unit}"
    spread = f"{number(one.spread[0])} .. {number(one.spread[1])}" if one.spread else ""
    verdict = {True: "met", False: "MISSED", None: ""}[one.met]
    return one.name, value, spread, one.goal or "", "  ".join(part for part in (verdict, one.note) if part)


def number(value: float) -> str:
    """Three digits that count, thousands separated."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
