"""Nights on the demo desk: both batches on its last two days, as the commands run them."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path
from typing import Any

from position_server.business_days import Calendar
from position_server.clock import SystemClock
from position_server.portfolio.coordination import Coordinator
from position_server.portfolio.night import Night, Progress
from position_server.portfolio.portfolios_batch import run_portfolios
from position_server.portfolio.records.runs import BatchRun
from position_server.portfolio.symbols_batch import run_symbols
from position_server.settings import CONFIG_FILE, Settings, load_settings
from position_server.store.engine import Store, open_store
from tests.portfolio.desk import Source, Told

WEDNESDAY, THURSDAY = date(2025, 10, 29), date(2025, 10, 30)
BOOKS = ("CUPS", "EXO", "YCSO")


def settings_on(url: str, **groups: dict[str, Any]) -> Settings:
    """The shipped configuration on this store."""
    return load_settings(CONFIG_FILE, {"store": {"url": url, "demo": False}, **groups})


def night_on(store: Store, settings: Settings, day: date, progress: Progress | None = None) -> Night:
    """A night of real time on an open store."""
    told, clock = progress or Told(), SystemClock()
    return Night(
        day=day,
        settings=settings,
        calendar=Calendar.named(settings.calendar),
        store=store,
        clock=clock,
        coordinator=Coordinator(store, clock, settings.portfolio, say=told.say),
        progress=told,
        stop=threading.Event(),
    )


def whole_night(store: Store, settings: Settings, day: date) -> BatchRun:
    """Symbols, then portfolios; every price is in the store already."""
    night = night_on(store, settings, day)
    run_symbols(night, lambda: Source(stocks={}, options={}))
    return run_portfolios(night)


def two_nights(file: Path) -> None:
    """Both batches for the demo's last two days."""
    url = f"sqlite:///{file}"
    settings = settings_on(url, compute={"workers": 1})
    with open_store(url) as store:
        for day in (WEDNESDAY, THURSDAY):
            assert whole_night(store, settings, day).status == "completed"
