"""What the demo provider quotes without a model: pairs, metals, coins and stocks, moving about their last real prices.

Everything follows from (seed, ticker, time). Days are UTC days, all week: the demo's market never closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from position_server.demo.desk import ONBOARDED, Instrument
from position_server.demo.movement import Floats, path
from position_server.demo.quotes import SPREAD_SHARE
from position_server.demo.ranges import COIN_TICK, EQUITY_TICK, FX_TICK, SPOT_TICKS
from position_server.demo.sources import Market
from position_server.demo.tape import rounded

# USD per fine troy ounce: the LBMA Gold Price PM and the LBMA Silver Price of 2025-10-03 (docs/data.md). One figure
# each, where prices start; nothing of a price history.
FIXINGS = {"XAUUSD": ("Gold", 3885.70), "XAGUSD": ("Silver", 47.605)}
METAL_TICKS = {"XAUUSD": 0.01, "XAGUSD": 0.001}
PREFIXES = {"fx": "C:", "crypto": "X:", "stocks": ""}
BANDS = {"fx": 0.004, "metal": 0.01, "crypto": 0.025, "stocks": 0.015}  # a price stays this near where it started
FX_UPDATES = 90_000.0  # quotes a day, which is what the volume of a pair counts


@dataclass(frozen=True, slots=True)
class Traded:
    """Something quoted: `kind` is fx, crypto or stocks, `price` where it started, `volume` of a whole day."""

    ticker: str
    kind: str
    name: str
    price: float
    tick: float
    band: float
    volume: float


@dataclass(frozen=True, slots=True)
class DayBar:
    """Open, high, low and close of a stretch of time."""

    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class Ticking:
    """What one ticker shows at one moment: bid < last < ask, all multiples of its tick. `day` is the UTC day so far."""

    bid: float
    ask: float
    last: float
    day: DayBar
    minute: DayBar
    previous_day: DayBar
    day_share: float  # of the day that has passed

    @property
    def change(self) -> float:
        """Since the close of the day before."""
        return round(self.last - self.previous_day.close, 10)

    @property
    def change_percent(self) -> float:
        """The same, in percent of that close."""
        return round(100 * self.change / self.previous_day.close, 6)


def traded(market: Market, desk: Sequence[Instrument]) -> dict[str, Traded]:
    """Everything that is quoted, by the provider's ticker: the desk's stocks, pairs and coins, gold and silver."""
    rows = [_of_desk(row, market) for row in desk if row.kind in ("SPOT", "EQUITY") and row.instrument != ONBOARDED]
    rows += [
        Traded(f"C:{pair}", "fx", f"{name} (spot) - USD", price, METAL_TICKS[pair], BANDS["metal"], FX_UPDATES)
        for pair, (name, price) in FIXINGS.items()
    ]
    return {row.ticker: row for row in rows}


def _of_desk(row: Instrument, market: Market) -> Traded:
    symbol = row.instrument
    kind = "stocks" if row.kind == "EQUITY" else "crypto" if symbol in market.coins else "fx"
    if kind == "fx":
        price, volume = market.fx[max(market.fx)][symbol], FX_UPDATES
    else:
        bar = market.bars[symbol][max(market.bars[symbol])]
        price, volume = bar.close, bar.volume
    usual = {"fx": FX_TICK, "crypto": COIN_TICK, "stocks": EQUITY_TICK}[kind]
    tick = SPOT_TICKS.get(symbol, usual)
    return Traded(PREFIXES[kind] + symbol, kind, row.name, price, tick, BANDS[kind], volume)


def ticking(what: Traded, now: datetime, seed: int) -> Ticking:
    """What it shows at `now`."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    minute = now.replace(second=0, microsecond=0)
    spread = SPREAD_SHARE["EQUITY" if what.kind == "stocks" else "SPOT"]
    last = _prices(what, now, now, seed)[-1]
    steps = max(1, round(last * spread / 2 / what.tick))
    return Ticking(
        bid=rounded(last - steps * what.tick, what.tick),
        ask=rounded(last + steps * what.tick, what.tick),
        last=last,
        day=_bar(what, midnight, now, seed),
        minute=_bar(what, minute, now, seed),
        previous_day=_bar(what, midnight - timedelta(days=1), midnight, seed),
        day_share=(now - midnight) / timedelta(days=1),
    )


def _bar(what: Traded, start: datetime, end: datetime, seed: int) -> DayBar:
    prices = _prices(what, start, end, seed)
    return DayBar(prices[0], max(prices), min(prices), prices[-1])


def _prices(what: Traded, start: datetime, end: datetime, seed: int) -> list[float]:
    """The prices along its path, on its tick."""
    moved: Floats = what.price * (1 + what.band * path(seed, what.ticker, start, end))
    return [rounded(float(price), what.tick) for price in np.atleast_1d(moved)]
