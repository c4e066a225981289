"""Values of private positions, entered by hand: one per book, instrument and day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, delete, exists, insert, select

from position_server.store.tables import instruments, positions, private_valuations


@dataclass(frozen=True, slots=True)
class Valuation:
    """What a book's whole position was worth on a day, in the instrument's currency, and who said so when."""

    book: str
    instrument: str
    valued_on: date
    market_value: float
    valued_by: str
    entered_at: datetime


def kind_of_held(connection: Connection, book: str, instrument: str) -> tuple[str, str] | None:
    """Kind and currency of an instrument that the book holds or has held; None where it never did."""
    held = exists().where(positions.c.book == book, positions.c.instrument == instrument)
    row = connection.execute(
        select(instruments.c.kind, instruments.c.currency).where(instruments.c.instrument == instrument, held)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def put(connection: Connection, valuation: Valuation) -> bool:
    """Writes it over the one of that book, instrument and day; returns whether there was one."""
    c = private_valuations.c
    same = (
        c.book == valuation.book,
        c.instrument == valuation.instrument,
        c.valued_on == valuation.valued_on,
    )
    replaced = connection.execute(delete(private_valuations).where(*same)).rowcount == 1
    row = {name: getattr(valuation, name) for name in Valuation.__slots__}
    connection.execute(insert(private_valuations), row)
    return replaced
