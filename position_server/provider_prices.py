"""ProviderPrices: the nightly batch's source of prices, over the market-data room's client and its call budget.

The two rooms do not know each other; this puts them together, for commands and the server. Equities come from the daily
bars of the stock market, options from the universal snapshot, each as the provider's own errors turned into the
batch's. Nothing is stored here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date
from zoneinfo import ZoneInfo

from position_server.clock import Clock
from position_server.errors import BatchStopped
from position_server.market_data.provider import (
    DailyBar,
    ProviderClient,
    ProviderError,
    ProviderQuote,
    ProviderTimeout,
    RateLimited,
    ServerError,
    TickerNotFound,
    Unreachable,
)
from position_server.market_data.rate_limiter import Stopped
from position_server.market_data.room import Room
from position_server.portfolio.prices import SourceError, UnknownSymbol
from position_server.portfolio.records.prices import Bar
from position_server.settings import Settings
from position_server.symbols import OptionSymbol

MARKET_ZONE = ZoneInfo("America/New_York")  # whose date a quote of an option is of
FOR_THE_MOMENT = (ServerError, ProviderTimeout, RateLimited, Unreachable)


class ProviderPrices:
    """A PriceSource (`portfolio.prices`) that asks the provider."""

    def __init__(self, client: ProviderClient) -> None:
        self._client = client

    @property
    def calls_made(self) -> int:
        """How many requests it has sent."""
        return self._client.calls_made

    def stock_bars(self, day: date, stop: threading.Event) -> Mapping[str, Bar | SourceError]:
        """The bar of every stock that traded on `day`. Raises SourceError, BatchStopped, StoreUnavailable."""
        with _translated():
            found = self._client.grouped_daily(day, stop, adjusted=False)
        return {ticker: _bar(bar) if isinstance(bar, DailyBar) else _failure(bar) for ticker, bar in found.items()}

    def option_bars(
        self, symbols: Sequence[OptionSymbol], day: date, stop: threading.Event
    ) -> Mapping[OptionSymbol, Bar | SourceError]:
        """For each option its price of `day`, where the newest quote is of that day. Raises as `stock_bars`."""
        with _translated():
            found = self._client.option_quotes([symbol.compact for symbol in symbols], stop)
        return {symbol: _of_day(found[symbol.compact], symbol, day) for symbol in symbols}

    def history(self, symbol: str | OptionSymbol, first: date, last: date, stop: threading.Event) -> Sequence[Bar]:
        """The daily bars of one symbol. Raises UnknownSymbol, and as `stock_bars`."""
        ticker = f"O:{symbol.compact}" if isinstance(symbol, OptionSymbol) else symbol
        with _translated():
            return [_bar(bar) for bar in self._client.daily_bars(ticker, first, last, stop, adjusted=False)]


@contextmanager
def provider_prices(settings: Settings, clock: Clock, *, behind_quotes: bool = False) -> Iterator[ProviderPrices]:
    """The source that the settings name, the demo provider started where they ask for it. Raises ConfigError.

    `behind_quotes`: its calls leave those to the updater of quotes that it needs.
    """
    with closing(Room(settings, clock)) as room:
        yield ProviderPrices(room.client(room.permits_behind_quotes() if behind_quotes else room.limiter))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ProviderError as error:
        raise _failure(error) from error
    except Stopped as error:
        raise BatchStopped from error


def _failure(error: ProviderError) -> SourceError:
    if isinstance(error, TickerNotFound):
        return UnknownSymbol(error.message)
    return SourceError(error.message, is_transient=isinstance(error, FOR_THE_MOMENT))


def _bar(bar: DailyBar) -> Bar:
    return Bar(bar.day, bar.close, bar.open, bar.high, bar.low, bar.volume)


def _of_day(quote: ProviderQuote | ProviderError, symbol: OptionSymbol, day: date) -> Bar | SourceError:
    """The quote as the close of `day`; whatever it says of another day is none."""
    if isinstance(quote, ProviderError):
        return _failure(quote)
    quoted_on = quote.timestamp.astimezone(MARKET_ZONE).date()
    if quoted_on != day:
        return SourceError(f"{symbol.compact}: the newest quote is of {quoted_on}")
    if quote.last_price is None:
        return SourceError(f"{symbol.compact}: nobody quotes both sides, and it did not trade")
    return Bar(day, quote.last_price)
