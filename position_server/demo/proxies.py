"""Factor proxies: daily index levels made of the shipped stocks and curve, in place of ETFs whose history is not free.

Each tilt holds a third of the stocks, equally weighted anew at every close, chosen by what was known then (no
look-ahead). Only prices and volumes are shipped: size is the value traded, and nothing here knows a company's earnings
or books. What takes the place of growth, value and quality is a neighbour in prices, and named for what it is.
The Treasury proxy is a 20-year par bond of the shipped curve. Pure: the same levels on every call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from position_server.demo.desk import Instrument
from position_server.demo.sources import PAR_TENORS, Bar, Market
from position_server.demo.splits import adjusted

Floats = NDArray[np.float64]
BASE = 100.0  # the level at the first close
LOOK_BACK_DAYS = 21  # closes of the month that a choice looks at
LEFT_OUT = "QQQ"  # a fund of the same stocks
BOND_TENOR, BOND_YEARS, PERIODS = "20Y", 20, 2
DAYS_PER_YEAR = 365.25
LEVEL_DIGITS = 6
NO_CURRENCY = "XXX"  # an index has points


@dataclass(frozen=True, slots=True)
class Proxy:
    """One index. `stands_for` is the ETF whose place it takes in a factor list."""

    symbol: str
    name: str
    stands_for: str


@dataclass(frozen=True, slots=True)
class _Panel:
    """All stocks as arrays (days, stocks), adjusted for splits."""

    days: Sequence[date]
    opens: Floats
    closes: Floats
    traded: Floats  # USD

    @property
    def returns(self) -> Floats:
        """Close to close; the first row belongs to the second day."""
        return self.closes[1:] / self.closes[:-1] - 1


Score = Callable[[_Panel, int], Floats]  # of every stock, from rows before the given one; the highest third is held

MARKET = Proxy("PXMKT", "equal weights of all shipped stocks", "SPY")
TREASURY = Proxy("PXTSY", "20-year par Treasury bond (total return)", "TLT")


def _past_return(panel: _Panel, row: int) -> Floats:
    return np.asarray(panel.closes[row - 1] / panel.closes[row - 1 - LOOK_BACK_DAYS])


def _volatility(panel: _Panel, row: int) -> Floats:
    return np.asarray(np.std(panel.returns[row - 1 - LOOK_BACK_DAYS : row - 1], axis=0))


def _traded(panel: _Panel, row: int) -> Floats:
    return np.asarray(np.mean(panel.traded[row - LOOK_BACK_DAYS : row], axis=0))


TILTS: tuple[tuple[Proxy, Score, float], ...] = (  # the sign says which end of the scores is held
    (Proxy("PXMOM", "momentum: what rose most in a month", "MTUM"), _past_return, 1.0),
    (Proxy("PXREV", "reversal: what rose least in a month", "VTV"), _past_return, -1.0),
    (Proxy("PXLOV", "low volatility of a month", "USMV"), _volatility, -1.0),
    (Proxy("PXHIV", "high volatility of a month", "VUG"), _volatility, 1.0),
    (Proxy("PXSML", "small value traded in a month", "IWM"), _traded, -1.0),
    (Proxy("PXLRG", "large value traded in a month", "QUAL"), _traded, 1.0),
)
PROXIES = (MARKET, *(proxy for proxy, _, _ in TILTS), TREASURY)


def proxy_instruments() -> list[Instrument]:
    """The proxies as instruments: equities in `XXX`, ISO 4217's code for no currency, so that nobody can trade them."""
    return [Instrument(proxy.symbol, "EQUITY", f"Factor proxy: {proxy.name}", NO_CURRENCY) for proxy in PROXIES]


def proxy_bars(market: Market) -> dict[str, dict[date, Bar]]:
    """The daily bars of every proxy, by symbol; volume 0.

    The market and the Treasury proxy begin with the shipped stocks, tilts when a month of closes is known. An open is
    the index at the stocks' opens; high and low are the higher and lower of open and close.
    """
    panel = _panel(market)
    return {
        MARKET.symbol: _index(panel, 0, None),
        **{proxy.symbol: _index(panel, LOOK_BACK_DAYS, score, sign) for proxy, score, sign in TILTS},
        TREASURY.symbol: _par_bond(market, panel.days),
    }


def _panel(market: Market) -> _Panel:
    names = sorted(symbol for symbol in market.bars if symbol not in (*market.coins, LEFT_OUT))
    bars = [adjusted(name, market.bars[name]) for name in names]
    days = sorted(set.intersection(*(set(one) for one in bars)))
    table = np.array([[one[day] for one in bars] for day in days])
    opens, closes, volumes = table[:, :, 0], table[:, :, 3], table[:, :, 4]
    return _Panel(days, opens, closes, closes * volumes)


def _index(panel: _Panel, first: int, score: Score | None, sign: float = 1.0) -> dict[date, Bar]:
    """The index from row `first` on, where it is at its base; without a score it holds everything."""
    level = BASE
    bars = {panel.days[first]: Bar(level, level, level, level, 0.0)}
    for row in range(first + 1, len(panel.days)):
        before = panel.closes[row - 1]
        held = slice(None) if score is None else _highest(sign * score(panel, row))
        opened = level * float(np.mean((panel.opens[row] / before)[held]))
        level *= float(np.mean((panel.closes[row] / before)[held]))
        bars[panel.days[row]] = _bar(opened, level)
    return bars


def _highest(scores: Floats) -> NDArray[np.intp]:
    """The places of the third with the highest scores; of equal ones the first in the alphabet."""
    return np.argsort(-scores, kind="stable")[: len(scores) // 3]


def _par_bond(market: Market, days: Sequence[date]) -> dict[date, Bar]:
    """Total return of holding, from close to close, a par bond of the day before: its coupon, and its new price.

    Days without a curve take the last one: nothing but the coupon accrues. The bond is 20 years long every day, which
    leaves out a day's roll-down.
    """
    tenor, level = PAR_TENORS.index(BOND_TENOR), BASE
    bars = {days[0]: Bar(level, level, level, level, 0.0)}
    for before, day in pairwise(days):
        coupon, rate = (market.par[market.curve_day(on)][tenor] / 100 for on in (before, day))
        carried, opened = coupon * (day - before).days / DAYS_PER_YEAR, level
        level *= _par_bond_price(coupon, rate) + carried
        bars[day] = _bar(opened, level)
    return bars


def _par_bond_price(coupon: float, rate: float) -> float:
    """Per 1 of face, just after a coupon: the annuity of the coupons and the discounted face."""
    discount = (1 + rate / PERIODS) ** (-BOND_YEARS * PERIODS)
    return coupon / rate * (1 - discount) + discount


def _bar(opened: float, closed: float) -> Bar:
    first, last = round(opened, LEVEL_DIGITS), round(closed, LEVEL_DIGITS)
    return Bar(first, max(first, last), min(first, last), last, 0.0)
