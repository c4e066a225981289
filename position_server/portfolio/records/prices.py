"""What the symbols batch reads of positions and instruments, and the closes that it reads and writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Select, and_, func, select
from sqlalchemy.dialects import postgresql, sqlite

from position_server.store.load.kinds import KINDS, Kind
from position_server.store.load.upsert import Changes, upsert
from position_server.store.load.validation import Batch, Cells
from position_server.store.tables import closes, instruments, positions, price_histories

CLOSES, HISTORIES = KINDS["closes"], Kind(price_histories, ())
MOST_NAMES = 10_000  # of one query: both databases have a limit of bound values
RECENT = timedelta(days=7)  # a book whose last positions are older than this is closed


@dataclass(frozen=True, slots=True)
class Terms:
    """What an instrument is, as far as pricing it is concerned."""

    instrument: str
    kind: str
    currency: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One day's prices of one instrument, in its currency and as traded; all but the close may be unknown."""

    day: date
    close: float
    open: float | None = None
    high: float | None = None
    low: float | None = None
    volume: float | None = None


def held(connection: Connection, day: date) -> list[tuple[Terms, str]]:
    """Each instrument of the books with the investment classes it is held in: the newest positions up to `day`."""
    newest = (
        select(positions.c.book, func.max(positions.c.pos_date).label("pos_date"))
        .where(positions.c.pos_date <= day, positions.c.pos_date > day - RECENT)
        .group_by(positions.c.book)
        .subquery()
    )
    query = (
        select(*_terms_columns(), positions.c.investment_class)
        .distinct()
        .join(positions, positions.c.instrument == instruments.c.instrument)
        .join(newest, and_(positions.c.book == newest.c.book, positions.c.pos_date == newest.c.pos_date))
        .order_by(instruments.c.instrument, positions.c.investment_class)
    )
    return [(Terms(*row[:-1]), row[-1]) for row in connection.execute(query)]


def last_classes(connection: Connection, name: str) -> set[str]:
    """The investment classes that an instrument was last held in, by any book; none where nobody ever held it."""
    c = positions.c
    last_day = select(func.max(c.pos_date)).where(c.instrument == name).scalar_subquery()
    query = select(c.investment_class).distinct().where(c.instrument == name, c.pos_date == last_day)
    return set(connection.execute(query).scalars())


def known(connection: Connection, names: Collection[str]) -> dict[str, Terms]:
    """The instruments of these names that the store has."""
    query = select(*_terms_columns())
    return {row[0]: Terms(*row) for row in among(connection, query, instruments.c.instrument, names)}


def equities(connection: Connection, currency: str) -> list[str]:
    """Every equity that the store knows in that currency."""
    query = select(instruments.c.instrument).where(instruments.c.kind == "EQUITY", instruments.c.currency == currency)
    return list(connection.execute(query).scalars())


def add_instrument(connection: Connection, values: Mapping[str, object]) -> None:
    """Adds an instrument, unless it is there."""
    added: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(added(instruments).values(dict(values)).on_conflict_do_nothing())


def closes_on(connection: Connection, day: date, names: Collection[str]) -> dict[str, tuple[float, str]]:
    """Close and source of `day`, of those that have one."""
    query = select(closes.c.instrument, closes.c.close, closes.c.source).where(closes.c.close_date == day)
    return {row[0]: (row[1], row[2]) for row in among(connection, query, closes.c.instrument, names)}


def window(
    connection: Connection, names: Collection[str], first: date, last: date
) -> Iterator[tuple[str, date, float]]:
    """(instrument, day, close) from `first` to `last`, both included."""
    query = select(closes.c.instrument, closes.c.close_date, closes.c.close).where(
        closes.c.close_date >= first, closes.c.close_date <= last
    )
    for row in among(connection, query, closes.c.instrument, names):
        yield row[0], row[1], row[2]


def without_history(connection: Connection, names: Collection[str], first: date, day: date, least: int) -> list[str]:
    """Those whose history back to `first` was never fetched, and that have under `least` closes before `day`."""
    fetched = select(price_histories.c.instrument).where(price_histories.c.fetched_from <= first)
    filled = (
        select(closes.c.instrument)
        .where(closes.c.close_date >= first, closes.c.close_date < day)
        .group_by(closes.c.instrument)
        .having(func.count() >= least)
    )
    there = {row[0] for row in among(connection, fetched, price_histories.c.instrument, names)}
    there |= {row[0] for row in among(connection, filled, closes.c.instrument, names)}
    return sorted(set(names) - there)


def write_day(connection: Connection, bars: Mapping[str, Bar]) -> Changes:
    """Writes bars of one day by instrument, at least one; a close that was entered by hand stays."""
    (day,) = {bar.day for bar in bars.values()}
    there = closes_on(connection, day, bars.keys())
    by_hand = {name for name, (_, source) in there.items() if source == "manual"}
    return _write(connection, [(name, bar) for name, bar in bars.items() if name not in by_hand])


def write_history(connection: Connection, instrument: str, bars: Iterable[Bar], first: date) -> Changes:
    """Adds the bars of days without a close, and that the history was fetched back to `first`."""
    query = select(closes.c.close_date).where(closes.c.instrument == instrument, closes.c.close_date >= first)
    there = set(connection.execute(query).scalars())
    changes = _write(connection, [(instrument, bar) for bar in bars if bar.day not in there])
    note_history(connection, [instrument], first)
    return changes


def note_history(connection: Connection, names: Iterable[str], first: date) -> None:
    """Remembers that these instruments' closes were asked for back to `first`."""
    cells: Cells = [*sorted(names)]
    upsert(connection, HISTORIES, Batch({"instrument": cells, "fetched_from": [first] * len(cells)}, len(cells)))


def _write(connection: Connection, rows: list[tuple[str, Bar]]) -> Changes:
    if not rows:
        return Changes(0, 0, 0)
    columns: dict[str, Cells] = {
        "instrument": [name for name, _ in rows],
        "close_date": [bar.day for _, bar in rows],
        **{field: [getattr(bar, field) for _, bar in rows] for field in ("close", "open", "high", "low", "volume")},
        "source": ["close"] * len(rows),
    }
    return upsert(connection, CLOSES, Batch(columns, len(rows)))


def among(connection: Connection, query: Select[Any], column: Column[Any], names: Collection[str]) -> Iterator[Any]:
    """The rows of `query` whose `column` is one of `names`, however many those are: asked for piece by piece."""
    wanted = sorted(set(names))
    for first in range(0, len(wanted), MOST_NAMES):
        yield from connection.execute(query.where(column.in_(wanted[first : first + MOST_NAMES])))


def _terms_columns() -> list[Column[Any]]:
    c = instruments.c
    return [c.instrument, c.kind, c.currency]
