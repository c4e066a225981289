"""Equities: shares × price, in the share's currency."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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

Percent = Annotated[float, Field(ge=-100, allow_inf_nan=False, strict=True)]  # a share cannot lose more than all


class EquitiesParams(SectionParams):
    """What a POST may override."""

    live_price_overrides: Prices | None = param("Price to use instead of the market's, by instrument.")
    price_shock_pct: Percent | dict[str, Percent] | None = param(
        "Percent to move prices by, -100 or more: one number, or by instrument."
    )


def compute(inputs: Inputs, params: EquitiesParams) -> SectionData:
    """Values every equity position."""
    held, prices = inputs.positions, inputs.prices
    overrides = override_prices(held["instrument"], prices.price, params.live_price_overrides, params.price_shock_pct)
    return position_data(
        inputs,
        value_at_price(inputs, overrides),
        fields={
            "exchange": held["exchange"],
            "entry_price": held["entry_price"],
            "previous_close": inputs.previous_prices.price,
        },
        notes={"overrides_applied": overrides.applied, "price_shock_pct": params.price_shock_pct},
        warnings=overrides.warnings,
    )


SECTION = Section(
    "equities", needs=Needs(positions="EQUITY", prices=True, fx=True), params=EquitiesParams, compute=compute
)
