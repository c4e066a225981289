"""Theoretical closes of what may not be redistributed: futures, options, and some dealers' prices of bonds.

Each day's values come from that day's real data and earlier ones: no look-ahead. What goes in and how it is rounded is
also said in docs/data.md, in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from position_server.analytics.futures import carry_forward, covered_interest_forward
from position_server.analytics.options import black_scholes, realised_volatility
from position_server.business_days import Calendar
from position_server.demo.contracts import Contract
from position_server.demo.desk import Instrument
from position_server.demo.dice import Dice
from position_server.demo.pricing import BOND_MARKET, BondDesk, DayCurve
from position_server.demo.sources import Market
from position_server.demo.tape import rounded

DEALER_SEED = 26
DEALT_EVERY = 4  # one bond in so many has a dealer's close
SPREAD_BP, WOBBLE_BP = 3.0, 0.3  # a dealer's spread over the curve is within ±3 bp, and wobbles a little every day
BOND_TICK = 1 / 256  # an eighth of a 32nd
VOLATILITY_CLOSES = 60
Closes = Mapping[str, Mapping[date, float]]
Curves = Mapping[date, DayCurve]


@dataclass(frozen=True, slots=True)
class Theory:
    """`closes` go into the store as model closes; `values` also has every bond's price off the curve."""

    closes: Closes
    values: Closes


def theory(market: Market, contracts: Sequence[Contract], desk: Sequence[Instrument], days: Sequence[date]) -> Theory:
    """The theoretical values of `days`, business days of the stock exchange."""
    curves = {day: DayCurve(market.par[market.curve_day(day)], day) for day in days}
    bonds = BondDesk(market.treasuries)
    clean = {day: bonds.clean_prices(curve) for day, curve in curves.items()}
    futures = {contract.symbol: _future_closes(contract, market, bonds, curves) for contract in contracts}
    options = {row.instrument: _option_closes(row, market, curves) for row in desk if row.kind == "OPTION"}
    off_curve = {
        bond.isin: {day: float(prices[n]) for day, prices in clean.items() if bond.is_issued(day)}
        for n, bond in enumerate(market.treasuries)
    }
    dealt = _dealer_closes(market, bonds, curves)
    return Theory({**futures, **options, **dealt}, {**off_curve, **futures, **options})


def _future_closes(contract: Contract, market: Market, bonds: BondDesk, curves: Curves) -> dict[date, float]:
    """The contract's closes, on its tick, on the days it can be valued."""
    priced = {day: _future_price(contract, market, bonds, curve) for day, curve in curves.items()}
    tick = contract.root.tick_size
    return {day: rounded(price, tick) for day, price in priced.items() if price is not None}


def _future_price(contract: Contract, market: Market, bonds: BondDesk, curve: DayCurve) -> float | None:
    match contract.root.family:
        case "treasury":
            return bonds.future_price(contract, curve)
        case "fx":
            return _fx_future(contract, market, curve)
        case _:
            return _coin_future(contract, market, curve)


def _fx_future(contract: Contract, market: Market, curve: DayCurve) -> float:
    """USD per foreign unit on the delivery day: covered interest from the day's rate."""
    pair = contract.root.underlying
    rate = market.fx[curve.day][pair]
    spot = rate if pair.endswith("USD") else 1 / rate
    foreign_rate = market.policy_rate_pct(pair.replace("USD", ""), curve.day) / 100
    days = (contract.delivery - curve.day).days
    return float(covered_interest_forward(spot, curve.money_market_rate(contract.delivery), foreign_rate, days))


def _coin_future(contract: Contract, market: Market, curve: DayCurve) -> float:
    """The coin's close with its financing to the delivery day."""
    spot = market.bars[contract.root.underlying][curve.day].close
    days = (contract.delivery - curve.day).days
    return float(carry_forward(spot, curve.money_market_rate(contract.delivery), days))


def _option_closes(row: Instrument, market: Market, curves: Curves) -> dict[date, float]:
    """Black-Scholes on the day's real close, never below one tick."""
    closes = {day: bar.close for day, bar in market.bars[row.underlying].items()}
    return {
        day: max(row.tick_size or 0.0, rounded(_option_price(row, closes, curve), row.tick_size or 0.01))
        for day, curve in curves.items()
    }


def _option_price(row: Instrument, closes: Mapping[date, float], curve: DayCurve) -> float:
    if row.expiry is None or row.strike is None:
        raise ValueError(f"{row.instrument} has no expiry or strike")
    known = [close for day, close in sorted(closes.items()) if day <= curve.day]
    volatility = realised_volatility(known[-VOLATILITY_CLOSES:])
    years, rate = curve.years(row.expiry), curve.rate(row.expiry)
    return float(black_scholes(row.right, known[-1], row.strike, years, rate, volatility)[0])


def _dealer_closes(market: Market, bonds: BondDesk, curves: Curves) -> Closes:
    """Dealers' closes of some bonds, at a z-spread of the bond's own, on days of the bond market."""
    dice, bond_market = Dice(DEALER_SEED), Calendar.named(BOND_MARKET)
    dealt = range(0, len(market.treasuries), DEALT_EVERY)
    own_bp = {number: SPREAD_BP * (2 * dice.share() - 1) for number in dealt}
    closes: dict[str, dict[date, float]] = {market.treasuries[number].isin: {} for number in dealt}
    for day in filter(bond_market.is_business_day, curves):
        spread_bp = np.zeros(len(market.treasuries))
        spread_bp[dealt] = [own_bp[number] + WOBBLE_BP * (2 * dice.share() - 1) for number in dealt]
        prices = bonds.clean_prices(curves[day], spread_bp)
        for number in dealt:
            if market.treasuries[number].is_issued(day):
                closes[market.treasuries[number].isin][day] = rounded(float(prices[number]), BOND_TICK)
    return closes
