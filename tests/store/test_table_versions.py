"""The versions of tables: which writes count, whoever makes them, and that writers do not hold up each other."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, delete, func, insert, select, update

from position_server.store import migrate
from position_server.store.engine import Store, open_store
from position_server.store.location import PostgresLocation
from position_server.store.tables import (
    METADATA,
    VERSIONED_TABLES,
    asset_sync,
    curves,
    factor_exposures,
    factor_fits,
    fx,
    instruments,
    table_versions,
)
from tests.postgres import POSTGRES_URL, fresh_schema
from tests.store.factories import ENV_DATE, Row, close, instrument, position, quote, trade

ROWS: dict[str, Row] = {
    "closes": close("A", ENV_DATE, 1.0),
    "curves": {"curve": "C", "curve_date": ENV_DATE, "tenor": "1Y", "rate": 0.04},
    "factor_exposures": {"instrument": "A", "exposure_date": ENV_DATE, "factor": "SPY", "beta": 1.0},
    "factor_fits": {"instrument": "A", "fit_date": ENV_DATE, "observations": 60, "flags": "[]"},
    "fx": {"pair": "EURUSD", "fx_date": ENV_DATE, "rate": 1.25},
    "instruments": instrument("B"),
    "positions": position("CUPS", "A"),
    "private_valuations": {
        "book": "EXO",
        "instrument": "A",
        "valued_on": ENV_DATE,
        "market_value": 1.0,
        "valued_by": "desk",
        "entered_at": datetime(2025, 10, 30, 16, tzinfo=UTC),
    },
    "quotes": quote("A", ENV_DATE),
    "trades": trade("1", "CUPS", "A"),
}
CHANGES: dict[str, Row] = {
    "closes": {"close": 2.0},
    "curves": {"rate": 0.05},
    "factor_exposures": {"beta": 2.0},
    "factor_fits": {"observations": 61},
    "fx": {"rate": 2.0},
    "instruments": {"name": "another"},
    "positions": {"quantity": 2.0},
    "private_valuations": {"market_value": 2.0},
    "quotes": {"last_price": 2.0},
    "trades": {"price": 2.0},
}
GO_WITH = {"factor_fits": {"factor_exposures"}}  # PostgreSQL looks for them though there are none


def versions(store: Store) -> dict[str, int]:
    """The version of each table."""
    query = select(table_versions.c.table_name, func.sum(table_versions.c.version)).group_by(
        table_versions.c.table_name
    )
    with store.read() as connection:
        return {name: int(version) for name, version in connection.execute(query)}


def raised_by(store: Store, write: Callable[[Connection], object]) -> set[str]:
    """The tables whose versions are higher after the write than before it."""
    before = versions(store)
    with store.write() as connection:
        write(connection)
    after = versions(store)
    assert all(after[name] >= version for name, version in before.items())
    return {name for name, version in after.items() if version > before.get(name, 0)}


@pytest.fixture
def known(store: Store) -> None:
    """The instrument that rows of other tables name."""
    with store.write() as connection:
        connection.execute(insert(instruments), [instrument("A")])


@pytest.mark.parametrize("name", VERSIONED_TABLES)
@pytest.mark.usefixtures("known")
def test_every_kind_of_change_raises_the_version_of_its_table_and_no_other(store: Store, name: str) -> None:
    table = METADATA.tables[name]
    if name == "factor_exposures":
        with store.write() as connection:
            connection.execute(insert(factor_fits), [ROWS["factor_fits"]])
    assert raised_by(store, lambda connection: connection.execute(insert(table), [ROWS[name]])) == {name}
    assert raised_by(store, lambda connection: connection.execute(update(table).values(CHANGES[name]))) == {name}
    raised = raised_by(store, lambda connection: connection.execute(delete(table)))
    assert {name} <= raised <= {name} | GO_WITH.get(name, set())


@pytest.mark.usefixtures("known")
def test_rows_that_go_with_others_raise_the_version_of_their_table_too(store: Store) -> None:
    with store.write() as connection:
        for table in (factor_fits, factor_exposures):
            connection.execute(insert(table), [ROWS[table.name]])
    raised = raised_by(store, lambda connection: connection.execute(delete(factor_fits)))
    assert raised == {"factor_fits", "factor_exposures"}


def test_bookkeeping_raises_no_version(store: Store) -> None:
    row = {"symbol": "A", "provider": "p", "sync_status": "pending"}
    assert raised_by(store, lambda connection: connection.execute(insert(asset_sync), [row])) == set()


def test_rolled_back_savepoint_raises_no_version(store: Store) -> None:
    def write(connection: Connection) -> None:
        with connection.begin_nested() as savepoint:
            connection.execute(insert(fx), [ROWS["fx"]])
            savepoint.rollback()

    assert raised_by(store, write) == set()


def test_version_that_somebody_deleted_comes_back_with_the_next_change(store: Store) -> None:
    with store.write() as connection:
        connection.execute(delete(table_versions))
    assert raised_by(store, lambda connection: connection.execute(insert(fx), [ROWS["fx"]])) == {"fx"}


@pytest.mark.parametrize("statement", ["INSERT OR REPLACE INTO", "REPLACE INTO", "INSERT OR IGNORE INTO"])
def test_other_ways_to_insert_into_sqlite_count_too(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "store.sqlite"
    with open_store(f"sqlite:///{path}") as store:
        store.upgrade()
        before = versions(store)
        for rate in (1.25, 1.5):
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(f"{statement} fx VALUES ('EURUSD', '2025-10-30', ?)", [rate])
        assert versions(store)["fx"] == before["fx"] + (1 if "IGNORE" in statement else 2)


@pytest.fixture(scope="module")
def desk() -> Iterator[Store]:
    """A store on PostgreSQL with two pairs and a curve, in a schema that is nobody's search path."""
    with fresh_schema() as url, open_store(url) as store:
        store.upgrade()
        fill(store)
        yield store


def fill(store: Store) -> None:
    with store.write() as connection:
        for table, row, other in ((fx, ROWS["fx"], {"pair": "USDJPY"}), (curves, ROWS["curves"], {"tenor": "2Y"})):
            connection.execute(delete(table))
            connection.execute(insert(table), [row, row | other])


@contextmanager
def psql(desk: Store, **options: Any) -> Iterator[psycopg.Connection[Any]]:
    """A session that is not the program's. It fails rather than wait for anybody."""
    with psycopg.connect(POSTGRES_URL, **options) as connection:
        connection.execute("SET lock_timeout = '5s'")
        connection.execute("SET deadlock_timeout = '1s'")
        connection.commit()
        yield connection


def in_schema(desk: Store, statement: str) -> str:
    assert isinstance(desk.location, PostgresLocation)
    return statement.format(schema=desk.location.schema)


RAISE_EURUSD = "UPDATE {schema}.fx SET rate = rate + 1 WHERE pair = 'EURUSD'"
RAISE_USDJPY = "UPDATE {schema}.fx SET rate = rate + 1 WHERE pair = 'USDJPY'"
RAISE_1Y = "UPDATE {schema}.curves SET rate = rate + 1 WHERE tenor = '1Y'"
RAISE_2Y = "UPDATE {schema}.curves SET rate = rate + 1 WHERE tenor = '2Y'"


@pytest.mark.parametrize(
    "statements",
    [
        [RAISE_EURUSD],
        ["SET session_replication_role = replica", RAISE_EURUSD],
        ["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", RAISE_EURUSD, RAISE_USDJPY],
        ["CREATE TEMPORARY TABLE table_versions (table_name text, lane bigint, version bigint)", RAISE_EURUSD],
        ["SAVEPOINT here", RAISE_EURUSD, "ROLLBACK TO here", RAISE_EURUSD],
    ],
)  # fmt: skip
def test_postgres_session_of_anybody_counts(desk: Store, statements: list[str]) -> None:
    before = versions(desk)
    with psql(desk) as session:
        for statement in statements:
            session.execute(in_schema(desk, statement))
    assert versions(desk)["fx"] > before["fx"]


def test_postgres_table_that_is_emptied_and_copied_into_counts_twice(desk: Store) -> None:
    before = versions(desk)
    with psql(desk) as session:
        session.execute(in_schema(desk, "TRUNCATE {schema}.fx"))
    between = versions(desk)
    copying = in_schema(desk, "COPY {schema}.fx FROM STDIN")
    with psql(desk) as session, session.cursor() as cursor, cursor.copy(copying) as copy:
        copy.write_row(("GBPUSD", ENV_DATE, 1.3))
    assert before["fx"] < between["fx"] < versions(desk)["fx"]
    fill(desk)


def test_postgres_role_that_may_write_rates_only_counts(desk: Store) -> None:
    before, role = versions(desk), f"clerk_{uuid.uuid4().hex[:12]}"
    with psql(desk, autocommit=True) as session:
        session.execute(f"CREATE ROLE {role}")
        try:
            session.execute(in_schema(desk, f"GRANT USAGE ON SCHEMA {{schema}} TO {role}"))
            session.execute(in_schema(desk, f"GRANT SELECT, UPDATE ON {{schema}}.fx TO {role}"))
            session.execute(f"SET ROLE {role}")
            session.execute(in_schema(desk, RAISE_EURUSD))
        finally:
            session.execute("RESET ROLE")
            session.execute(f"DROP OWNED BY {role}")
            session.execute(f"DROP ROLE {role}")
    assert versions(desk)["fx"] > before["fx"]


def test_postgres_writers_in_opposite_order_neither_wait_nor_deadlock(desk: Store) -> None:
    before = versions(desk)
    with psql(desk) as one, psql(desk) as other:
        one.execute(in_schema(desk, RAISE_EURUSD))
        other.execute(in_schema(desk, RAISE_1Y))
        one.execute(in_schema(desk, RAISE_2Y))
        other.execute(in_schema(desk, RAISE_USDJPY))
        other.commit()
        between = versions(desk)
        assert before["fx"] < between["fx"]
        one.commit()
        assert between["fx"] < versions(desk)["fx"]


def test_postgres_writer_whose_snapshot_is_older_than_anothers_commit_counts(desk: Store) -> None:
    before = versions(desk)
    with psql(desk) as one, psql(desk) as other:
        one.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        one.execute("SELECT 1")
        other.execute(in_schema(desk, RAISE_EURUSD))
        other.commit()
        one.execute(in_schema(desk, RAISE_USDJPY))
    assert versions(desk)["fx"] == before["fx"] + 2


def test_postgres_writers_one_after_another_share_a_lane(desk: Store) -> None:
    lanes = select(func.count()).select_from(table_versions).where(table_versions.c.table_name == "curves")
    with psql(desk, autocommit=True) as session:
        for _ in range(5):
            session.execute(in_schema(desk, RAISE_1Y))
        session.execute("BEGIN")
        session.execute(in_schema(desk, RAISE_1Y))
        with psql(desk, autocommit=True) as other:
            for _ in range(5):
                other.execute(in_schema(desk, RAISE_2Y))
        session.execute("COMMIT")
    with desk.read() as connection:
        assert connection.execute(lanes).scalar_one() == 2


def test_what_counts_can_be_taken_away_and_brought_back(store: Store) -> None:
    config = migrate._config()
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0007")
        connection.execute(insert(fx), [ROWS["fx"]])
        command.upgrade(config, "head")
    assert raised_by(store, lambda connection: connection.execute(delete(fx))) == {"fx"}
