"""The store's transactions and migrations, on both backends."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from position_server.errors import ConfigError, StoreUnavailable
from position_server.store.engine import Store, open_store
from position_server.store.tables import METADATA, closes, instruments, table_versions, trades
from tests.postgres import empty

EQUITY = {"instrument": "AAPL", "kind": "EQUITY", "currency": "USD"}


def checks(connection: Connection) -> dict[str, set[str | None]]:
    """The names of the check constraints in the database, by table."""
    names = {table.name: inspect(connection).get_check_constraints(table.name) for table in METADATA.sorted_tables}
    return {table: {check["name"] for check in found} for table, found in names.items()}


def test_schema_after_all_migrations_is_that_of_the_tables(store: Store) -> None:
    with store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []


def test_check_constraints_after_all_migrations_are_those_of_the_tables(store: Store, tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'tables.sqlite'}") as fresh:
        fresh.upgrade()
        with fresh.write() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(text(f"DROP TABLE IF EXISTS {table.name}"))
            METADATA.create_all(connection)
        with fresh.read() as expected, store.read() as connection:
            assert checks(connection) == checks(expected)


def test_upgrading_twice_changes_nothing(store: Store) -> None:
    store.upgrade()
    assert store.is_current()


def test_upgrade_creates_the_file_and_its_folder(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path / 'new' / 'a %20 é?#' / 'store.sqlite'}") as store:
        store.upgrade()
        assert store.is_current()
    assert (tmp_path / "new" / "a %20 é?#" / "store.sqlite").exists()


def test_upgrade_leaves_the_logging_configuration_alone(tmp_path: Path) -> None:
    root, disabled = logging.getLogger(), logging.getLogger("position_server").disabled
    before = (root.level, list(root.handlers), disabled)
    with open_store(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        store.upgrade()
    assert (root.level, list(root.handlers), logging.getLogger("position_server").disabled) == before


def test_store_without_tables_is_not_current(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.sqlite").execute("PRAGMA user_version = 1").connection.close()
    with open_store(f"sqlite:///{tmp_path / 'empty.sqlite'}") as store:
        assert not store.is_current()


def test_two_upgrades_at_once_both_succeed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            with open_store(url) as store:
                store.upgrade()
        except StoreUnavailable as error:
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_write_commits_at_its_end(store: Store) -> None:
    with store.write() as connection:
        connection.execute(insert(instruments), [EQUITY])
    with store.read() as connection:
        assert connection.execute(select(instruments.c.multiplier)).scalar_one() == 1.0


def test_exception_rolls_the_whole_write_back(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(insert(instruments), [EQUITY, EQUITY])
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(instruments)).scalar_one() == 0


def test_close_of_an_unknown_instrument_is_refused(store: Store) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(insert(closes), [{"instrument": "NOPE", "close_date": date(2025, 10, 30), "close": 1.0}])


@pytest.mark.parametrize("wrong", [{"kind": "STOCK"}, {"option_right": "X"}, {"multiplier": 0.0}])
def test_wrong_value_is_refused_by_a_constraint(store: Store, wrong: dict[str, object]) -> None:
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(insert(instruments), [EQUITY | wrong])


def trade(trade_time: datetime) -> dict[str, object]:
    return {
        "trade_id": "1", "book": "CUPS", "instrument": "AAPL", "trade_date": date(2025, 10, 30),
        "trade_time": trade_time, "side": "BUY", "quantity": 1.0, "price": 1.0,
    }  # fmt: skip


def test_timestamps_come_back_in_utc(store: Store) -> None:
    eastern = datetime(2025, 10, 30, 16, 0, 0, 123456, tzinfo=timezone(timedelta(hours=-4)))
    with store.write() as connection:
        connection.execute(insert(instruments), [EQUITY])
        connection.execute(insert(trades), [trade(eastern)])
    with store.read() as connection:
        found = connection.execute(select(trades.c.trade_time)).scalar_one()
    assert (found, found.tzinfo) == (datetime(2025, 10, 30, 20, 0, 0, 123456, tzinfo=UTC), UTC)


def test_naive_timestamps_are_refused(store: Store) -> None:
    with pytest.raises(StatementError, match="needs an offset"), store.write() as connection:
        connection.execute(insert(trades), [trade(datetime(2025, 10, 30, 16, 0))])  # noqa: DTZ001


def test_missing_file_is_unavailable_and_stays_missing(tmp_path: Path) -> None:
    path = tmp_path / "missing.sqlite"
    with open_store(f"sqlite:///{path}") as store, pytest.raises(StoreUnavailable, match=r"missing\.sqlite"):
        store.is_current()
    assert not path.exists()


def test_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    path.write_text("this is no database, it is a text that is long enough to be taken for one\n" * 50)
    with open_store(f"sqlite:///{path}") as store, pytest.raises(StoreUnavailable, match="not a database"):
        store.is_current()


def test_locked_file_is_unavailable_after_the_busy_timeout(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with open_store(url) as holder, open_store(url, busy_timeout_seconds=0.01) as store:
        holder.upgrade()
        with holder.write(), pytest.raises(StoreUnavailable, match="locked"), store.write():
            pass


def test_a_store_whose_connections_are_all_in_use_is_unavailable_until_one_is_free(store_url: str) -> None:
    with open_store(store_url) as made:
        made.upgrade()
    with open_store(store_url, busy_timeout_seconds=0.05) as store:
        with pytest.raises(StoreUnavailable, match="is busy: all its connections are in use"):
            read_at_once(store, 100)
        assert store.is_current()


def read_at_once(store: Store, count: int) -> None:
    with ExitStack() as busy:
        for _ in range(count):
            busy.enter_context(store.read()).execute(text("SELECT 1"))


def test_reading_goes_on_while_another_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with open_store(url) as writer, open_store(url, read_only=True) as store:
        writer.upgrade()
        with writer.write() as connection:
            connection.execute(insert(instruments), [EQUITY])
            with store.read() as reading:
                assert reading.execute(select(func.count()).select_from(instruments)).scalar_one() == 0


def test_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with open_store(f"sqlite:///{tmp_path / 'file' / 'store.sqlite'}") as store, pytest.raises(StoreUnavailable):
        store.upgrade()


def test_read_only_store_refuses_to_write(store_url: str) -> None:
    with open_store(store_url, read_only=True) as store, pytest.raises(StoreUnavailable, match="reading only"):  # noqa: SIM117
        with store.write():
            pass


def test_postgres_that_is_down_is_unavailable_in_one_line_without_the_password() -> None:
    with open_store("postgresql://desk:secret@127.0.0.1:1/desk") as store, pytest.raises(StoreUnavailable) as caught:
        store.is_current()
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    ["", "no url", "mysql://localhost/desk", "sqlite://", "sqlite:///:memory:", "postgresql://h/d?schema=x;drop"],
)
def test_wrong_store_url_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match="STORE"):
        open_store(url)


def test_a_file_that_another_has_replaced_is_the_store_from_then_on(tmp_path: Path) -> None:
    file, other = tmp_path / "store.sqlite", tmp_path / "other.sqlite"
    with open_store(f"sqlite:///{file}") as store, open_store(f"sqlite:///{other}") as replacement:
        store.upgrade()
        replacement.upgrade()
        with replacement.write() as connection:
            connection.execute(insert(instruments), [EQUITY])
        replacement.close()  # which moves the write-ahead log into the file
        with store.read() as connection:
            assert connection.execute(select(instruments)).all() == []
        for log in ("-wal", "-shm"):  # of the old file: SQLite would play it back into the new one
            file.with_name(file.name + log).unlink(missing_ok=True)
        other.replace(file)
        with store.read() as connection:
            assert [row.instrument for row in connection.execute(select(instruments))] == ["AAPL"]
        file.unlink()
        for transaction in (store.read, store.write):
            with pytest.raises(StoreUnavailable, match="No such file"), transaction():
                pass


def test_of_two_transactions_that_deadlock_one_is_tried_again(postgres_store_url: str) -> None:
    together, tries = threading.Barrier(2), []

    def in_order(first: str, second: str) -> None:
        def work(connection: Connection) -> None:
            tries.append(first)
            for name in (first, second):
                connection.execute(instruments.update().where(instruments.c.instrument == name).values(currency="EUR"))
                if name == first and len(tries) <= 2:
                    together.wait(60)  # now each holds what the other one wants

        with open_store(postgres_store_url) as store:
            store.write_retried(work)

    with open_store(postgres_store_url) as store:
        empty(store, but=table_versions)
        with store.write() as connection:
            connection.execute(insert(instruments), [{**EQUITY, "instrument": name} for name in "AB"])
        threads = [threading.Thread(target=in_order, args=order) for order in ("AB", "BA")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        with store.read() as connection:
            assert set(connection.execute(select(instruments.c.currency)).scalars()) == {"EUR"}
    assert len(tries) >= 3  # the one that is tried again may come upon the other one's locks once more
