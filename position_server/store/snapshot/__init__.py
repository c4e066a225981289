"""Snapshots: what the market and the books were at an env_date, time_of_day and pos_date, as numpy columns.

For worker processes. Each function takes a `ColumnReader` first, reads in a few statements whatever the number of
books and instruments, and computes nothing but which row counts. Unknown is NaN, NaT or None.
"""

from position_server.store.snapshot.currencies import FxRates, fx_rates
from position_server.store.snapshot.factors import FactorBetas, factor_betas
from position_server.store.snapshot.holdings import instruments, positions, trades
from position_server.store.snapshot.market_time import MarketTime
from position_server.store.snapshot.pricing import Prices, prices
from position_server.store.snapshot.rates import OvernightRate, ParCurve, overnight_rate, par_curve
from position_server.store.snapshot.valuations import Valuations, valuations

__all__ = [
    "FactorBetas",
    "FxRates",
    "MarketTime",
    "OvernightRate",
    "ParCurve",
    "Prices",
    "Valuations",
    "factor_betas",
    "fx_rates",
    "instruments",
    "overnight_rate",
    "par_curve",
    "positions",
    "prices",
    "trades",
    "valuations",
]
