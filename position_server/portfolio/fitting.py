"""What a worker process does for onboarding: factor fits of new symbols. compute/tasks.py names its functions.

A pool of its own: these workers write to the store, those of sections only read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from position_server.business_days import Calendar
from position_server.portfolio import factors
from position_server.portfolio.records import factors as fit_records
from position_server.settings import PortfolioSettings
from position_server.store.engine import Store, open_store


def open_workbench(store_url: str) -> Store:
    """The store, connected to when first used."""
    return open_store(store_url)


def fit(store: Store, names: Sequence[str], day: date, settings: PortfolioSettings, calendar: str) -> None:
    """Computes and writes the fits of equities on `day`, over what is there. Raises StoreUnavailable."""
    with store.read() as connection:
        found = factors.compute_fits(connection, day, names, settings, Calendar.named(calendar))
    with store.write() as connection:
        fit_records.write(connection, day, found.values())
