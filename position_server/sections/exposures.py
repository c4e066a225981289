"""Exposures: factor betas of each book, weighted by its PUBLIC equities, and what it has in private and in options.

No rows. The betas are those of the newest nightly fit up to the day of the prices; before any night there are none, and
a warning says so. Every position is valued as in the section of its kind, by the same formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from position_server.analytics import bonds, curves, pnl
from position_server.analytics.bond_values import BondTerms, clean_prices
from position_server.analytics.exposures import allocation_pct, weighted_exposures
from position_server.analytics.totals import coverage, groups, totals_by_book
from position_server.sections.base import (
    Inputs,
    Needs,
    Section,
    SectionData,
    SectionParams,
    empty_book_warnings,
    named,
)
from position_server.sections.base.inputs import declared
from position_server.sections.base.marks import private_marks
from position_server.store.snapshot import FactorBetas

FloatArray = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
KINDS = ("BOND", "EQUITY", "FUTURE", "OPTION", "PRIVATE", "SPOT")
MARKET_BETA = "market_beta"


def compute(inputs: Inputs, _: SectionParams) -> SectionData:
    """The exposures of each book, and of all of them together."""
    held = inputs.positions
    unit_price = _unit_prices(inputs)
    local = _market_values(inputs, unit_price)
    fx_rate = inputs.fx.rates(held["currency"], inputs.base_currency)
    value = local * fx_rate
    factors = declared(inputs.market.factors, "factors=True")
    equity = (held["kind"] == "EQUITY") & (held["investment_class"] == "PUBLIC")
    everywhere = np.ones(inputs.size, np.bool_)
    by_book = {
        book: _exposures(inputs, value, factors, equity, np.asarray(held["book"] == book))
        for book in dict.fromkeys(held["book"].tolist())
    }
    dated = _price_dates(inputs, unit_price)
    return SectionData(
        totals=totals_by_book(held["book"], _amounts(inputs, value, equity)),
        coverage=coverage(
            held["quantity"] * pnl.per_unit(held["kind"], held["multiplier"]), unit_price, held["entry_price"], fx_rate
        ),
        warnings=[*empty_book_warnings(inputs), *_warnings(inputs, value, factors, equity)],
        notes={"by_book": by_book, "all": _exposures(inputs, value, factors, equity, everywhere)},
        symbols=frozenset(held["instrument"]),
        market_data_as_of=str(dated.max()) if len(dated) else None,
        positions_as_of=inputs.base.pos_date.isoformat() if inputs.size else None,
        oldest_price_date=str(dated.min()) if len(dated) else None,
    )


def _exposures(inputs: Inputs, value: FloatArray, factors: FactorBetas, equity: Bools, rows: Bools) -> dict[str, Any]:
    """The exposures of the positions in `rows`."""
    chosen = rows & equity
    betas = np.column_stack([factors.betas, factors.market_beta])[chosen]
    weighted = weighted_exposures(value[chosen], betas)
    amounts = [None if np.isnan(one) else float(one) for one in weighted.exposures]
    classes = inputs.positions["investment_class"][rows]
    dates = factors.fit_date[chosen & ~np.isnan(factors.market_beta)]
    return {
        "exposures": dict(zip((*factors.factors, MARKET_BETA), amounts, strict=True)),
        "private_allocation_pct": allocation_pct(value[rows], np.asarray(classes == "PRIVATE")),
        "options_allocation_pct": allocation_pct(value[rows], np.asarray(classes == "OPTIONS")),
        "coverage": weighted.coverage,
        "exposures_as_of": str(dates.min()) if len(dates) else None,
        "note": (
            f"weights: market values of {weighted.count} PUBLIC equities with factor exposures, over their gross market"
            f" value of {weighted.gross:.2f} {inputs.base_currency}; allocations: percent of the gross market value of"
            " all positions"
        ),
    }


def _market_values(inputs: Inputs, unit_price: FloatArray) -> FloatArray:
    """In the instrument's currency, as in the section of its kind."""
    held = inputs.positions
    size, kind = (held["quantity"], held["multiplier"]), held["kind"]
    values = pnl.market_value(*size, unit_price)
    futures = kind == "FUTURE"
    values[futures] = pnl.price_gain(*size, unit_price, held["entry_price"])[futures]
    bond_rows = np.flatnonzero(kind == "BOND")
    values[bond_rows] = pnl.bond_market_value(held["quantity"][bond_rows], unit_price[bond_rows])
    private = kind == "PRIVATE"
    values[private] = private_marks(inputs.market, held).market_value[private]
    return values


def _unit_prices(inputs: Inputs) -> FloatArray:
    """Prices, dirty ones of bonds, and values per unit of what is private."""
    held = inputs.positions
    prices = inputs.prices.price.copy()
    bond_rows = np.flatnonzero(held["kind"] == "BOND")
    if len(bond_rows):
        prices[bond_rows] = _dirty_prices(inputs, bond_rows)
    private = held["kind"] == "PRIVATE"
    with np.errstate(all="ignore"):
        size = held["quantity"] * held["multiplier"]
        marked = np.where(size != 0, private_marks(inputs.market, held).market_value / size, np.nan)
    prices[private] = marked[private]
    return prices


def _price_dates(inputs: Inputs, unit_price: FloatArray) -> npt.NDArray[np.datetime64]:
    """The days of the prices that were used: of a bond without a quote the curve's, of what is private its value's."""
    held, curve = inputs.positions, inputs.market.curve
    dates = inputs.prices.price_date.copy()
    if curve is not None:
        dates[(held["kind"] == "BOND") & np.isnan(inputs.prices.price)] = np.datetime64(curve.curve_date, "D")
    private = held["kind"] == "PRIVATE"
    dates[private] = private_marks(inputs.market, held).valued_on[private]
    return dates[~np.isnan(unit_price) & ~np.isnat(dates)]


def _dirty_prices(inputs: Inputs, rows: npt.NDArray[np.intp]) -> FloatArray:
    """Of the bonds in `rows`, each valued once."""
    held, market = inputs.positions, inputs.market
    first, place = groups(held["instrument"][rows])
    terms = BondTerms(held["coupon"][rows][first], held["maturity"][rows][first])
    curve = curves.bootstrap(market.curve.tenor_years, market.curve.rates) if market.curve else None
    clean, periods = clean_prices(terms, market.settlement, inputs.prices.price[rows][first], curve)
    return np.asarray((clean + bonds.accrued(terms.coupon, periods))[place])


def _amounts(inputs: Inputs, value: FloatArray, equity: Bools) -> Mapping[str, FloatArray]:
    """What the totals sum, in base currency."""
    classes = inputs.positions["investment_class"]
    return {
        "market_value_base": value,
        "public_equities_base": np.where(equity, value, np.nan),
        "options_base": np.where(classes == "OPTIONS", value, np.nan),
        "private_base": np.where(classes == "PRIVATE", value, np.nan),
    }


def _warnings(inputs: Inputs, value: FloatArray, factors: FactorBetas, equity: Bools) -> list[str]:
    names, day = inputs.positions["instrument"], inputs.market.time.close_date
    unfitted = equity & np.isnan(factors.market_beta)
    old = equity & ~unfitted & (factors.fit_date < np.datetime64(day, "D"))
    warnings = []
    if np.isnan(value).any():
        warnings.append(f"no value for {_listed(names[np.isnan(value)])}")
    if equity.any() and unfitted[equity].all():
        warnings.append(f"no factor exposures on or before {day}: they come from the nightly symbols batch")
    elif unfitted.any():
        warnings.append(f"no factor exposures for {_listed(names[unfitted])}")
    if old.any():
        warnings.append(f"factor exposures from before {day} for {_listed(names[old])}")
    return warnings


def _listed(names: npt.NDArray[np.object_]) -> str:
    return named(sorted(set(names)))


SECTION = Section(
    "exposures",
    needs=Needs(positions=KINDS, prices=True, curve=True, fx=True, previous=False, valuations=True, factors=True),
    compute=compute,
)
