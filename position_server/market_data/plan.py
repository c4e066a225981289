"""The plan of the call budget: how old every symbol gets, which ones go stale, and what more of them would cost.

Pure: made of the budget and the assets' levels (ages.py has the model), before anything runs. What happened is in the
batch results.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from position_server.errors import BadRequest, Problem
from position_server.market_data.ages import Ages, Budget, Schedule
from position_server.market_data.priority_queue import Level


@dataclass(frozen=True, slots=True)
class SymbolPlan:
    """The ages of one symbol in seconds; None where there is no bound, and `reason` says why."""

    symbol: str
    level: Level
    expected_age_seconds: float | None
    worst_case_age_seconds: float | None
    goes_stale: bool  # its quote may get older than stale_after_seconds
    stale_pct: float  # expected percent of the time for which it is
    reason: str | None

    @classmethod
    def of(cls, symbol: str, level: Level, ages: Ages, stale_after: float) -> Self:
        """The plan of a symbol with these ages."""
        expected, worst, reason = ages
        period = math.inf if expected is None else 2 * expected
        stale_pct = 100 * max(0.0, 1 - stale_after / period)
        return cls(symbol, level, expected, worst, worst is None or worst > stale_after, stale_pct, reason)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: the expected age to a tenth, the bound rounded up to one."""
        worst, expected = self.worst_case_age_seconds, self.expected_age_seconds
        return {
            "symbol": self.symbol,
            "level": self.level.name,
            "expected_age_seconds": None if expected is None else round(expected, 1),
            "worst_case_age_seconds": None if worst is None else math.ceil(worst * 10) / 10,
            "goes_stale": self.goes_stale,
            "stale_pct": round(self.stale_pct, 1),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one set of assets."""

    priority_calls: int  # of one priority batch
    queue_calls: int  # for everything that joins the queue in one round
    utilisation_pct: float  # calls wanted, of those allowed
    symbols: tuple[SymbolPlan, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, without the symbols."""
        return {
            "priority_calls": self.priority_calls,
            "queue_calls": self.queue_calls,
            "utilisation_pct": round(self.utilisation_pct, 2),
            "goes_stale": [one.symbol for one in self.symbols if one.goes_stale],
        }


def plan(budget: Budget, levels: Mapping[str, Level]) -> Plan:
    """The plan of these symbols, in the order in which they are configured."""
    queued = [symbol for symbol, level in levels.items() if level is not Level.CRITICAL]
    refused = frozenset(sorted(queued, key=levels.__getitem__)[budget.queue_size :])  # the lowest levels join last
    schedule = Schedule(budget, Counter(level for symbol, level in levels.items() if symbol not in refused))
    ages = {level: schedule.ages(level) for level in schedule.counts}
    full: Ages = (None, None, f"the queue is full at {budget.queue_size:,} symbols and refuses it")
    symbols = tuple(
        SymbolPlan.of(symbol, level, full if symbol in refused else ages[level], budget.stale_after_seconds)
        for symbol, level in levels.items()
    )
    return Plan(schedule.p, schedule.J, schedule.utilisation_pct, symbols)


def plan_answer(budget: Budget, levels: Mapping[str, Level], added: Mapping[str, Level]) -> dict[str, Any]:
    """What `GET /batch/plan` answers: the plan with the additions, and beside it what was without them.

    Raises BadRequest where an addition is an asset already.
    """
    known = [Problem("add", f"{symbol} is an asset already") for symbol in added if symbol in levels]
    if known:
        raise BadRequest(known)
    before = plan(budget, levels)
    after = plan(budget, {**levels, **added}) if added else before
    rows = {one.symbol: one.to_dict() for one in before.symbols} if added else {}
    return {
        "budget": asdict(budget),
        **after.to_dict(),
        "before": before.to_dict() if added else None,
        "symbols": [
            {**one.to_dict(), "added": one.symbol in added, "before": _without_names(rows.get(one.symbol))}
            for one in after.symbols
        ],
    }


def _without_names(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if row is None else {name: value for name, value in row.items() if name not in ("symbol", "level")}
