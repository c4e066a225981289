"""The tools of one model-day: prices, trades, the portfolio. A model has nothing else to look at or to act with.

The date is the runner's and no argument: no tool shows a price after the open of the day, and every trade is at that
open. A tool that refuses raises Refused. Belongs to one model-day; nothing is shared.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from position_server.clock import Clock
from position_server.simulation.holdings import MICROS, Account, Refused, Trade
from position_server.simulation.prices import Bar, Market
from position_server.simulation.splits import split_ratio

MOST_DAYS = 250  # of a history


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a model's reasoning log."""

    step: int
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Occasion:
    """The model-day that tools belong to, for a model that looks beyond them: logs, files, services.

    `root` has the folder `configs`; `environment` holds the variables of the process; `tool_servers` are the addresses
    of tools outside this process, by name; `log_file` is where the model may write a log of its own.
    """

    job_id: str
    model: str
    attempt: int
    clock: Clock
    root: Path
    log_file: Path
    tool_servers: Mapping[str, str]
    environment: Mapping[str, str]


class Toolbox:
    """The tools by name, what they were used for, and what the model noted."""

    def __init__(self, market: Market, account: Account, occasion: Occasion | None = None) -> None:
        self.market = market
        self.account = account
        self.occasion = occasion
        self.calls: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.steps: list[Step] = []
        self.stop_signal_received = True  # an agent that runs out of steps says otherwise
        self.summary: str | None = None

    @property
    def tools(self) -> Mapping[str, Callable[..., Any]]:
        """The tools that can be called by name."""
        return {
            "get_price": self.get_price,
            "get_price_history": self.get_price_history,
            "get_symbols": self.get_symbols,
            "get_portfolio": self.get_portfolio,
            "buy": self.buy,
            "sell": self.sell,
        }

    def note(self, content: str, *, role: str = "model") -> None:
        """Writes an entry into the reasoning log; the last one is the day's summary unless another was set."""
        self.steps.append(Step(len(self.steps) + 1, role, content))

    def get_price(self, symbol: str, on: str | None = None) -> dict[str, Any]:
        """The prices of `symbol` on the day `on` (YYYY-MM-DD; default: today), as traded.

        Of today there is the open alone. `split_ratio` is how many of today's shares a share of that day has become.
        """
        with self._used("get_price"):
            day = self.market.day if on is None else _day(on)
            return self._priced(symbol, day, self.market.bar(_symbol(symbol), day))

    def get_price_history(self, symbol: str, days: int = 20) -> list[dict[str, Any]]:
        """The prices of `symbol` on its last `days` days before today, oldest first, as traded."""
        with self._used("get_price_history"):
            if not isinstance(days, int) or not 1 <= days <= MOST_DAYS:
                raise Refused(f"days is a whole number from 1 to {MOST_DAYS}, not {days!r}")
            past = [(on, bars[symbol]) for on, bars in self.market.past.items() if _symbol(symbol) in bars]
            return [self._priced(symbol, on, bar) for on, bar in past[-days:]]

    def get_symbols(self) -> list[str]:
        """What can be bought today."""
        with self._used("get_symbols"):
            return self.market.symbols

    def get_portfolio(self) -> dict[str, Any]:
        """Today's date, cash, shares by symbol, and what all of it is worth at today's open."""
        with self._used("get_portfolio"):
            held = self.account.holdings
            return {
                "date": self.market.day.isoformat(),
                "cash": self.account.cash_cents / 100,
                "positions": {symbol: held[symbol].quantity for symbol in sorted(held)},
                "value": self.value_cents() / 100,
            }

    def buy(self, symbol: str, amount: int) -> dict[str, Any]:
        """Buys `amount` shares at today's open. Raises Refused."""
        with self._used("buy"):
            if self.market.universe is not None and _symbol(symbol) not in self.market.universe:
                raise Refused(f"{symbol} is not in the universe of this simulation")
            return _traded(self.account.buy(symbol, amount, self._open(symbol)))

    def sell(self, symbol: str, amount: int) -> dict[str, Any]:
        """Sells `amount` shares at today's open. Raises Refused."""
        with self._used("sell"):
            return _traded(self.account.sell(symbol, amount, self._open(symbol)))

    def call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """What the tool of that name answers; `{"error": ...}` where it refuses, or there is none."""
        tool = self.tools.get(name)
        if tool is None:
            return {"error": f"there is no tool {name!r} (known: {', '.join(self.tools)})"}
        try:
            given = inspect.signature(tool).bind(**arguments)
        except TypeError as error:
            return {"error": str(error)}
        try:
            return tool(*given.args, **given.kwargs)
        except Refused as error:
            return {"error": str(error)}

    def value_cents(self) -> int:
        """Cash and holdings at today's open; a holding that does not open counts at its last close."""
        prices = {symbol: self.market.last_price(symbol) for symbol in self.account.holdings}
        return self.account.value_cents({symbol: price for symbol, price in prices.items() if price is not None})

    @contextmanager
    def _used(self, name: str) -> Iterator[None]:
        self.calls[name] += 1
        try:
            yield
        except Refused:
            self.errors[name] += 1
            raise

    def _open(self, symbol: str) -> int:
        price = self.market.opens.get(_symbol(symbol))
        if price is None:
            raise Refused(f"{symbol} has no opening price on {self.market.day}")
        return price

    def _priced(self, symbol: str, on: date, bar: Bar) -> dict[str, Any]:
        known = {name: price / MICROS for name, price in zip(bar._fields[:4], bar[:4], strict=True) if price}
        if not known:
            raise Refused(f"there are no prices of {symbol} on {on}")
        volume = {} if bar.volume is None else {"volume": bar.volume}
        ratio = split_ratio(symbol, on, self.market.day)
        split = {} if ratio == 1 else {"split_ratio": ratio}
        return {"symbol": symbol, "date": on.isoformat(), **known, **volume, **split}


def _traded(trade: Trade) -> dict[str, Any]:
    return {
        "action": trade.action,
        "symbol": trade.symbol,
        "amount": trade.amount,
        "price": trade.price_micros / MICROS,
        "costs": trade.costs_cents / 100,
        "total": trade.total_cents / 100,
    }


def _symbol(symbol: object) -> str:
    if not isinstance(symbol, str):
        raise Refused(f"a symbol is a text, not {symbol!r}")
    return symbol


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Refused(f"not a date: {text!r} (YYYY-MM-DD)") from error
