"""The triggers that count a table's changes in `table_versions`.

For migrations: those that make a table whose rows workers keep, and those that make such a table anew (SQLite drops a
table's triggers with it).

What is here belongs to migrations that have run: add to it, do not change it.

SQLite has triggers for rows only, and nothing that tells a row's trigger whether it is the transaction's first: each
row counts, for 0.7 microseconds. On PostgreSQL a transaction counts once, at its first statement; also one that found
no row to change.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

EVENTS = ("INSERT", "UPDATE", "DELETE")

# An upsert: a row that somebody deleted comes back by itself.
SQLITE_TRIGGER = """
CREATE TRIGGER count_{table}_{event} AFTER {event} ON {table} BEGIN
    INSERT INTO table_versions (table_name, lane, version) VALUES ('{table}', 0, 1)
    ON CONFLICT (table_name, lane) DO UPDATE SET version = version + 1;
END
"""

# SECURITY DEFINER, and with a search path of its own: who may write a table may count its changes, from any schema.
# Counting at every statement would leave as many dead rows, and a transaction of 20,000 would take 14 times as long:
# a setting that lasts as long as the transaction, or the savepoint, says that it has counted.
# A lane that another transaction holds is passed over, so nobody waits. A transaction that is not READ COMMITTED would
# fail at a lane that somebody used since its snapshot: it takes a new one. So does who finds no lane free. A lane's
# number is that of the transaction that made it: no two make the same one.
POSTGRESQL_FUNCTION = """
CREATE FUNCTION count_table_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE
    this_transaction text := txid_current();
    counted_by text := 'position_server.counted_' || TG_RELID;
BEGIN
    IF current_setting(counted_by, true) = this_transaction THEN
        RETURN NULL;
    END IF;
    PERFORM set_config(counted_by, this_transaction, true);
    IF current_setting('transaction_isolation') = 'read committed' THEN
        UPDATE table_versions SET version = version + 1
        WHERE (table_name, lane) = (
            SELECT table_name, lane FROM table_versions WHERE table_name = TG_TABLE_NAME
            ORDER BY lane LIMIT 1 FOR UPDATE SKIP LOCKED
        );
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    INSERT INTO table_versions AS lanes (table_name, lane, version) VALUES (TG_TABLE_NAME, txid_current(), 1)
    ON CONFLICT (table_name, lane) DO UPDATE SET version = lanes.version + 1;
    RETURN NULL;
END
$$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER count_changes AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION count_table_change()
"""
# Also where a session says it is a replica, as some bulk loads do to skip the checks of foreign keys.
POSTGRESQL_ALWAYS = "ALTER TABLE {table} ENABLE ALWAYS TRIGGER count_changes"


def create_counter() -> None:
    """What the triggers of all tables call, where that is something of its own."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
        connection.exec_driver_sql(POSTGRESQL_FUNCTION.format(schema=schema))


def drop_counter() -> None:
    """The opposite, once no table counts its changes any more."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("DROP FUNCTION count_table_change()")


def count_changes_of(table: str) -> None:
    """From now on every change of `table` raises its version."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(POSTGRESQL_TRIGGER.format(table=table))
        connection.exec_driver_sql(POSTGRESQL_ALWAYS.format(table=table))
        return
    for event in EVENTS:
        connection.exec_driver_sql(SQLITE_TRIGGER.format(table=table, event=event.lower()))


def stop_counting_changes_of(table: str) -> None:
    """From now on no change of `table` raises its version."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"DROP TRIGGER count_changes ON {table}")
        return
    for event in EVENTS:
        connection.exec_driver_sql(f"DROP TRIGGER count_{table}_{event.lower()}")
