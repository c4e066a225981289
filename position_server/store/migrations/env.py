"""What Alembic runs around the migrations: on the connection that `store.migrate` hands it, in its transaction.

Does nothing when imported outside Alembic, and configures no logging.
"""

from __future__ import annotations

from alembic import context

from position_server.store.tables import METADATA


def run() -> None:
    """Run the migrations Alembic has chosen."""
    context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
    with context.begin_transaction():
        context.run_migrations()


if hasattr(context, "config"):
    run()
