"""New trades: what was traded after pos_date and up to env_date, the same at every time of day.

A trade is shown at its own price and not valued again: its worth comes with the position it becomes.
"""

from __future__ import annotations

import numpy as np

from position_server.analytics import pnl
from position_server.analytics.totals import coverage, totals_by_book
from position_server.sections.base import (
    Column,
    Inputs,
    Needs,
    Section,
    SectionData,
    SectionParams,
    empty_book_warnings,
)


def compute(inputs: Inputs, _: SectionParams) -> SectionData:
    """One row per trade, ordered by book, instrument and time; `quantity` is negative for a sale."""
    done = inputs.trades
    quantity = np.where(done["side"] == "SELL", -done["quantity"], done["quantity"])
    size = quantity * pnl.per_unit(done["kind"], done["multiplier"])
    consideration = size * done["price"]
    fx_rate = inputs.fx.rates(done["currency"], inputs.base_currency)
    unknown = np.full(len(quantity), np.nan)
    rows: dict[str, Column] = {
        "book": done["book"],
        "instrument": done["instrument"],
        "currency": done["currency"],
        "quantity": quantity,
        "price": done["price"],
        "price_date": done["trade_date"],
        "price_source": np.full(len(quantity), None, dtype=object),
        "market_value": unknown,
        "market_value_base": unknown,
        "fx_rate": fx_rate,
        "daily_pnl": unknown,
        "total_pnl": unknown,
        "trade_id": done["trade_id"],
        "trade_time": done["trade_time"],
        "side": done["side"],
        "consideration": consideration,
        "consideration_base": consideration * fx_rate,
    }
    return SectionData(
        rows=rows,
        totals=totals_by_book(done["book"], {"consideration_base": consideration * fx_rate}),
        coverage=coverage(size, done["price"], done["price"], fx_rate),
        warnings=empty_book_warnings(inputs),
        symbols=frozenset(done["instrument"]),
        positions_as_of=inputs.base.pos_date.isoformat(),
    )


SECTION = Section("new_trades", needs=Needs(trades=True, fx=True, previous=False), compute=compute)
