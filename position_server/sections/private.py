"""Private holdings: worth what somebody entered by hand, with the day and the name; never looked up in a market."""

from __future__ import annotations

import numpy as np

from position_server.analytics import pnl
from position_server.sections.base import (
    Inputs,
    Needs,
    Number,
    Section,
    SectionData,
    SectionParams,
    Valuation,
    param,
    position_data,
    unmatched,
)
from position_server.sections.base.marks import private_marks


class PrivateParams(SectionParams):
    """What a POST may override."""

    market_value_overrides: dict[str, Number] | None = param(
        "Market value of the position to use instead, in the instrument's currency, by instrument."
    )


def compute(inputs: Inputs, params: PrivateParams) -> SectionData:
    """Every private position at its newest value by hand; `price` is that value per unit."""
    held, given = inputs.positions, params.market_value_overrides or {}
    marks, before = private_marks(inputs.market, held), private_marks(inputs.previous_market, held)
    replaced = np.array([given.get(name, np.nan) for name in held["instrument"]], dtype=np.float64)
    is_replaced = ~np.isnan(replaced)
    market_value = np.where(is_replaced, replaced, marks.market_value)
    size = held["quantity"] * held["multiplier"]
    with np.errstate(all="ignore"):
        price = np.where(size != 0, market_value / size, np.nan)
    names = set(held["instrument"])
    return position_data(
        inputs,
        Valuation(
            price=price,
            price_date=marks.valued_on,
            price_source=np.where(is_replaced, "override", marks.source),
            market_value=market_value,
            daily_pnl=market_value - before.market_value,
            total_pnl=market_value - pnl.market_value(held["quantity"], held["multiplier"], held["entry_price"]),
        ),
        fields={
            "valued_on": marks.valued_on,
            "valued_by": marks.valued_by,
            "entry_price": held["entry_price"],
        },
        notes={"overrides_applied": {name: value for name, value in given.items() if name in names}},
        warnings=unmatched("market_value_overrides", given, names),
    )


SECTION = Section(
    "private",
    needs=Needs(positions="PRIVATE", prices=True, fx=True, valuations=True),
    params=PrivateParams,
    compute=compute,
)
