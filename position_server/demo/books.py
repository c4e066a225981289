"""The invented books: what CUPS, YCSO and EXO hold at the start, and what became of it day by day.

Everything follows from the seed. After the first day positions change by trades alone (`trading`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from position_server.demo.desk import Instrument
from position_server.demo.dice import Dice
from position_server.demo.holdings import Holding, Trade
from position_server.demo.tape import Tape
from position_server.demo.trading import Trader, is_there, lot

SEED = 20251030
CRYPTO_ROOTS = ("MBT", "MET")
FIRST_LOTS = {
    "BOND": (2, 25),
    "FUTURE": (2, 60),
    "EQUITY": (5, 120),
    "OPTION": (2, 20),
    "SPOT": (4, 40),
    "PRIVATE": (5, 50),
}
SHORT_CHANCE = {"BOND": 0.08, "FUTURE": 0.35, "OPTION": 0.35, "SPOT": 0.25}  # the other kinds are only held long
CUPS_SPOT = ("EURUSD", "GBPUSD", "USDJPY", "BTCUSD")
EXO_SPOT = ("BTCUSD", "ETHUSD", "SOLUSD", "XRPUSD", "USDMXN")
YCSO_SPOT = ("EURUSD", "USDJPY", "AUDUSD", "USDCAD", "USDCHF", "NZDUSD")
Books = Mapping[str, Mapping[str, Holding]]


@dataclass(frozen=True, slots=True)
class History:
    """Every book's holdings at the close of each day, and every trade in order. The first day has no trades."""

    positions: Mapping[date, Books]
    trades: Sequence[Trade]


def trade_history(
    desk: Sequence[Instrument], tape: Tape, days: Sequence[date], early: Sequence[date], seed: int = SEED
) -> History:
    """The books over `days`; what they start with was bought on days of `early`."""
    dice = Dice(seed)
    there = [row for row in desk if is_there(row, tape, days[0])]
    traders = [
        Trader(book, desk, tape, dice, {row.instrument: _first_holding(dice, row, tape, early) for row in rows})
        for book, rows in _allocation(dice, there).items()
    ]
    positions = {days[0]: _holdings(traders)}
    trades: list[Trade] = []
    for on in days[1:]:
        for trader in traders:
            trades.extend(trader.trade(on, last=on == days[-1]))
        positions[on] = _holdings(traders)
    return History(positions, trades)


def _holdings(traders: Sequence[Trader]) -> Books:
    return {trader.book: dict(trader.holdings) for trader in traders}


def _allocation(dice: Dice, desk: Sequence[Instrument]) -> dict[str, list[Instrument]]:
    """Who starts with what: CUPS the first of each kind, YCSO the last, some both; EXO options, coins, a few more."""
    bonds, equities, options = (dice.shuffled(_of_kind(desk, kind)) for kind in ("BOND", "EQUITY", "OPTION"))
    futures = dice.shuffled([row for row in _of_kind(desk, "FUTURE") if row.root not in CRYPTO_ROOTS])
    coins = [row for row in _of_kind(desk, "FUTURE") if row.root in CRYPTO_ROOTS]
    private, spot = _of_kind(desk, "PRIVATE"), _of_kind(desk, "SPOT")
    cups = [*bonds[:54], *equities[:52], *futures[:20], *options[:3], *private[1:2], *_named(spot, CUPS_SPOT)]
    exo = [*bonds[50:55], *equities[45:58], *coins, *options[2:], *private[2:], *_named(spot, EXO_SPOT)]
    ycso = [*bonds[-60:], *equities[-46:], *futures[-27:], *private[:1], *_named(spot, YCSO_SPOT)]
    return {"CUPS": cups, "EXO": exo, "YCSO": ycso}


def _of_kind(desk: Sequence[Instrument], kind: str) -> list[Instrument]:
    return [row for row in desk if row.kind == kind]


def _named(desk: Sequence[Instrument], names: Sequence[str]) -> list[Instrument]:
    return [row for row in desk if row.instrument in names]


def _first_holding(dice: Dice, row: Instrument, tape: Tape, early: Sequence[date]) -> Holding:
    bought_on = dice.one_of([on for on in early if is_there(row, tape, on)])
    quantity = dice.between(*FIRST_LOTS[row.kind]) * lot(row)
    is_short = dice.share() < SHORT_CHANCE.get(row.kind, 0.0)
    return Holding(-quantity if is_short else quantity, tape.price(row.instrument, bought_on, dice.share()))
