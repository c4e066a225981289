"""Closes of a night: what a source of prices is, and how they come from it into the store with few calls.

One call prices every stock of a date, one prices up to 250 options, and a history is asked for once per symbol and
kept. A price of another day is never taken for the night's. This room knows no provider: whoever runs a batch hands it
a `PriceSource`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Protocol, TypeVar

from position_server.business_days import Calendar
from position_server.clock import Clock
from position_server.errors import BatchStopped
from position_server.portfolio.choice import CURRENCY, EQUITY, OPTION, PRIVATE, new_instrument, store_name
from position_server.portfolio.records import prices
from position_server.portfolio.records.prices import Bar
from position_server.settings import PortfolioSettings
from position_server.store.engine import Store
from position_server.symbols import OptionSymbol

T = TypeVar("T")

RETRY_SECONDS = (2.0, 10.0)  # before the second and third try of a call that failed for the moment


class SourceError(Exception):
    """The source gave no price, for one symbol or at all; the message says why. A transient one may be tried again."""

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


class UnknownSymbol(SourceError):
    """The source does not know the symbol."""


class PriceSource(Protocol):
    """Where prices come from. Each call waits for its turn; BatchStopped once `stop` is set. Prices are as traded."""

    @property
    def calls_made(self) -> int:
        """How many requests it has sent."""
        ...

    def stock_bars(self, day: date, stop: threading.Event) -> Mapping[str, Bar | SourceError]:
        """The bar of every stock that traded on `day`: one call. Raises SourceError where it failed as a whole."""
        ...

    def option_bars(
        self, symbols: Sequence[OptionSymbol], day: date, stop: threading.Event
    ) -> Mapping[OptionSymbol, Bar | SourceError]:
        """For each option its bar of `day`, or why there is none: a call for every 250."""
        ...

    def history(self, symbol: str | OptionSymbol, first: date, last: date, stop: threading.Event) -> Sequence[Bar]:
        """The daily bars of one symbol, oldest first: one call. Raises UnknownSymbol, SourceError."""
        ...


def patiently(call: Callable[[], T], clock: Clock, stop: threading.Event) -> T:
    """What `call` returns, tried again after a transient SourceError. Raises the last one, or BatchStopped."""
    for seconds in RETRY_SECONDS:
        try:
            return call()
        except SourceError as error:
            if not error.is_transient:
                raise
        if clock.wait(stop, seconds):
            raise BatchStopped
    return call()


def fetch_symbol(
    store: Store,
    source: PriceSource,
    symbol: str,
    day: date,
    settings: PortfolioSettings,
    calendar: Calendar,
    stop: threading.Event,
) -> str:
    """Prices one symbol, which the store may not know yet: its history up to `day`. Returns its name in the store.

    An instrument that the source knows is added to the store with its closes. Raises UnknownSymbol where the source
    does not know it or it is neither an equity nor an option, SourceError (also, unasked, for what is held as PRIVATE
    only), BatchStopped, StoreUnavailable.
    """
    name = store_name(symbol)
    try:
        row = new_instrument(name)
    except ValueError as error:
        raise UnknownSymbol(str(error)) from error
    with store.read() as connection:
        terms = prices.known(connection, [name]).get(name)
        held_as = prices.last_classes(connection, name)
    if held_as == {PRIVATE}:
        raise SourceError(f"{name} is held as PRIVATE only: nothing is fetched for private positions")
    if terms is not None and (terms.kind not in (EQUITY, OPTION) or terms.currency != CURRENCY):
        raise SourceError(f"{name} is a {terms.kind} in {terms.currency}: its prices are loaded from files")
    first = history_start(day, settings, calendar)
    asked = OptionSymbol.parse(name) if row["kind"] == OPTION else name
    bars = source.history(asked, first, day, stop)
    with store.write() as connection:
        prices.add_instrument(connection, row)
        prices.write_history(connection, name, bars, first)
    return name


def history_start(day: date, settings: PortfolioSettings, calendar: Calendar) -> date:
    """The first day of the closes that the factor fits of `day` use."""
    return calendar.shift(day, -settings.factor_window_days)
