"""The ledger of calls in the store: one document per budget, changed in one short transaction.

It does not know what the book of calls says (`call_book`), nor when to wait (`rate_limiter`). Threads may share it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from position_server.errors import StoreUnavailable
from position_server.market_data.call_book import Book, from_json, to_json
from position_server.store.engine import Store
from position_server.store.tables import call_budgets

T = TypeVar("T")

LOCK_TIMEOUT_SECONDS = 5.0  # on PostgreSQL, where a process that hangs would block the others for good


class StoreLedger:
    """The book of `budget` in the table `call_budgets`."""

    def __init__(self, store: Store, budget: str) -> None:
        self.budget = budget
        self._store = store
        self._mine = call_budgets.c.budget == budget

    def look(self) -> Book:
        """The book as it is now. Raises StoreUnavailable."""
        with self._store.read() as connection:
            document = connection.execute(select(call_budgets.c.book).where(self._mine)).scalar()
        return self._parsed(document)

    def change(self, step: Callable[[Book], tuple[Book, T]]) -> T:
        """Put the book that `step` makes of the present one in its place. Raises StoreUnavailable.

        The row is locked meanwhile, on SQLite the file: for as long as `step` and a commit take.
        """
        with self._store.write() as connection:
            book, result = step(self._parsed(self._locked(connection)))
            new = {"book": to_json(book).decode()}
            connection.execute(update(call_budgets).where(self._mine).values(new))
        return result

    def _locked(self, connection: Connection) -> str:
        """The document, which nobody else changes until the transaction ends; made where there is none yet."""
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_SECONDS * 1000:.0f}"))
        found = select(call_budgets.c.book).where(self._mine).with_for_update()
        document = connection.execute(found).scalar()
        if document is None:
            insert: Any = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            empty = {"budget": self.budget, "book": to_json(Book()).decode()}
            connection.execute(insert(call_budgets).values(empty).on_conflict_do_nothing())
            document = connection.execute(found).scalar_one()
        return str(document)

    def _parsed(self, document: str | None) -> Book:
        try:
            return Book() if document is None else from_json(document)
        except ValueError as error:
            raise StoreUnavailable(
                f"the ledger of calls {self.budget!r} cannot be read, and must be removed: {error}"
            ) from error
