"""What a worker keeps between runs, and that every commit of another process to its tables makes it read again.

Both backends.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest
from sqlalchemy import Integer, func, select

from position_server.errors import StoreUnavailable
from position_server.store.columns import ColumnReader, open_reader
from position_server.store.engine import open_store
from position_server.store.kept import Kept
from position_server.store.tables import VersionedTable, fx
from tests.postgres import POSTGRES_URL, fresh_schema
from tests.store.writers import DELETE, INSERT, UPDATE, Writers

CURVE = (
    "connection.execute(insert(curves), {'curve': 'C', 'curve_date': date(2025, 10, 30), 'tenor': '1Y', 'rate': 0.04})"
)
BOOKKEEPING = "connection.execute(insert(asset_sync), {'symbol': 'AAA', 'provider': 'p', 'sync_status': 'pending'})"
HURRIED_WRITER = """
import sys
from datetime import date
from sqlalchemy import update
from position_server.store.engine import open_store
from position_server.store.tables import curves, fx
mine = sys.argv[2]
changes = [update(fx).where(fx.c.pair == mine).values(rate=fx.c.rate + 1),
           update(curves).where(curves.c.tenor == mine).values(rate=curves.c.rate + 1)]
with open_store(sys.argv[1]) as store:
    for _ in range(100):
        with store.write() as connection:
            for change in changes if mine == "EURUSD" else reversed(changes):
                connection.execute(change)
"""


def rates(kept: Kept, reader: ColumnReader) -> list[float]:
    """What a run finds: the rates, read again where they are not kept."""
    kept.refresh()
    found: list[float] = kept.get("rates", ("fx",), lambda: reader.read(select(fx.c.rate)))["rate"].tolist()
    return found


@pytest.fixture
def kept(reader: ColumnReader) -> Kept:
    return Kept(reader)


def test_every_commit_of_another_process_is_seen_by_the_next_run(
    store_url: str, kept: Kept, reader: ColumnReader, writers: Writers
) -> None:
    assert rates(kept, reader) == []
    for statement, expected in ((INSERT, [1.25]), (UPDATE, [2.25]), (UPDATE, [3.25]), (DELETE, []), (INSERT, [1.25])):
        writers.commit(store_url, statement)
        assert rates(kept, reader) == expected


def test_what_is_not_committed_yet_is_seen_once_it_is(
    store_url: str, kept: Kept, reader: ColumnReader, writers: Writers
) -> None:
    with writers.transaction(store_url, INSERT):
        assert rates(kept, reader) == []
        assert rates(kept, reader) == []
    assert rates(kept, reader) == [1.25]


def test_rolled_back_transaction_changes_nothing(
    store_url: str, kept: Kept, reader: ColumnReader, writers: Writers
) -> None:
    writers.commit(store_url, INSERT)
    with writers.transaction(store_url, UPDATE, "rollback"):
        assert rates(kept, reader) == [1.25]
    assert rates(kept, reader) == [1.25]


def test_commit_during_a_run_is_seen_by_the_next(
    store_url: str, kept: Kept, reader: ColumnReader, writers: Writers
) -> None:
    kept.refresh()
    writers.commit(store_url, INSERT)
    kept.get("rates", ("fx",), lambda: reader.read(select(fx.c.rate)))
    writers.commit(store_url, UPDATE)
    assert rates(kept, reader) == [2.25]


def test_postgres_transactions_that_end_in_another_order_are_each_seen(
    postgres_store_url: str, writers: Writers
) -> None:
    """The older of two transactions commits last: the newest transaction's number alone would not tell."""
    with open_store(postgres_store_url) as store, store.write() as connection:
        connection.execute(fx.delete())
    pair = "connection.execute(insert(fx), {{'pair': '{}', 'fx_date': date(2025, 10, 30), 'rate': {}}})"
    with open_reader(postgres_store_url) as reader:
        kept = Kept(reader)
        assert rates(kept, reader) == []
        with writers.transaction(postgres_store_url, pair.format("USDJPY", 150.0)):
            writers.commit(postgres_store_url, pair.format("EURUSD", 1.25))
            assert rates(kept, reader) == [1.25]
        assert sorted(rates(kept, reader)) == [1.25, 150.0]


def test_nothing_is_read_again_while_the_store_stays_the_same(store_url: str, kept: Kept, writers: Writers) -> None:
    writers.commit(store_url, INSERT)
    built = []
    for _ in range(3):
        kept.refresh()
        kept.get("key", ("fx",), lambda: built.append(1))
    assert built == [1]


def test_kept_arrays_cannot_be_changed(store_url: str, kept: Kept, reader: ColumnReader, writers: Writers) -> None:
    writers.commit(store_url, INSERT)
    kept.refresh()
    column = kept.get("rates", ("fx",), lambda: reader.read(select(fx.c.rate)))["rate"]
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 0.0


def test_least_recently_used_is_dropped_over_the_budget(reader: ColumnReader) -> None:
    kept = Kept(reader, budget_bytes=2000)
    kept.refresh()
    built: list[str] = []

    def build(name: str) -> np.ndarray:
        built.append(name)
        return np.zeros(100)

    for name in ("first", "second", "first", "third", "first", "second"):
        kept.get(name, ("fx",), lambda name=name: build(name))
    assert built == ["first", "second", "third", "second"]


def test_value_larger_than_the_budget_is_not_kept_and_drops_nothing(reader: ColumnReader) -> None:
    kept = Kept(reader, budget_bytes=1000)
    kept.refresh()
    small, huge = kept.get("small", ("fx",), lambda: np.zeros(10)), kept.get("huge", ("fx",), lambda: np.zeros(1000))
    assert kept.get("small", ("fx",), lambda: np.ones(10)) is small
    assert kept.get("huge", ("fx",), lambda: np.ones(1000)) is not huge


def test_replaced_sqlite_file_is_read_anew(tmp_path: Path, writers: Writers) -> None:
    """Two files may have counted as many changes."""
    path, other = tmp_path / "store.sqlite", tmp_path / "other.sqlite"
    for place, statement in ((path, INSERT), (other, INSERT.replace("1.25", "2.25"))):
        with open_store(f"sqlite:///{place}") as store:
            store.upgrade()
        writers.commit(f"sqlite:///{place}", statement)
    with open_reader(f"sqlite:///{path}") as reader:
        kept = Kept(reader)
        assert rates(kept, reader) == [1.25]
        other.rename(path)
        assert rates(kept, reader) == [2.25]


def test_store_that_is_gone_is_unavailable_though_its_rows_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        store.upgrade()
    with open_reader(f"sqlite:///{path}") as reader:
        kept = Kept(reader)
        rates(kept, reader)
        path.unlink()
        with pytest.raises(StoreUnavailable):
            rates(kept, reader)


def test_new_connection_to_postgres_starts_anew(postgres_store_url: str) -> None:
    """Behind a new connection may be another server, restored from a copy."""
    with open_reader(postgres_store_url) as reader:
        before = reader.versions()
        [process] = reader.read(select(func.pg_backend_pid(type_=Integer).label("pid")))["pid"].tolist()
        with psycopg.connect(POSTGRES_URL, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [int(process)])
        assert reader.versions().origin != before.origin


def builds(kept: Kept, *tables: VersionedTable) -> int:
    """How often a value of these tables is built in one more run."""
    kept.refresh()
    built: list[int] = []
    kept.get(tables, tables, lambda: built.append(1))
    return len(built)


@pytest.mark.parametrize("statement", [CURVE, BOOKKEEPING])
def test_commit_to_other_tables_leaves_what_is_kept(
    store_url: str, kept: Kept, statement: str, writers: Writers
) -> None:
    assert builds(kept, "fx", "quotes") == 1
    writers.commit(store_url, statement)
    assert builds(kept, "fx", "quotes") == 0


def test_value_of_several_tables_is_built_again_when_one_of_them_changed(
    store_url: str, kept: Kept, writers: Writers
) -> None:
    assert (builds(kept, "fx", "curves"), builds(kept, "curves"), builds(kept, "closes")) == (1, 1, 1)
    writers.commit(store_url, CURVE)
    assert (builds(kept, "fx", "curves"), builds(kept, "curves"), builds(kept, "closes")) == (1, 1, 0)
    writers.commit(store_url, INSERT)
    assert (builds(kept, "fx", "curves"), builds(kept, "curves"), builds(kept, "closes")) == (1, 0, 0)


def test_value_of_a_table_whose_changes_nobody_counts_is_refused(kept: Kept) -> None:
    with pytest.raises(LookupError, match="api_keys"):
        kept.get("keys", ("fx", "api_keys"), list)  # type: ignore[arg-type]


def test_what_is_dropped_makes_room(store_url: str, reader: ColumnReader, writers: Writers) -> None:
    kept = Kept(reader, budget_bytes=1000)
    for _ in range(3):
        kept.refresh()
        kept.get("first", ("fx",), lambda: np.zeros(100))
        writers.commit(store_url, UPDATE if _ else INSERT)
    assert builds(kept, "closes") == 1
    kept.get("second", ("closes",), lambda: np.zeros(100))
    assert builds(kept, "closes") == 0


def test_hurried_writers_never_leave_a_run_with_rows_older_than_those_seen_before_it(
    store_url: str, kept: Kept, reader: ColumnReader, writers: Writers
) -> None:
    """Two processes change the same two tables in opposite order, row by row their own, and do not wait in a circle."""
    pairs = ("EURUSD", "USDJPY")
    for pair in pairs:
        writers.commit(store_url, INSERT.replace("EURUSD", pair) + "; " + CURVE.replace("1Y", pair))
    query = select(fx.c.rate).order_by(fx.c.pair)
    commands = [[sys.executable, "-c", HURRIED_WRITER, store_url, pair] for pair in pairs]
    writers = [subprocess.Popen(command) for command in commands]
    try:
        assert builds(kept, "closes") == 1
        while any(writer.poll() is None for writer in writers):
            seen = reader.read(query)["rate"]
            kept.refresh()
            found = kept.get("rates", ("fx",), lambda: reader.read(query))["rate"]
            assert (found >= seen).all()
        assert builds(kept, "closes") == 0
    finally:
        codes = [writer.wait() for writer in writers]
    assert codes == [0, 0]
    kept.refresh()
    assert kept.get("rates", ("fx",), lambda: reader.read(query))["rate"].tolist() == [101.25, 101.25]


def test_backup_restored_into_the_same_sqlite_file_is_read_anew(tmp_path: Path, writers: Writers) -> None:
    """As many changes before it as after it, but other ones."""
    path, backup = tmp_path / "store.sqlite", tmp_path / "backup.sqlite"
    url = f"sqlite:///{path}"
    restore = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
    with open_store(url) as store:
        store.upgrade()
    writers.commit(url, INSERT)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", [str(backup)])
    with open_reader(url) as reader:
        kept = Kept(reader)
        writers.commit(url, UPDATE)
        assert rates(kept, reader) == [2.25]
        subprocess.run([sys.executable, "-c", restore, backup, path], check=True)
        writers.commit(url, "connection.execute(update(fx).values(rate=9))")
        assert rates(kept, reader) == [9.0]


def test_dump_restored_into_the_same_postgres_database_is_read_anew(tmp_path: Path, writers: Writers) -> None:
    with fresh_schema() as url:
        with open_store(url) as store:
            store.upgrade()
        schema, dump = url.rpartition("=")[2], tmp_path / "dump"
        writers.commit(url, INSERT)
        command = ["pg_dump", "-Fc", "-n", schema, "-f", dump, POSTGRES_URL]
        subprocess.run(command, check=True)
        with open_reader(url) as reader:
            kept = Kept(reader)
            writers.commit(url, UPDATE)
            assert rates(kept, reader) == [2.25]
            subprocess.run(["pg_restore", "--clean", "-d", POSTGRES_URL, dump], check=True)
            writers.commit(url, "connection.execute(update(fx).values(rate=9))")
            assert rates(kept, reader) == [9.0]
