"""One book's invented trading: orders of a seeded trader, filled inside each day's range on the tape.

The one exception is the instrument the desk onboards without a market: its single trade has an invented price.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from position_server.demo.desk import ONBOARDED, Instrument
from position_server.demo.dice import Dice
from position_server.demo.holdings import Holding, Trade, after
from position_server.demo.tape import Tape

NEW_YORK = ZoneInfo("America/New_York")
OPENING, SESSION_SECONDS = time(9, 30), 6 * 3600 + 1800
LOTS = {"BOND": 1e6, "FUTURE": 1.0, "EQUITY": 100.0, "OPTION": 5.0, "SPOT": 250_000.0, "PRIVATE": 100.0}
COIN_LOTS = {"BTCUSD": 0.25, "ETHUSD": 2.0, "SOLUSD": 25.0, "LTCUSD": 50.0, "XRPUSD": 2500.0, "ADAUSD": 5000.0}
USUAL_KINDS = ("EQUITY", "EQUITY", "BOND", "BOND", "FUTURE", "FUTURE", "SPOT", "OPTION")
LAST_DAY_KINDS = ("FUTURE", "BOND", "EQUITY", "SPOT", "EQUITY", "BOND", "FUTURE")
OPENED = ("BOND", "EQUITY")  # kinds of which a book opens new positions
OPENING_SHARE, CLOSING_SHARE, ADDING_SHARE = 0.12, 0.07, 0.6
ONBOARDING = ("EXO", date(2025, 10, 27), 5000.0, 21.4)  # book, day, shares and invented price of the trade in ONBOARDED
Order = tuple[str, float, float]  # instrument, signed quantity, price


class Trader:
    """The trader of one book: `holdings` is what the book holds now, `trade` the only thing that changes it."""

    def __init__(
        self, book: str, desk: Sequence[Instrument], tape: Tape, dice: Dice, holdings: Mapping[str, Holding]
    ) -> None:
        self.book = book
        self.holdings = dict(holdings)
        self._desk = {row.instrument: row for row in desk}
        self._tape, self._dice = tape, dice
        unheld = [row for row in desk if row.kind in OPENED and row.instrument not in {*holdings, ONBOARDED}]
        self._watched = dice.shuffled(unheld)

    def trade(self, on: date, *, last: bool) -> list[Trade]:
        """The day's trades in order of time; on the `last` day some in every kind that all books hold."""
        kinds = [self._dice.one_of(USUAL_KINDS) for _ in range(self._dice.between(4, 8))]
        if last:
            kinds = [*LAST_DAY_KINDS, *kinds]
        seconds = sorted(self._dice.between(0, SESSION_SECONDS) for _ in range(len(kinds) + 1))
        trades = [trade for at, kind in zip(seconds, kinds, strict=False) for trade in self._filled(on, at, kind)]
        if (self.book, on) == ONBOARDING[:2]:
            trades.append(self._book_order(on, seconds[-1], (ONBOARDED, *ONBOARDING[2:])))
        return [_numbered(trade, number) for number, trade in enumerate(trades, 1)]

    def _filled(self, on: date, second: int, kind: str) -> list[Trade]:
        order = self._order(on, kind)
        return [] if order is None else [self._book_order(on, second, order)]

    def _book_order(self, on: date, second: int, order: Order) -> Trade:
        instrument, quantity, price = order
        at = datetime.combine(on, OPENING, NEW_YORK).astimezone(UTC) + timedelta(seconds=second)
        trade = Trade("", on, at, self.book, instrument, "BUY" if quantity > 0 else "SELL", abs(quantity), price)
        self.holdings = after(self.holdings, [trade])
        return trade

    def _order(self, on: date, kind: str) -> Order | None:
        """Open something new, close a position, or make one larger or smaller; None where there is nothing to trade."""
        luck = self._dice.share()
        fresh = next((r for r in self._watched if r.kind == kind and is_there(r, self._tape, on)), None)
        held = sorted(name for name in self.holdings if self._is_tradable(name, kind, on))
        if fresh is not None and luck < OPENING_SHARE:
            self._watched.remove(fresh)
            quantity = self._dice.between(2, 12) * lot(fresh)
        elif not held:
            return None
        else:
            fresh = self._desk[self._dice.one_of(held)]
            closes = kind == "EQUITY" and luck > 1 - CLOSING_SHARE
            quantity = -self.holdings[fresh.instrument].quantity if closes else self._resized(fresh)
        return fresh.instrument, quantity, self._tape.price(fresh.instrument, on, self._dice.share())

    def _is_tradable(self, name: str, kind: str, on: date) -> bool:
        return self._desk[name].kind == kind and self._tape.has(name, on)

    def _resized(self, row: Instrument) -> float:
        """A signed quantity that adds up to a third of the holding, or takes off up to half of it."""
        holding = self.holdings[row.instrument]
        lots = round(abs(holding.quantity) / lot(row))
        adds = self._dice.share() < ADDING_SHARE or lots < 2
        count = self._dice.between(1, max(1, lots // (3 if adds else 2)))
        return count * lot(row) * (1 if adds == (holding.quantity > 0) else -1)


def is_there(row: Instrument, tape: Tape, on: date) -> bool:
    """Whether the instrument had been issued, and was traded, on that day."""
    return tape.has(row.instrument, on) and (row.issue_date is None or row.issue_date <= on)


def lot(row: Instrument) -> float:
    """The smallest quantity the demo trades of it."""
    return COIN_LOTS.get(row.instrument, LOTS[row.kind])


def _numbered(trade: Trade, number: int) -> Trade:
    name = f"{trade.book}-{trade.on:%Y%m%d}-{number:02d}"
    return Trade(name, trade.on, trade.time, trade.book, trade.instrument, trade.side, trade.quantity, trade.price)
