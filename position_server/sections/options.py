"""Options: contracts × multiplier × price per share, in the option's currency, beside the price of what they are on.

No model stands here: an option is worth what its market, or whoever stored its close, says. One that has expired keeps
its last price and is named.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from position_server.sections.base import (
    Inputs,
    Needs,
    Prices,
    Section,
    SectionData,
    SectionParams,
    named,
    override_prices,
    param,
    position_data,
    value_at_price,
)
from position_server.sections.base.inputs import declared
from position_server.symbols import OptionSymbol


class OptionsParams(SectionParams):
    """What a POST may override."""

    live_price_overrides: Prices | None = param("Price per share to use instead of the market's, by option.")


def compute(inputs: Inputs, params: OptionsParams) -> SectionData:
    """Values every option position; moneyness is the underlying's price over the strike."""
    held, prices = inputs.positions, inputs.prices
    underlying = declared(inputs.market.underlying_prices, "underlyings=True")
    overrides = override_prices(held["instrument"], prices.price, params.live_price_overrides)
    with np.errstate(all="ignore"):
        moneyness = np.where(held["strike"] > 0, underlying.price / held["strike"], np.nan)
    data = position_data(
        inputs,
        value_at_price(inputs, overrides),
        fields={
            "occ_symbol": _occ_symbols(held["instrument"]),
            "underlying": held["underlying"],
            "expiry": held["expiry"],
            "right": held["option_right"],
            "strike": held["strike"],
            "multiplier": held["multiplier"],
            "underlying_price": underlying.price,
            "moneyness": moneyness,
            "entry_price": held["entry_price"],
            "previous_close": inputs.previous_prices.price,
        },
        notes={"overrides_applied": overrides.applied},
        warnings=[*_warnings(inputs, underlying.price), *overrides.warnings],
    )
    underlyings = {name for name in held["underlying"] if name is not None}
    return replace(data, symbols=data.symbols | underlyings)


def _occ_symbols(names: npt.NDArray[np.object_]) -> list[str | None]:
    """The OCC symbol of each option that is named by one; None for one that has a name of its own."""
    symbols: dict[str, str | None] = {}
    for name in set(names):
        try:
            symbols[name] = OptionSymbol.parse(name).compact
        except ValueError:
            symbols[name] = None
    return [symbols[name] for name in names]


def _warnings(inputs: Inputs, underlying_price: npt.NDArray[np.float64]) -> list[str]:
    held, env_date = inputs.positions, inputs.base.env_date
    expired = held["expiry"] < np.datetime64(env_date, "D")  # NaT is not less
    unknown = {name for name in held["underlying"][np.isnan(underlying_price)] if name is not None}
    texts = ((f"expired before {env_date}", set(held["instrument"][expired])), ("no price of the underlying", unknown))
    return [f"{text}: {named(sorted(names))}" for text, names in texts if names]


SECTION = Section(
    "options",
    needs=Needs(positions="OPTION", prices=True, fx=True, underlyings=True),
    params=OptionsParams,
    compute=compute,
)
