"""Closes, curves and FX rates as rows of the load files: what is shipped, and the theoretical closes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

from position_server.demo.rows import Row
from position_server.demo.sources import OVERNIGHT_CURVES, PAR_TENORS, Bar, Market


def close_rows(market: Market, model: Mapping[str, Mapping[date, float]]) -> Iterator[Row]:
    """Rows of CLOSE_COLUMNS: real bars, FX rates, `model` closes, manual marks."""
    yield from bar_rows(market.bars)
    for day, rates in market.fx.items():
        for pair, rate in rates.items():
            yield pair, day, rate, None, None, None, None, "close"
    for instrument, closes in model.items():
        for day, close in closes.items():
            yield instrument, day, close, None, None, None, None, "model"
    for mark in market.marks:
        yield mark.instrument, mark.on, mark.value, None, None, None, None, "manual"


def bar_rows(bars_by_instrument: Mapping[str, Mapping[date, Bar]]) -> Iterator[Row]:
    """Rows of CLOSE_COLUMNS: daily bars of a market."""
    for instrument, bars in bars_by_instrument.items():
        for day, bar in bars.items():
            yield instrument, day, bar.close, bar.open, bar.high, bar.low, bar.volume, "close"


def curve_rows(market: Market) -> Iterator[Row]:
    """Rows of CURVE_COLUMNS."""
    for day, rates in market.par.items():
        for tenor, rate in zip(PAR_TENORS, rates, strict=True):
            yield "UST_PAR", day, tenor, rate
    for day, overnight in market.overnight.items():
        for curve, rate in zip(OVERNIGHT_CURVES, overnight, strict=True):
            yield curve, day, "ON", rate


def fx_rows(market: Market) -> Iterator[Row]:
    """Rows of FX_COLUMNS."""
    for day, rates in market.fx.items():
        for pair, rate in rates.items():
            yield pair, day, rate
