"""The store: the desk's tables, bulk reads from them, and files into them.

`engine` writes and migrates (SQLAlchemy Core, Alembic); `columns` and `snapshot` read in bulk to numpy (ADBC) and are
for worker processes; `load` takes a desk's CSV files. SQLite and PostgreSQL alike.
"""
