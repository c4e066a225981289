"""A good file of every kind, and what the tests of loading look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select

from position_server.errors import LoadError
from position_server.store import tables
from position_server.store.engine import Store
from position_server.store.load import load_file

FILES: dict[str, list[str]] = {
    "instruments": [
        "instrument,kind,name,currency,exchange,multiplier,tick_size,root,expiry,isin,coupon_pct,maturity,issue_date,"
        "underlying,right,strike,base_currency",
        "ZNZ25,FUTURE,10-Year Note,USD,CBOT,1000,0.015625,ZN,2025-12-19,,,,,,,,",
        "US91282CNT43,BOND,,USD,,1,,,,US91282CNT43,4.25,2035-08-15,2025-08-15,,,,",
        'AAPL251121C00250000,OPTION,"Apple, call",USD,,100,,,2025-11-21,,,,,AAPL,C,250,',
        "USDJPY,SPOT,,JPY,,,,,,,,,,,,,USD",
    ],
    "positions": [
        "pos_date,book,instrument,quantity,entry_price,investment_class",
        "2025-10-30,CUPS,A,-100,10.5,PUBLIC",
        "2025-10-30,O'Brien's \u6f22 book,B,1e6,,PRIVATE",
    ],
    "trades": [
        "trade_id,trade_date,trade_time,book,instrument,side,quantity,price",
        "T-1,2025-10-30,2025-10-30T11:30:00.5-04:00,CUPS,A,BUY,100,10.5",
    ],
    "closes": ["close_date,instrument,close,open,high,low,volume,source", "2025-10-30,A,10.5,10,11,,1000,model"],
    "curves": ["curve_date,curve,tenor,rate_pct", "2025-10-30,UST_PAR,10Y,4.117", "2025-10-30,UST_PAR,3Y,"],
    "fx": ["fx_date,pair,rate", "2025-10-30,EURUSD,1.1567"],
    "quotes": [
        "quote_time,quote_date,instrument,bid,ask,last_price,open,high,low,close,volume,source",
        "2025-10-30T20:00:00Z,2025-10-30,A,10.4,10.6,,,,,,,feed",
    ],
}


def rows_of(store: Store, kind: str) -> list[dict[str, Any]]:
    table = tables.METADATA.tables[kind]
    with store.read() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key)).mappings()
        return [dict(row) for row in found]


def problems_of(store: Store, kind: str, lines: Sequence[str], on_date: date | None = None) -> list[tuple[int, str]]:
    """The problems a file is refused for; the table must be as it was."""
    before = rows_of(store, kind)
    with pytest.raises(LoadError) as caught:
        load_file(store, kind, lines, on_date)
    assert rows_of(store, kind) == before
    return list(caught.value.problems)
