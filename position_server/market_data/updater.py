"""AssetUpdater: permit → provider → store → sync status → event, for some assets at once.

It decides nothing of when: batch.py does. Runs on whatever thread calls it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from position_server.clock import Clock
from position_server.errors import StoreUnavailable
from position_server.events.bus import PriceUpdate
from position_server.market_data.assets import Asset
from position_server.market_data.plausible import problem_of, time_of
from position_server.market_data.provider import NotAuthorised, ProviderError, ProviderQuote
from position_server.market_data.rate_limiter import Stopped
from position_server.market_data.records import Change, Records, Settled

log = logging.getLogger(__name__)
OPTION = "option"
REFUSALS = (401, 402, 403)  # of a whole call; a single ticker that the plan has not comes with 200


class QuoteSource(Protocol):
    """Who knows quotes: the provider's client."""

    def quotes(self, tickers: Sequence[str], stop: threading.Event) -> Mapping[str, ProviderQuote | ProviderError]:
        """For every ticker its quote, or why there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one asset: no `error`, and its newest quote is in the store, or why not.

    `is_final`: asking again is of no use. `is_refused`: the provider does not let us in, whatever we ask.
    """

    symbol: str
    error: str | None = None
    is_final: bool = False
    is_refused: bool = False


class AssetUpdater:
    """Fetches quotes and stores them."""

    def __init__(
        self, records: Records, source: QuoteSource, publish: Callable[[PriceUpdate], None], clock: Clock
    ) -> None:
        self._records = records
        self._source = source
        self._publish = publish
        self._clock = clock
        self._problems: dict[str, str] = {}  # the last error of each symbol that has one, so that the log says it once

    def update(self, assets: Sequence[Asset], stop: threading.Event) -> dict[str, Outcome]:
        """The outcome of each asset, for as few calls as the provider allows: one for up to TICKERS_PER_CALL assets.

        Raises StoreUnavailable, and Stopped where `stop` ended it: then nothing was fetched, or it is fetched again.
        """
        impossible = self._records.unfetchable(asset.symbol for asset in assets)
        wanted = [asset for asset in assets if asset.symbol not in impossible]
        if not wanted:
            return self._settled({}, {}, impossible)
        self._records.begin((asset.symbol for asset in wanted), self._clock.now())
        try:
            answers = self._source.quotes([asset.provider_ticker for asset in wanted], stop)
        except (Stopped, StoreUnavailable):
            self._records.give_back(asset.symbol for asset in wanted)
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            self._records.settle({}, {asset.symbol: why for asset in wanted}, self._clock.now())
            raise
        now = self._clock.now()
        good, failed = {}, {}
        for asset in wanted:
            answer = _checked(asset, answers[asset.provider_ticker], now)
            if isinstance(answer, ProviderQuote):
                good[asset] = answer
            else:
                failed[asset.symbol] = answer
        return self._settled(good, failed, impossible)

    def _settled(
        self, good: Mapping[Asset, ProviderQuote], failed: Mapping[str, Outcome], impossible: Mapping[str, str]
    ) -> dict[str, Outcome]:
        """Writes all of it, then tells of the quotes that are new."""
        errors = {symbol: outcome.error or "" for symbol, outcome in failed.items()}
        quotes = {asset.symbol: quote for asset, quote in good.items()}
        settled = self._records.settle(quotes, errors | dict(impossible), self._clock.now())
        for asset, quote in good.items():
            self._tell(asset, quote, settled[asset.symbol])
        self._log({**errors, **impossible}, quotes)
        refused = {symbol: Outcome(symbol, error, is_final=True) for symbol, error in impossible.items()}
        return {symbol: Outcome(symbol) for symbol in quotes} | dict(failed) | refused

    def _log(self, errors: Mapping[str, str], well: Iterable[str]) -> None:
        for symbol, error in errors.items():
            if self._problems.get(symbol) != error:
                log.warning("no quote", extra={"symbol": symbol, "error": error})
        for symbol in well:
            if self._problems.pop(symbol, None):
                log.info("quotes again", extra={"symbol": symbol})
        self._problems |= errors

    def _tell(self, asset: Asset, quote: ProviderQuote, settled: Settled) -> None:
        if settled.change is not Change.STORED:
            log.debug("quote not stored", extra={"symbol": asset.symbol, "reason": settled.change.value})
            return
        has_both = quote.bid is not None and quote.ask is not None
        update = PriceUpdate(
            symbol=asset.symbol,
            sequence=settled.sequence,
            bid=quote.bid,
            ask=quote.ask,
            spread=asset.rounded((quote.ask or 0.0) - (quote.bid or 0.0)) if has_both else None,
            last_price=quote.last_price,
            timestamp=quote.timestamp,
        )
        self._publish(update)


def _checked(asset: Asset, answer: ProviderQuote | ProviderError, now: datetime) -> ProviderQuote | Outcome:
    """The quote as it may be stored, or why there is none."""
    if isinstance(answer, ProviderError):
        is_refused = isinstance(answer, NotAuthorised) and answer.status in REFUSALS
        return Outcome(asset.symbol, f"{answer.code}: {answer.message}", is_refused=is_refused)
    problem = problem_of(answer, now, is_option=asset.asset_type == OPTION)
    if problem is not None:
        return Outcome(asset.symbol, problem)
    return replace(answer, timestamp=time_of(answer, now))
