"""Tie-out of a snapshot, position by position: against the EOD environment, and against the day before and its trades.

Three ways to the same numbers. The environment is computed apart from the snapshot, perhaps later. The third way rolls
the previous snapshot forward: trades change quantities and average entry prices, and what results is valued at the
snapshot's prices. They tie out where every market value agrees to the cent, and every quantity. Pure: no store.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from position_server.portfolio.records.snapshots import Snapshot, SnapshotPosition
from position_server.portfolio.records.trades import Trade

CENT = 0.01
HALF_CENT = CENT / 2  # two amounts agree to the cent where they differ by no more
ENTRY_DECIMALS = 10  # an average price is kept with so many
NEGLIGIBLE = 1e-9  # of a quantity: what floating point leaves of a position that was sold


@dataclass(frozen=True, slots=True)
class Holding:
    """A quantity, and the average price that was paid for it; None where that is not known."""

    quantity: float
    entry_price: float | None


@dataclass(frozen=True, slots=True)
class Taken:
    """The snapshot, its positions, and their instruments' multipliers by name."""

    snapshot: Snapshot
    positions: Sequence[SnapshotPosition]
    multipliers: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The book's last snapshot before, its positions, and the trades since."""

    day: date
    positions: Sequence[SnapshotPosition]
    trades: Sequence[Trade]


def tie_out(taken: Taken, environment: Mapping[str, Mapping[str, Any]], earlier: Earlier | None) -> dict[str, Any]:
    """What the three say of each position, and whether they agree.

    `environment` are its rows by instrument. Without an earlier snapshot nothing is rolled forward.
    """
    snapshot = taken.snapshot
    by_name = {one.instrument: one for one in taken.positions}
    rolled = None if earlier is None else rolled_forward(earlier)
    compared = [
        _compared(name, by_name.get(name), environment.get(name), rolled, taken.multipliers.get(name, 1.0))
        for name in sorted({*by_name, *environment, *(rolled or {})})
    ]
    off = sum(1 for one in compared if one["differences"])
    forward = None if rolled is None else _sum(one["market_value_base"]["rolled_forward"] for one in compared)
    return {
        "book": snapshot.book,
        "date": snapshot.snapshot_date.isoformat(),
        "currency": snapshot.currency,
        "ties_out": not off,
        "previous_snapshot": None if earlier is None else earlier.day.isoformat(),
        "trades": 0 if earlier is None else len(earlier.trades),
        "positions_compared": len(compared),
        "positions_off": off,
        "totals": {
            "snapshot": snapshot.total_value,
            "environment": _sum(row["market_value_base"] for row in environment.values()),
            "rolled_forward": forward,
        },
        "positions": compared,
    }


def rolled_forward(earlier: Earlier) -> dict[str, Holding]:
    """What an earlier snapshot's positions have become by trades; what was sold out is gone."""
    holdings: dict[str, Holding | None] = {
        one.instrument: Holding(one.quantity, one.entry_price) for one in earlier.positions
    }
    for trade in earlier.trades:
        holdings[trade.instrument] = traded(holdings.get(trade.instrument), trade.quantity, trade.price)
    return {name: holding for name, holding in holdings.items() if holding is not None}


def traded(holding: Holding | None, quantity: float, price: float) -> Holding | None:
    """The holding after a trade of `quantity` (signed) at `price`; None where nothing is left.

    Weighted average cost: adding averages the price by quantity, reducing leaves it, and crossing zero starts again at
    the trade's price.
    """
    if holding is None:
        return Holding(quantity, price)
    total = holding.quantity + quantity
    if abs(total) <= NEGLIGIBLE * abs(quantity):
        return None
    if holding.quantity * quantity > 0:
        if holding.entry_price is None:
            return Holding(total, None)
        cost = holding.quantity * holding.entry_price + quantity * price
        return Holding(total, round(cost / total, ENTRY_DECIMALS))
    return Holding(total, holding.entry_price if total * holding.quantity > 0 else price)


def _compared(
    name: str,
    taken: SnapshotPosition | None,
    row: Mapping[str, Any] | None,
    rolled: Mapping[str, Holding] | None,
    multiplier: float,
) -> dict[str, Any]:
    """One position: what each of the three says, and in words where they differ."""
    forward = (rolled or {}).get(name)
    quantity = {
        "snapshot": None if taken is None else taken.quantity,
        "environment": None if row is None else row["quantity"],
        "rolled_forward": None if forward is None else forward.quantity,
    }
    value = {
        "snapshot": None if taken is None else taken.market_value_base,
        "environment": None if row is None else row["market_value_base"],
        "rolled_forward": None if taken is None or forward is None else _value(taken, forward, multiplier),
    }
    differences = []
    for other in ("environment",) if rolled is None else ("environment", "rolled_forward"):
        if not _agree(quantity["snapshot"], quantity[other], NEGLIGIBLE * abs(quantity["snapshot"] or 0.0)):
            differences.append(f"{other}: quantity {quantity[other]}, not {quantity['snapshot']}")
        elif not _agree(value["snapshot"], value[other], HALF_CENT):
            differences.append(f"{other}: market value {value[other]}, not {value['snapshot']}")
    return {
        "instrument": name,
        "kind": None if taken is None else taken.kind,
        "quantity": quantity,
        "market_value_base": value,
        "differences": differences,
    }


def _value(taken: SnapshotPosition, rolled: Holding, multiplier: float) -> float | None:
    """The rolled holding in base currency, at the snapshot's price; a private one is worth what its value by hand says.

    Of a future it is the gain since entry, which depends on what the trades made of the average price.
    """
    if taken.market_value is None or taken.fx_rate is None:
        return None
    if taken.kind == "PRIVATE":
        return taken.market_value * taken.fx_rate
    if taken.kind == "FUTURE":
        if rolled.entry_price is None or taken.price is None:
            return None
        return rolled.quantity * multiplier * (taken.price - rolled.entry_price) * taken.fx_rate
    return taken.market_value / taken.quantity * rolled.quantity * taken.fx_rate if taken.quantity else 0.0


def _agree(one: float | None, other: float | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is None and other is None
    return abs(one - other) <= tolerance


def _sum(amounts: Iterable[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return math.fsum(known) if known else None
