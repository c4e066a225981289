"""Spot: currencies, metals and crypto, units × price, in the pair's second currency."""

from __future__ import annotations

import numpy as np

from position_server.sections.base import (
    Inputs,
    Needs,
    Prices,
    Section,
    SectionData,
    SectionParams,
    override_prices,
    param,
    position_data,
    value_at_price,
)


class SpotParams(SectionParams):
    """What a POST may override."""

    live_price_overrides: Prices | None = param("Price to use instead of the market's, by pair.")


def compute(inputs: Inputs, params: SpotParams) -> SectionData:
    """Values every spot position; bid, ask and spread are those of the quote where the price is one."""
    held, prices = inputs.positions, inputs.prices
    overrides = override_prices(held["instrument"], prices.price, params.live_price_overrides)
    return position_data(
        inputs,
        value_at_price(inputs, overrides),
        fields={
            "pair": held["instrument"],
            "bid": prices.bid,
            "ask": prices.ask,
            "spread": prices.ask - prices.bid,
            "quote_age_seconds": _age_seconds(inputs),
            "entry_price": held["entry_price"],
            "previous_close": inputs.previous_prices.price,
        },
        notes={"overrides_applied": overrides.applied},
        warnings=overrides.warnings,
    )


def _age_seconds(inputs: Inputs) -> np.ndarray:
    """Seconds from the quote to the computation; NaN where the price is no quote."""
    quoted = inputs.prices.quote_time
    now = np.datetime64(inputs.now.replace(tzinfo=None), "us")
    return np.where(np.isnat(quoted), np.nan, (now - quoted) / np.timedelta64(1, "s"))


SECTION = Section("spot", needs=Needs(positions="SPOT", prices=True, fx=True), params=SpotParams, compute=compute)
