"""Futures: quantity × multiplier × price. Prices are per contract unit; money is in the contract's currency.

Market value is the unrealised P&L since entry, as a future is worth nothing the moment it is bought; the notional
stands beside it. An expired contract keeps its last price and says so by a negative `days_to_expiry`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from position_server.analytics import pnl
from position_server.sections.base import (
    FinitePrices,
    Inputs,
    Needs,
    Section,
    SectionData,
    SectionParams,
    Shock,
    Valuation,
    override_prices,
    param,
    position_data,
)


class FuturesParams(SectionParams):
    """What a POST may override."""

    live_price_overrides: FinitePrices | None = param("Price to use instead of the market's, by contract.")
    price_shock_pct: Shock | None = param("Percent to move prices by: one number, or by contract or root.")


def compute(inputs: Inputs, params: FuturesParams) -> SectionData:
    """Values every futures position."""
    held, prices, before = inputs.positions, inputs.prices, inputs.previous_prices
    overrides = override_prices(
        held["instrument"], prices.price, params.live_price_overrides, params.price_shock_pct, held["root"]
    )
    size = (held["quantity"], held["multiplier"])
    unrealised = pnl.price_gain(*size, overrides.price, held["entry_price"])
    notional = pnl.market_value(*size, overrides.price)
    valuation = Valuation(
        price=overrides.price,
        price_date=prices.price_date,
        price_source=overrides.sources(prices.price_source),
        market_value=unrealised,
        daily_pnl=pnl.price_gain(*size, overrides.price, before.price),
        total_pnl=unrealised,
    )
    return position_data(
        inputs,
        valuation,
        fields={
            "root": held["root"],
            "expiry": held["expiry"],
            "multiplier": held["multiplier"],
            "tick_size": held["tick_size"],
            "exchange": held["exchange"],
            "entry_price": held["entry_price"],
            "previous_close": before.price,
            "notional": notional,
            "notional_base": notional * inputs.fx.rates(held["currency"], inputs.base_currency),
            "days_to_expiry": _days_to(held["expiry"], inputs),
        },
        money={"notional": notional},
        notes={"overrides_applied": overrides.applied, "price_shock_pct": params.price_shock_pct},
        warnings=overrides.warnings,
    )


def _days_to(expiry: npt.NDArray[np.datetime64], inputs: Inputs) -> npt.NDArray[np.object_]:
    """Calendar days from env_date to each expiry, None where that is unknown."""
    days = expiry.astype("datetime64[D]") - np.datetime64(inputs.base.env_date, "D")
    counts = days.astype(np.int64).astype(object)
    counts[np.isnat(expiry)] = None
    return counts


SECTION = Section(
    "futures", needs=Needs(positions="FUTURE", prices=True, fx=True), params=FuturesParams, compute=compute
)
