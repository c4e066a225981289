"""Rows, totals, coverage and warnings that every section of positions answers alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from position_server.analytics import pnl
from position_server.analytics.totals import coverage, totals_by_book
from position_server.sections.base.inputs import Inputs
from position_server.sections.base.overrides import Overrides
from position_server.sections.base.section import Column, SectionData

FloatArray = npt.NDArray[np.float64]
ObjectArray = npt.NDArray[np.object_]
NAMES_IN_A_WARNING = 20


@dataclass(frozen=True, slots=True, eq=False)
class Valuation:
    """What each position is worth, row by row with the positions; money in the instrument's currency, NaN unknown."""

    price: FloatArray
    price_date: npt.NDArray[np.datetime64]
    price_source: ObjectArray
    market_value: FloatArray
    daily_pnl: FloatArray
    total_pnl: FloatArray


def value_at_price(inputs: Inputs, overrides: Overrides) -> Valuation:
    """Quantity × multiplier × price; P&L against the previous business day's EOD price and the entry price."""
    held, prices, price = inputs.positions, inputs.prices, overrides.price
    size = (held["quantity"], held["multiplier"])
    return Valuation(
        price=price,
        price_date=prices.price_date,
        price_source=overrides.sources(prices.price_source),
        market_value=pnl.market_value(*size, price),
        daily_pnl=pnl.price_gain(*size, price, inputs.previous_prices.price),
        total_pnl=pnl.price_gain(*size, price, held["entry_price"]),
    )


def position_data(
    inputs: Inputs,
    valuation: Valuation,
    *,
    fields: Mapping[str, Column],
    money: Mapping[str, FloatArray] | None = None,
    notes: Mapping[str, Any] | None = None,
    warnings: Iterable[str] = (),
) -> SectionData:
    """The section's answer: the common fields, then `fields`, one row per position.

    `money` are further amounts in the instrument's currency that are summed, in base currency, into the totals under
    `<name>_base`, beside market value and P&L. A row without a market value is left out of all of them.
    """
    held = inputs.positions
    fx_rate = inputs.fx.rates(held["currency"], inputs.base_currency)
    rows: dict[str, Column] = {
        "book": held["book"],
        "instrument": held["instrument"],
        "currency": held["currency"],
        "quantity": held["quantity"],
        "price": valuation.price,
        "price_date": valuation.price_date,
        "price_source": valuation.price_source,
        "market_value": valuation.market_value,
        "market_value_base": valuation.market_value * fx_rate,
        "fx_rate": fx_rate,
        "daily_pnl": valuation.daily_pnl,
        "total_pnl": valuation.total_pnl,
        **fields,
    }
    summed = {
        "market_value": valuation.market_value,
        "daily_pnl": valuation.daily_pnl,
        "total_pnl": valuation.total_pnl,
        **(money or {}),
    }
    known = ~np.isnan(valuation.market_value)
    in_base = {f"{name}_base": np.where(known, amount * fx_rate, np.nan) for name, amount in summed.items()}
    return SectionData(
        rows=rows,
        totals=totals_by_book(held["book"], in_base),
        coverage=coverage(held["quantity"] * held["multiplier"], valuation.price, held["entry_price"], fx_rate),
        warnings=[*_common_warnings(inputs, valuation, fx_rate), *warnings],
        notes=notes or {},
        symbols=frozenset(held["instrument"]),
        market_data_as_of=_iso_day(np.max, valuation.price_date),
        positions_as_of=inputs.base.pos_date.isoformat() if inputs.size else None,
        oldest_price_date=_iso_day(np.min, valuation.price_date),
    )


def empty_book_warnings(inputs: Inputs) -> list[str]:
    """One warning naming the books that hold nothing at all on pos_date."""
    if not inputs.empty_books:
        return []
    return [f"no positions on {inputs.base.pos_date} in {named(inputs.empty_books)}"]


def named(names: Sequence[str]) -> str:
    """Names in a warning, cut where there are very many."""
    shown = ", ".join(names[:NAMES_IN_A_WARNING])
    rest = len(names) - NAMES_IN_A_WARNING
    return f"{shown} and {rest} more" if rest > 0 else shown


def _common_warnings(inputs: Inputs, valuation: Valuation, fx_rate: FloatArray) -> list[str]:
    held = inputs.positions
    warnings = empty_book_warnings(inputs)
    unpriced = np.unique(held["instrument"][np.isnan(valuation.price)].astype(str))
    if len(unpriced):
        warnings.append(f"no price for {named(unpriced.tolist())}")
    unbought = np.unique(held["instrument"][np.isnan(held["entry_price"])].astype(str))
    if len(unbought):
        warnings.append(f"no entry price for {named(unbought.tolist())}")
    without_rate = np.unique(held["currency"][np.isnan(fx_rate)].astype(str))
    if len(without_rate):
        warnings.append(f"no exchange rate to {inputs.base_currency} for {named(without_rate.tolist())}")
    return warnings


def _iso_day(choose: Any, days: npt.NDArray[np.datetime64]) -> str | None:
    known = days[~np.isnat(days)]
    return str(choose(known)) if len(known) else None
