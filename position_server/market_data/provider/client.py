"""ProviderClient: what can be asked of the quote provider, by its own tickers (`C:EURUSD`, `X:BTCUSD`, `AAPL`).

It never asks twice by itself: whoever wants another try calls again, and that is another permit. Synchronous; may be
used by several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from urllib.parse import quote

from position_server.clock import Clock, SystemClock
from position_server.market_data.provider import wire
from position_server.market_data.provider.answers import DailyBar
from position_server.market_data.provider.errors import (
    MalformedBody,
    NotAuthorised,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    TickerNotFound,
    Unreachable,
)
from position_server.market_data.provider.fields import Fields
from position_server.market_data.provider.transport import Permits, Transport
from position_server.market_data.provider.wire import Answers

MOST_TICKERS = 250  # of one call, and items of one page
MOST_BARS = 50_000  # of one page
MOST_PAGES = 50  # of one answer
TIMEOUT_SECONDS, CONNECT_SECONDS = 10.0, 5.0
UNIVERSAL = "/v3/snapshot"
CHAIN = "/v3/snapshot/options/{}"
MARKET = "/v2/snapshot/locale/global/markets/{}/tickers"
RANGE = "/v2/aggs/ticker/{}/range/1/day/{}/{}"
GROUPED = "/v2/aggs/grouped/locale/us/market/stocks/{}"
# After one of these the next call would fail as well, and would cost a permit or a timeout.
HOPELESS = (NotAuthorised, ProviderTimeout, RateLimited, Unreachable)


class ProviderClient:
    """The quote provider at one base URL.

    Methods with several tickers answer for every one of them: its quote, or the ProviderError why there is none (the
    call's own where the whole call failed). The others raise it. What `permits.acquire` raises for `stop` passes.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        permits: Permits,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        """`api_key` empty sends none. Raises ConfigError where the address or the key cannot be used."""
        self._transport = Transport(
            base_url,
            api_key,
            permits,
            clock or SystemClock(),
            timeout_seconds=timeout_seconds,
            connect_seconds=connect_seconds,
        )

    @property
    def calls_made(self) -> int:
        """The requests sent so far, further pages and failures included."""
        return self._transport.calls_made

    def quotes(self, tickers: Sequence[str], stop: threading.Event) -> Answers:
        """Quotes of any kind by the universal snapshot: a call for every 250 tickers."""
        return self._in_batches(
            tickers, stop, UNIVERSAL, lambda batch: {"ticker.any_of": batch, "limit": str(MOST_TICKERS)}
        )

    def forex_quotes(self, tickers: Sequence[str], stop: threading.Event) -> Answers:
        """Quotes of currency pairs and metals (`C:...`) by the forex snapshot."""
        return self._in_batches(tickers, stop, MARKET.format("forex"), lambda batch: {"tickers": batch})

    def crypto_quotes(self, tickers: Sequence[str], stop: threading.Event) -> Answers:
        """Quotes of coins (`X:...`) by the crypto snapshot: last trades, no bid and ask."""
        return self._in_batches(tickers, stop, MARKET.format("crypto"), lambda batch: {"tickers": batch})

    def option_quotes(self, contracts: Sequence[str], stop: threading.Event) -> Answers:
        """Quotes of options by the universal snapshot. OCC symbols, padded or not, with or without `O:`.

        The answer has them as they were given.
        """
        tickers = {contract: option_ticker(contract) for contract in contracts}
        found = self.quotes(list(tickers.values()), stop)
        return {contract: found[ticker] for contract, ticker in tickers.items()}

    def option_chain(self, underlying: str, stop: threading.Event) -> Answers:
        """Quotes of all contracts on `underlying`, by `O:` ticker; a call for every 250. Raises for a failed page."""
        answers: Answers = {}
        for page in self._pages(CHAIN.format(_in_path(underlying)), {"limit": str(MOST_TICKERS)}, stop):
            found = wire.chain_quotes(page)
            if not found.keys() - answers.keys() and wire.next_page(page):
                raise MalformedBody(f"{underlying}: a page of the chain brings nothing new", 200)
            answers |= found
        if not answers:
            raise TickerNotFound(f"{underlying}: the provider has no options on it", 200)
        return answers

    def daily_bars(
        self, ticker: str, start: date, end: date, stop: threading.Event, *, adjusted: bool = True
    ) -> list[DailyBar]:
        """The daily bars from `start` to `end`, both included, oldest first; as traded unless `adjusted` for splits.

        Raises TickerNotFound where there is none: the provider answers an unknown ticker and a quiet one alike.
        """
        parameters = {"adjusted": str(adjusted).lower(), "sort": "asc", "limit": str(MOST_BARS)}
        bars: dict[date, DailyBar] = {}
        for page in self._pages(RANGE.format(_in_path(ticker), start, end), parameters, stop):
            for bar in wire.bars_of(page, ticker):
                if not start <= bar.day <= end or bars.setdefault(bar.day, bar) != bar:
                    raise MalformedBody(f"{ticker}: a bar of {bar.day} that does not belong there", 200)
        if not bars:
            raise TickerNotFound(f"{ticker}: no bars from {start} to {end}", 200)
        return [bars[day] for day in sorted(bars)]

    def grouped_daily(
        self, day: date, stop: threading.Event, *, adjusted: bool = True
    ) -> dict[str, DailyBar | ProviderError]:
        """The bar of every US stock that traded that day, or why it cannot be read: one call.

        Raises MalformedBody where there is none at all: it was no trading day, or the answer is no good.
        """
        answer = self._transport.get(GROUPED.format(day), {"adjusted": str(adjusted).lower()}, stop)
        bars = wire.grouped_bars(answer, day)
        if not bars:
            raise MalformedBody(f"no bars of {day}", 200)
        return bars

    def close(self) -> None:
        """Closes the connections. No call may be under way."""
        self._transport.close()

    # --- calls ---------------------------------------------------------------------------------------------------

    def _in_batches(
        self, tickers: Sequence[str], stop: threading.Event, path: str, parameters: Callable[[str], Mapping[str, str]]
    ) -> Answers:
        """As many calls as it takes, each ticker once; none for tickers that cannot be one."""
        wanted = dict.fromkeys(tickers)
        answers: Answers = {t: TickerNotFound(f"{t!r} cannot be a ticker") for t in wanted if not _can_be_ticker(t)}
        asked = [ticker for ticker in wanted if ticker not in answers]
        for first in range(0, len(asked), MOST_TICKERS):
            batch = asked[first : first + MOST_TICKERS]
            found, failure = self._batch(batch, path, parameters(",".join(batch)), stop)
            answers |= found
            if isinstance(failure, HOPELESS):
                return answers | dict.fromkeys(asked[first + MOST_TICKERS :], failure)
        return answers

    def _batch(
        self, batch: Sequence[str], path: str, parameters: Mapping[str, str], stop: threading.Event
    ) -> tuple[Answers, ProviderError | None]:
        """An answer for each of the batch, and the failure of the call where it failed as a whole."""
        read = wire.universal_quotes if path == UNIVERSAL else wire.market_quotes
        missing, found, is_empty = set(batch), Answers(), True
        failure: ProviderError | None = None
        try:
            for page in self._pages(path, parameters, stop):
                brought = read(page)
                is_empty = is_empty and not brought
                for ticker in brought.keys() & set(batch):
                    found[ticker] = wire.better(found[ticker], brought[ticker]) if ticker in found else brought[ticker]
                if not missing & found.keys() and wire.next_page(page):
                    raise MalformedBody(f"{path}: a page brings nothing new", 200)
                missing -= found.keys()
                if not missing:
                    break
            if is_empty:
                raise MalformedBody(f"{path}: the answer is empty", 200)
        except ProviderError as error:
            failure = error
        rest = {ticker: failure or TickerNotFound(f"{ticker}: left out of the answer", 200) for ticker in missing}
        return found | rest, failure

    def _pages(self, path: str, parameters: Mapping[str, str], stop: threading.Event) -> Iterator[Fields]:
        """The pages of an answer; each is asked for when the one before was read."""
        page = self._transport.get(path, parameters, stop)
        yield page
        for _ in range(MOST_PAGES - 1):
            following = wire.next_page(page)
            if following is None:
                return
            page = self._transport.follow(following, stop)
            yield page
        if wire.next_page(page):
            raise MalformedBody(f"{path}: over {MOST_PAGES} pages", 200)


def option_ticker(contract: str) -> str:
    """The provider's ticker of an OCC symbol."""
    return f"O:{contract.removeprefix('O:').replace(' ', '')}"


def _can_be_ticker(text: str) -> bool:
    """Printable and one word: a comma would ask for two, and no ticker at all would ask for every one there is."""
    return bool(text) and all("!" <= letter <= "~" for letter in text) and "," not in text


def _in_path(ticker: str) -> str:
    """The ticker as a part of a path. Raises TickerNotFound where it cannot be one."""
    if not _can_be_ticker(ticker):
        raise TickerNotFound(f"{ticker!r} cannot be a ticker")
    return quote(ticker, safe=":")
