"""Where the tape's lows and highs come from, instrument by instrument.

Real ones for equities and coins; a band around the day's value for everything else. Bonds are not traded on days of the
stock exchange on which the bond market is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from position_server.business_days import Calendar
from position_server.demo.desk import Instrument
from position_server.demo.sources import Bar, Market
from position_server.demo.tape import Range, Tape, around

BOND_WIDTH, FX_WIDTH, OPTION_WIDTH, TREASURY_FUTURE_WIDTH, FX_FUTURE_WIDTH = 0.001, 0.0005, 0.04, 0.0015, 0.002
SPOT_TICKS = {"USDJPY": 0.001, "USDMXN": 0.0001, "XRPUSD": 0.0001, "ADAUSD": 0.0001}
FX_TICK, COIN_TICK, BOND_TICK, OPTION_TICK, EQUITY_TICK = 0.00001, 0.01, 1 / 64, 0.01, 0.01
Values = Mapping[str, Mapping[date, float]]


def tape(market: Market, desk: Sequence[Instrument], values: Values, days: Sequence[date]) -> Tape:
    """The tape of `days`. `values` has the day's value of bonds, futures and options."""
    ranges = {row.instrument: _ranges(row, market, values, days) for row in desk}
    return Tape(ranges, {row.instrument: _tick(row, market) for row in desk})


def _ranges(row: Instrument, market: Market, values: Values, days: Sequence[date]) -> dict[date, Range]:
    if row.kind == "PRIVATE":
        return {day: (value, value) for day, value in _marks(row, market, days)}
    if row.kind == "SPOT" and row.instrument not in market.coins:
        return {day: _fx_range(row.instrument, market, day) for day in days}
    if row.kind in ("SPOT", "EQUITY"):
        bars = market.bars.get(row.instrument, {})
        return {day: (bars[day].low, bars[day].high) for day in days if day in bars}
    known = values.get(row.instrument, {})
    return {day: _band(row, market, day, known[day]) for day in _trading_days(row, days) if day in known}


def _marks(row: Instrument, market: Market, days: Iterable[date]) -> list[tuple[date, float]]:
    marks = [(mark.on, mark.value) for mark in market.marks if mark.instrument == row.instrument]
    return [(day, max(mark for mark in marks if mark[0] <= day)[1]) for day in days]


def _fx_range(pair: str, market: Market, day: date) -> Range:
    before = max(other for other in market.fx if other < day)
    rates = (market.fx[before][pair], market.fx[day][pair])
    return min(rates) * (1 - FX_WIDTH), max(rates) * (1 + FX_WIDTH)


def _trading_days(row: Instrument, days: Sequence[date]) -> Sequence[date]:
    if row.kind != "BOND":
        return days
    bond_market = Calendar.named("XSIF")
    return [day for day in days if bond_market.is_business_day(day)]


def _band(row: Instrument, market: Market, day: date, value: float) -> Range:
    """The band around a value: as wide as the coin's real day for coin futures."""
    if row.kind == "BOND":
        return around(value, BOND_WIDTH)
    if row.kind == "OPTION":
        return around(value, OPTION_WIDTH)
    if row.underlying in market.coins:
        bar: Bar = market.bars[row.underlying][day]
        return value * bar.low / bar.close, value * bar.high / bar.close
    return around(value, FX_FUTURE_WIDTH if row.underlying else TREASURY_FUTURE_WIDTH)


def _tick(row: Instrument, market: Market) -> float:
    if row.tick_size is not None:
        return row.tick_size
    if row.kind == "SPOT":
        return SPOT_TICKS.get(row.instrument, COIN_TICK if row.instrument in market.coins else FX_TICK)
    return {"BOND": BOND_TICK, "EQUITY": EQUITY_TICK, "OPTION": OPTION_TICK}.get(row.kind, 0.0)
