"""Building the demo desk's store: all of it or nothing, and the same bytes every time.

A SQLite store is built in a file beside its place and renamed there when it is complete: a build that is killed leaves
the old store, or none. Into PostgreSQL the data are loaded in place, over what is there. No clock is read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path

from sqlalchemy import func, select

from position_server.business_days import Calendar
from position_server.demo import rows
from position_server.demo.books import History, trade_history
from position_server.demo.contracts import futures
from position_server.demo.desk import Instrument, instruments
from position_server.demo.market_rows import bar_rows, close_rows, curve_rows, fx_rows
from position_server.demo.proxies import proxy_bars, proxy_instruments
from position_server.demo.quotes import Quote, quotes
from position_server.demo.ranges import tape
from position_server.demo.sources import Bar, Market, read_market
from position_server.demo.theory import Closes, theory
from position_server.portfolio.records.prices import note_history
from position_server.store.engine import open_store
from position_server.store.load import load_file
from position_server.store.location import SqliteLocation, parse_location
from position_server.store.tables import METADATA

FIRST_POSITIONS, LAST_DAY = date(2025, 9, 29), date(2025, 10, 30)
MODEL_FROM = date(2025, 9, 2)  # theoretical closes begin; before it some futures have nothing deliverable
FIRST_BUYING, LAST_BUYING = date(2025, 9, 8), date(2025, 9, 26)  # when what the books start with was bought
HISTORY_FROM = date(2020, 1, 1)  # stocks' closes count as asked for back to here: there are none to be had before June
UNFINISHED = ".building-"  # behind the name of a store that is being built; the process id follows
LARGE_SCALE, COPIED_DAYS = 5, 5  # from this scale on copies exist on so many last days only
TABLES = ("instruments", "positions", "trades", "quotes", "closes", "curves", "fx")


class DemoExistsError(Exception):
    """There is a store already, and nobody said that it may be replaced."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Everything that goes into the store, before copies."""

    market: Market
    desk: tuple[Instrument, ...]
    model_closes: Closes
    history: History
    quotes: tuple[Quote, ...]
    proxies: Mapping[str, Mapping[date, Bar]]

    def with_history(self) -> list[str]:
        """The stocks and proxies whose history is shipped."""
        stocks = {row.instrument for row in self.desk if row.kind == "EQUITY"}
        return sorted([*(stocks & self.market.bars.keys()), *self.proxies])


def build_demo(store_url: str, *, scale: int = 1, force: bool = False) -> dict[str, int]:
    """Build the demo desk in the store at `store_url`; returns the rows of each table.

    `scale` is how many times the instruments and positions are there. Raises DemoExistsError where a SQLite store
    exists and `force` is not given.
    """
    location = parse_location(store_url)
    if not isinstance(location, SqliteLocation):
        return _fill(store_url, scale)
    if location.path.exists() and not force:
        raise DemoExistsError(f"there is a store at {location} already; --force replaces it")
    with _replacing(location.path) as unfinished:
        return _fill(f"sqlite:///{unfinished}", scale)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to build in; renamed to `path` at the end, removed where an exception ends it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    unfinished = path.with_name(f"{path.name}{UNFINISHED}{os.getpid()}")
    try:
        yield unfinished
        _finish(unfinished)
        _remove_log(path)
        unfinished.replace(path)
    finally:
        _remove(unfinished)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed builds left beside `path`: files that name a process which is no longer there."""
    for left in path.parent.glob(f"{path.name}{UNFINISHED}*"):
        process = left.name.rpartition("-")[2]
        if process.isdigit() and not _is_running(int(process)):
            _remove(left)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_log(path)


def _remove_log(path: Path) -> None:
    """A write-ahead log belongs to the file it was written for: beside another file it would be replayed into it."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _finish(path: Path) -> None:
    """Pages in one order whatever the way they came in, everything in the one file, and that file on the disk."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _fill(store_url: str, scale: int) -> dict[str, int]:
    demo = make_demo()
    with open_store(store_url) as store:
        store.upgrade()
        for kind, lines in load_files(demo, scale).items():
            load_file(store, kind, lines)
        with store.write() as connection:
            note_history(connection, demo.with_history(), HISTORY_FROM)
        with store.read() as connection:
            return {
                name: connection.scalar(select(func.count()).select_from(METADATA.tables[name])) or 0 for name in TABLES
            }


def make_demo() -> Demo:
    """The whole desk in memory, at scale 1."""
    market, calendar = read_market(), Calendar.named("XNYS")
    contracts = futures(market, calendar)
    desk = tuple(instruments(market, contracts, calendar))
    model_days = calendar.between(MODEL_FROM, LAST_DAY)
    model = theory(market, contracts, desk, model_days)
    ranges = tape(market, desk, model.values, model_days)
    days = calendar.between(FIRST_POSITIONS, LAST_DAY)
    history = trade_history(desk, ranges, days, calendar.between(FIRST_BUYING, LAST_BUYING))
    return Demo(market, desk, model.closes, history, tuple(quotes(desk, market, ranges, days)), proxy_bars(market))


def load_files(demo: Demo, scale: int) -> dict[str, Iterator[str]]:
    """The lines of every load file, by kind, in the order to load them."""
    classes = {row.instrument: row.investment_class for row in demo.desk}
    uncopied = frozenset(row.instrument for row in demo.desk if row.kind == "BOND") | demo.proxies.keys()
    since = _copied_since(demo, scale)
    instrument_rows = rows.instrument_rows([*rows.with_copies(demo.desk, scale), *proxy_instruments()])
    all_closes = chain(close_rows(demo.market, demo.model_closes), bar_rows(demo.proxies))
    closes = rows.lines(rows.CLOSE_COLUMNS, all_closes)
    positions = rows.lines(rows.POSITION_COLUMNS, rows.position_rows(demo.history, classes))
    trades = rows.lines(rows.TRADE_COLUMNS, rows.trade_rows(demo.history))
    quoted = rows.lines(rows.QUOTE_COLUMNS, rows.quote_rows(demo.quotes))
    return {
        "instruments": rows.lines(rows.INSTRUMENT_COLUMNS, instrument_rows),
        "curves": rows.lines(rows.CURVE_COLUMNS, curve_rows(demo.market)),
        "fx": rows.lines(rows.FX_COLUMNS, fx_rows(demo.market)),
        "closes": rows.copied(closes, scale, since=since, at=1, without=uncopied),
        "positions": rows.copied(positions, scale, since=since, at=2),
        "trades": rows.copied(trades, scale, names=2, since=since, at=3),
        "quotes": rows.copied(quoted, scale, since=LAST_DAY.isoformat(), at=1),
    }


def _copied_since(demo: Demo, scale: int) -> str:
    """The first day that copies exist on, as an ISO date; empty where they exist on all of them."""
    return "" if scale < LARGE_SCALE else sorted(demo.history.positions)[-COPIED_DAYS].isoformat()
