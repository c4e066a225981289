"""What private positions are worth: the newest value entered by hand, of the position or of one unit of it.

A valuation is of a book's whole position, as it stands and whatever its quantity is now; a mark is a close of the
instrument, per unit. The newer one counts; of one day, the valuation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from position_server.analytics import pnl
from position_server.sections.base.inputs import Market, declared
from position_server.store.arrow import Columns

LOADED = "load"  # who a mark is by: it came with a file of closes


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Row by row with the positions; market values in the instrument's currency; NaN, NaT and None where unknown."""

    market_value: npt.NDArray[np.float64]
    valued_on: npt.NDArray[np.datetime64]
    valued_by: npt.NDArray[np.object_]
    source: npt.NDArray[np.object_]  # a price_source


def private_marks(market: Market, held: Columns) -> Marks:
    """The marks of all positions; those that are not private have no valuation, only a close."""
    by_hand = declared(market.valuations, "valuations=True")
    closes = declared(market.prices, "prices=True")
    is_marked = ~np.isnan(closes.price)
    is_valued = ~np.isnan(by_hand.market_value) & ~(is_marked & (closes.price_date > by_hand.valued_on))
    of_units = pnl.market_value(held["quantity"], held["multiplier"], closes.price)
    return Marks(
        market_value=np.where(is_valued, by_hand.market_value, of_units),
        valued_on=np.where(is_valued, by_hand.valued_on, closes.price_date),
        valued_by=np.where(is_valued | ~is_marked, by_hand.valued_by, LOADED),
        source=np.where(is_valued, "manual", closes.close_source),
    )
