"""The options that the demo provider quotes: whole chains on the desk's underlyings, at model prices.

Black-Scholes on the underlying, with the realised volatility of its shipped closes and the shipped curve's rate: as the
store's model closes are (`theory`), which the daily bars here equal. Live prices move because the underlying does; time
stands still at the demo's last day. No smile, no dividends, as if European.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from position_server.analytics.options import black_scholes, realised_volatility
from position_server.business_days import Calendar
from position_server.demo.contracts import OPTION_EXPIRIES, occ_symbol, option_expiry
from position_server.demo.desk import OPTION_UNDERLYINGS, STRIKE_STEPS, STRIKES_SET_ON
from position_server.demo.pricing import DayCurve
from position_server.demo.sources import Bar, Market
from position_server.demo.tape import rounded
from position_server.demo.theory import VOLATILITY_CLOSES

TICK = 0.01
WIDTH = 0.25  # strikes lie this far about the price of the day they were set on
SPREAD_SHARE = 0.02  # of the price


@dataclass(frozen=True, slots=True)
class OptionTerms:
    """One contract; 100 shares, quoted per share."""

    ticker: str
    underlying: str
    expiry: date
    right: str
    strike: float


@dataclass(frozen=True, slots=True)
class Model:
    """What its price follows from, besides the underlying's."""

    years: float
    rate: float
    volatility: float


def chains(market: Market, calendar: Calendar) -> dict[str, OptionTerms]:
    """Every contract by its ticker (`O:...`), by underlying, expiry, right and strike."""
    contracts = (one for underlying in OPTION_UNDERLYINGS for one in _chain(underlying, market, calendar))
    return {contract.ticker: contract for contract in contracts}


def _chain(underlying: str, market: Market, calendar: Calendar) -> Iterator[OptionTerms]:
    price = market.bars[underlying][STRIKES_SET_ON].close
    step = next(step for limit, step in STRIKE_STEPS if price <= limit)
    lowest, highest = round(price * (1 - WIDTH) / step), round(price * (1 + WIDTH) / step)
    for year, month in OPTION_EXPIRIES:
        expiry = option_expiry(year, month, calendar)
        for right in "CP":
            for number in range(lowest, highest + 1):
                ticker = f"O:{occ_symbol(underlying, expiry, right, number * step)}"
                yield OptionTerms(ticker, underlying, expiry, right, number * step)


def volatility(bars: Mapping[date, Bar], on: date) -> float:
    """The realised volatility of the underlying, of closes up to that day."""
    return realised_volatility([bars[day].close for day in sorted(bars) if day <= on][-VOLATILITY_CLOSES:])


def model(contract: OptionTerms, volatility_then: float, curve: DayCurve) -> Model:
    """As of the curve's day."""
    return Model(curve.years(contract.expiry), curve.rate(contract.expiry), volatility_then)


def values(contract: OptionTerms, spots: Sequence[float], by: Model) -> list[float]:
    """The contract's values at these prices of the underlying, on its tick and never below one."""
    found = black_scholes(contract.right, np.asarray(spots), contract.strike, by.years, by.rate, by.volatility)
    return [max(TICK, rounded(float(value), TICK)) for value in found]


def sides(value: float) -> tuple[float, float]:
    """Bid and ask about a value: whole ticks apart from it; nobody bids for what is worth one tick."""
    steps = max(1, round(value * SPREAD_SHARE / 2 / TICK))
    return max(0.0, rounded(value - steps * TICK, TICK)), rounded(value + steps * TICK, TICK)


def daily_bars(contract: OptionTerms, market: Market, days: Sequence[date]) -> dict[date, Bar]:
    """Model bars of `days`, of those the underlying traded on: valued at the underlying's open, high, low and close."""
    bars = market.bars[contract.underlying]
    return {day: _bar(contract, bars, DayCurve(market.par[market.curve_day(day)], day)) for day in days if day in bars}


def _bar(contract: OptionTerms, bars: Mapping[date, Bar], curve: DayCurve) -> Bar:
    by = model(contract, volatility(bars, curve.day), curve)
    first, one, other, last = values(contract, bars[curve.day][:4], by)
    return Bar(first, max(one, other), min(one, other), last, 0.0)
