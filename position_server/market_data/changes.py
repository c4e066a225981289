"""What changed in the store's quotes, whichever process wrote them: by the sequence number of each symbol.

Reads only, one transaction a call. A look at an unchanged store reads one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, select

from position_server.events.bus import PriceUpdate
from position_server.store.engine import Store
from position_server.store.tables import quote_sequences, quotes

SPREAD_DECIMALS = 10  # a difference of two prices, without the noise of binary fractions


@dataclass(frozen=True, slots=True)
class Numbers:
    """Every symbol's sequence number, and a mark that differs when one of them does."""

    mark: tuple[Any, ...]
    by_symbol: Mapping[str, int]


class Changes:
    """The sequence numbers in a store, and the quotes they count. Every method raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def numbers(self, mark: tuple[Any, ...] | None) -> Numbers | None:
        """All numbers; None where the mark is still `mark`."""
        column = quote_sequences.c
        with self._store.read() as connection:
            # The mark first: what is committed between the two reads has the next look read again, not miss it.
            marks = select(func.count(), func.sum(column.sequence), func.max(column.changed_at))
            now = tuple(connection.execute(marks).one())
            if now == mark:
                return None
            found = connection.execute(select(column.instrument, column.sequence)).all()
            return Numbers(now, {row.instrument: row.sequence for row in found})

    def updates(self, symbols: Iterable[str]) -> list[PriceUpdate]:
        """The newest quote of each of the symbols with the number it has, by symbol."""
        wanted = sorted(symbols)
        newest = (
            select(quotes.c.instrument, func.max(quotes.c.quote_time).label("quote_time"))
            .where(quotes.c.instrument.in_(wanted))
            .group_by(quotes.c.instrument)
            .subquery("newest")
        )
        same = and_(quotes.c.instrument == newest.c.instrument, quotes.c.quote_time == newest.c.quote_time)
        query = (
            select(quotes, quote_sequences.c.sequence)
            .join(newest, same)
            .join(quote_sequences, quote_sequences.c.instrument == quotes.c.instrument)
            .order_by(quotes.c.instrument, quotes.c.quote_date)
        )
        with self._store.read() as connection:
            found = {row["instrument"]: _update(row) for row in connection.execute(query).mappings()}
        return list(found.values())


def _update(row: Mapping[Any, Any]) -> PriceUpdate:
    has_both = row["bid"] is not None and row["ask"] is not None
    return PriceUpdate(
        symbol=row["instrument"],
        sequence=row["sequence"],
        bid=row["bid"],
        ask=row["ask"],
        spread=round(row["ask"] - row["bid"], SPREAD_DECIMALS) if has_both else None,
        last_price=row["last_price"],
        timestamp=row["quote_time"],
    )
