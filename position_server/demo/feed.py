"""What the demo provider knows of prices: who is quoted, the chains, the daily history. No HTTP, no clock, no change.

Bars are JSON values in the real provider's shapes; what moves is in `snapshot`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from position_server.business_days import Calendar
from position_server.demo import option_chain
from position_server.demo.desk import OPTION_UNDERLYINGS, STRIKES_SET_ON, instruments
from position_server.demo.option_chain import OptionTerms
from position_server.demo.pricing import DayCurve
from position_server.demo.proxies import proxy_bars
from position_server.demo.snapshot import Json, Snapshot, count
from position_server.demo.sources import Bar, Market, read_market
from position_server.demo.splits import adjusted
from position_server.demo.spot_market import traded

NEW_YORK, OPENING, CLOSING = ZoneInfo("America/New_York"), time(0), time(16)
V2_PREFIXES = {"forex": "C:", "crypto": "X:"}


class Feed:
    """The demo's market data behind the provider."""

    def __init__(self, market: Market, seed: int) -> None:
        """`seed` is of the prices' movement."""
        self._market, self._seed = market, seed
        calendar, last_day = Calendar.named("XNYS"), max(market.fx)
        self._traded = traded(market, instruments(market, (), calendar))
        curve = DayCurve(market.par[market.curve_day(last_day)], last_day)
        volatilities = {name: option_chain.volatility(market.bars[name], last_day) for name in OPTION_UNDERLYINGS}
        self._chains = {
            ticker: (contract, option_chain.model(contract, volatilities[contract.underlying], curve))
            for ticker, contract in option_chain.chains(market, calendar).items()
        }
        self._proxies = proxy_bars(market)

    @classmethod
    def shipped(cls, seed: int) -> Feed:
        """From the data that ship with the package."""
        return cls(read_market(), seed)

    def at(self, now: datetime) -> Snapshot:
        """What is shown at `now`, UTC."""
        return Snapshot(self._traded, self._chains, now, self._seed)

    def tickers(self) -> list[str]:
        """All that the universal snapshot knows, by name."""
        return sorted([*self._traded, *self._chains])

    def market_tickers(self, market: str) -> list[str]:
        """All of `forex` or `crypto`, by name."""
        return sorted(ticker for ticker in self._traded if ticker.startswith(V2_PREFIXES[market]))

    def contracts(self, underlying: str) -> list[str]:
        """The tickers of the options on it, by name; empty where there is none."""
        return sorted(t for t, (contract, _) in self._chains.items() if contract.underlying == underlying)

    def bars(self, ticker: str, start: date, end: date, *, is_adjusted: bool) -> list[Json]:
        """The bars of a range, oldest first; none for a ticker without history."""
        days = self._history(ticker, start, end, is_adjusted=is_adjusted)
        zone = UTC if ticker.startswith("X:") else NEW_YORK
        return [_bar(days[day], datetime.combine(day, OPENING, zone)) for day in sorted(days) if start <= day <= end]

    def grouped(self, day: date, *, is_adjusted: bool) -> list[Json]:
        """The bars of every stock and proxy that day; none on a day without trading."""
        end = datetime.combine(day, CLOSING, NEW_YORK)
        names = sorted([ticker for ticker, what in self._traded.items() if what.kind == "stocks"] + [*self._proxies])
        histories = ((name, self._history(name, day, day, is_adjusted=is_adjusted)) for name in names)
        return [{"T": name, **_bar(bars[day], end)} for name, bars in histories if day in bars]

    def _history(self, ticker: str, start: date, end: date, *, is_adjusted: bool) -> Mapping[date, Bar]:
        """What there is of the range, and perhaps more."""
        if ticker in self._proxies:
            return self._proxies[ticker]
        if ticker in self._chains:
            return self._option_history(self._chains[ticker][0], max(start, STRIKES_SET_ON), end)
        symbol = ticker.removeprefix("X:")
        if ticker not in self._traded or symbol not in self._market.bars:
            return {}
        bars = self._market.bars[symbol]
        return adjusted(symbol, bars) if is_adjusted else bars

    def _option_history(self, contract: OptionTerms, start: date, end: date) -> Mapping[date, Bar]:
        days = [day for day in self._market.bars[contract.underlying] if start <= day <= end]
        return option_chain.daily_bars(contract, self._market, days)


def _bar(bar: Bar, moment: datetime) -> Json:
    prices = {"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close}
    return {"t": count(moment, 1_000), **prices, "v": bar.volume}
