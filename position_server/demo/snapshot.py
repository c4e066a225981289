"""What the demo provider shows at one moment, as JSON values in the real provider's shapes. No HTTP, no clock.

Times are milliseconds in v2, nanoseconds in v3, as the real one writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from position_server.demo import option_chain
from position_server.demo.movement import EPOCH
from position_server.demo.option_chain import Model, OptionTerms
from position_server.demo.spot_market import DayBar, Ticking, Traded, ticking

Json = dict[str, Any]
MICROSECOND = timedelta(microseconds=1)
SHARES = 100
DIGITS = 6
NOT_FOUND = {"error": "NOT_FOUND", "message": "Ticker not found."}
LIVE = {"timeframe": "REAL-TIME"}
FX_VENUE, COIN_VENUE, STOCK_VENUE, OPTION_VENUE = 48, 1, 12, 316  # exchange ids as in the provider's examples
TRADE_SIZES = {"crypto": 1, "stocks": 100}
SIDE_SIZE = 10


class Snapshot:
    """The market at `now`. For one answer: what several items need (an underlying, say) is worked out once."""

    def __init__(
        self,
        traded: Mapping[str, Traded],
        chains: Mapping[str, tuple[OptionTerms, Model]],
        now: datetime,
        seed: int,
    ) -> None:
        self._traded, self._chains, self._now, self._seed = traded, chains, now, seed
        self._ticking: dict[str, Ticking] = {}

    def v2_item(self, ticker: str) -> Json:
        """A pair or coin in the v2 snapshot: forex with its last quote, crypto with its last trade."""
        what = self._traded[ticker]
        shown, at = self._shown(ticker), count(self._now, 1_000)
        item = {
            "ticker": ticker,
            "day": {**_letters(shown.day), "v": round(what.volume * shown.day_share, 4)},
            "min": {**_letters(shown.minute), "v": 1, "n": 1, "t": at - at % 60_000},
            "prevDay": {**_letters(shown.previous_day), "v": what.volume, "vw": 0},
            "todaysChange": shown.change,
            "todaysChangePerc": shown.change_percent,
            "updated": at,
        }
        if what.kind == "fx":
            return item | {"lastQuote": {"a": shown.ask, "b": shown.bid, "t": at, "x": FX_VENUE}}
        trade = {"p": shown.last, "s": TRADE_SIZES["crypto"], "c": [1], "i": str(at), "t": at, "x": COIN_VENUE}
        return item | {"lastTrade": trade}

    def v3_item(self, ticker: str) -> Json:
        """Any ticker in the universal snapshot; an unknown one is an item with an error."""
        if ticker in self._chains:
            return self._option_item(ticker)
        if ticker not in self._traded:
            return {"ticker": ticker, **NOT_FOUND}
        what = self._traded[ticker]
        shown, at = self._shown(ticker), count(self._now, 1_000_000_000)
        item = {
            "ticker": ticker,
            "type": what.kind,
            "name": what.name,
            "market_status": "open",
            "session": {
                **_session(shown.day, shown.previous_day.close),
                "volume": round(what.volume * shown.day_share, 4),
            },
            "last_quote": _quote(shown.bid, shown.ask, at),
        }
        if what.kind == "fx":
            return item
        venue = COIN_VENUE if what.kind == "crypto" else STOCK_VENUE
        trade = {"price": shown.last, "size": TRADE_SIZES[what.kind], "exchange": venue, "conditions": [1], **LIVE}
        return item | {"last_trade": {**trade, "last_updated": at}}

    def _option_item(self, ticker: str) -> Json:
        contract, _ = self._chains[ticker]
        shown = self.chain_item(ticker)
        session = {name: value for name, value in shown.pop("day").items() if name not in ("last_updated", "vwap")}
        details = {**shown["details"], "underlying_ticker": contract.underlying}
        del details["ticker"]
        kind = "Call" if contract.right == "C" else "Put"
        name = f"{contract.underlying} ${contract.strike:g} {kind}"
        named = {"ticker": ticker, "type": "options", "name": name, "market_status": "open"}
        return {**shown, **named, "details": details, "session": session}

    def chain_item(self, ticker: str) -> Json:
        """A contract in the options snapshot. Its greeks are left out, as the format allows."""
        contract, model = self._chains[ticker]
        under, at = self._shown(contract.underlying), count(self._now, 1_000_000_000)
        spots = (under.day.open, under.day.high, under.day.low, under.last, under.previous_day.close)
        first, one, other, last, before = option_chain.values(contract, spots, model)
        day = DayBar(first, max(one, other), min(one, other), last)
        bid, ask = option_chain.sides(last)
        even = contract.strike + (last if contract.right == "C" else -last)
        return {
            "break_even_price": round(even, DIGITS),
            "day": {**_session(day, before), "last_updated": at, "volume": 0, "vwap": last},
            "details": {
                "contract_type": "call" if contract.right == "C" else "put",
                "exercise_style": "american",
                "expiration_date": contract.expiry.isoformat(),
                "shares_per_contract": SHARES,
                "strike_price": contract.strike,
                "ticker": ticker,
            },
            "implied_volatility": round(model.volatility, DIGITS),
            "last_quote": {**_quote(bid, ask, at), "ask_size": SIDE_SIZE, "bid_size": SIDE_SIZE},
            "last_trade": {"price": last, "size": 1, "exchange": OPTION_VENUE, "sip_timestamp": at, **LIVE},
            "open_interest": 0,
            "underlying_asset": {
                "change_to_break_even": round(even - under.last, DIGITS),
                "last_updated": at,
                "price": under.last,
                "ticker": contract.underlying,
                **LIVE,
            },
        }

    def _shown(self, ticker: str) -> Ticking:
        if ticker not in self._ticking:
            self._ticking[ticker] = ticking(self._traded[ticker], self._now, self._seed)
        return self._ticking[ticker]


def count(moment: datetime, in_a_second: int) -> int:
    """The moment as a whole number of units since 1970."""
    return (moment - EPOCH) // MICROSECOND * in_a_second // 1_000_000


def _letters(bar: DayBar) -> Json:
    return {"o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close}


def _session(day: DayBar, before: float) -> Json:
    change = day.close - before
    return {
        "change": round(change, 10),
        "change_percent": round(100 * change / before, DIGITS),
        "close": day.close,
        "high": day.high,
        "low": day.low,
        "open": day.open,
        "previous_close": before,
    }


def _quote(bid: float, ask: float, at: int) -> Json:
    return {"ask": ask, "bid": bid, "midpoint": round((bid + ask) / 2, 10), "last_updated": at, **LIVE}
