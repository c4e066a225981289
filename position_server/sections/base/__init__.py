"""What a section is made of: everything a file in `sections/` needs, from one place."""

from position_server.sections.base.inputs import Inputs, Market, Needs, without
from position_server.sections.base.overrides import (
    CurveShift,
    FinitePrices,
    Number,
    Overrides,
    Prices,
    Shock,
    override_prices,
    par_rates,
    unmatched,
)
from position_server.sections.base.rows import Valuation, empty_book_warnings, named, position_data, value_at_price
from position_server.sections.base.section import Column, Keyed, Section, SectionData, SectionParams, param

__all__ = [
    "Column",
    "CurveShift",
    "FinitePrices",
    "Inputs",
    "Keyed",
    "Market",
    "Needs",
    "Number",
    "Overrides",
    "Prices",
    "Section",
    "SectionData",
    "SectionParams",
    "Shock",
    "Valuation",
    "empty_book_warnings",
    "named",
    "override_prices",
    "par_rates",
    "param",
    "position_data",
    "unmatched",
    "value_at_price",
    "without",
]
