"""Bonds: US Treasuries from their quotes, or off the day's par curve, with yield, durations, DV01 and key rates.

Prices are clean, per 100 of face; money is for the position. `daily_pnl` is the change of market value since the
previous business day's EOD plus `coupon_income`, the coupons paid between the two settlement dates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from position_server.analytics import bonds, curves, pnl
from position_server.analytics.bond_values import BondTerms, BondValues, clean_prices, value_bonds
from position_server.analytics.coupon_periods import CouponPeriods, coupon_periods
from position_server.analytics.curves import DiscountCurve
from position_server.analytics.totals import groups
from position_server.sections.base import (
    Column,
    CurveShift,
    Inputs,
    Keyed,
    Needs,
    Prices,
    Section,
    SectionData,
    SectionParams,
    Valuation,
    par_rates,
    param,
    position_data,
    unmatched,
    without,
)

FloatArray = npt.NDArray[np.float64]
FACE = 100.0
Yields = dict[str, Annotated[float, Field(gt=-2, lt=10, allow_inf_nan=False, strict=True)]]


class BondsParams(SectionParams):
    """What a POST may override."""

    exclude_isins: list[str] | None = param("Leave these bonds out.")
    clean_price_overrides: Prices | None = param("Clean price per 100 to use instead, by ISIN.")
    yield_overrides: Yields | None = param("Yield (decimal) to price from instead, by ISIN.")
    curve_shift_bp: CurveShift | None = param(
        "Basis points to move the par curve by: one number, or by tenor. Quoted bonds keep their spread to it."
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Universe:
    """The distinct bonds of the positions: each is valued once, whoever holds it. `place` (n,) finds a row's bond."""

    terms: BondTerms
    first: npt.NDArray[np.intp]
    place: npt.NDArray[np.intp]


def compute(inputs: Inputs, params: BondsParams) -> SectionData:
    """Values every bond position."""
    excluded = [isin for isin in params.exclude_isins or () if isin in set(inputs.positions["isin"])]
    strangers = unmatched("exclude_isins", params.exclude_isins or (), set(inputs.positions["isin"]))
    kept = without(inputs, inputs.positions["isin"], excluded)
    universe = _universe(kept)
    values = _values(kept, params, universe)
    isins = set(kept.positions["isin"])
    warnings = [
        *strangers,
        *unmatched("clean_price_overrides", params.clean_price_overrides or (), isins),
        *unmatched("yield_overrides", params.yield_overrides or (), isins),
        *([] if kept.market.curve else [f"no par curve on or before {kept.market.time.close_date}"]),
    ]
    notes = {
        "overrides_applied": {
            name: {isin: value for isin, value in (given or {}).items() if isin in isins}
            for name, given in (
                ("clean_price_overrides", params.clean_price_overrides),
                ("yield_overrides", params.yield_overrides),
            )
            if given
        },
        "excluded_isins": excluded,
        "curve_shift_bp": params.curve_shift_bp,
        "curve_date": kept.market.curve.curve_date if kept.market.curve else None,
    }
    return _answer(kept, params, universe, values, notes, warnings)


def _universe(inputs: Inputs) -> _Universe:
    held = inputs.positions
    first, place = groups(held["instrument"])
    return _Universe(BondTerms(held["coupon"][first], held["maturity"][first]), first, place)


def _values(inputs: Inputs, params: BondsParams, universe: _Universe) -> BondValues:
    curve, moved = _curves(inputs, params)
    return value_bonds(
        universe.terms,
        inputs.market.settlement,
        inputs.prices.price[universe.first],
        curve,
        moved_curve=moved,
        fixed_price=_fixed_prices(inputs, params, universe),
    )


def _curves(inputs: Inputs, params: BondsParams) -> tuple[DiscountCurve | None, DiscountCurve | None]:
    quoted = inputs.market.curve
    if quoted is None:
        return None, None
    curve = curves.bootstrap(quoted.tenor_years, quoted.rates)
    if params.curve_shift_bp is None:
        return curve, None
    return curve, curves.bootstrap(quoted.tenor_years, par_rates(SECTION.name, quoted, params.curve_shift_bp))


def _fixed_prices(inputs: Inputs, params: BondsParams, universe: _Universe) -> FloatArray | None:
    """Clean prices that the POST fixed, NaN elsewhere; a price goes before a yield. None where it fixed nothing."""
    if not params.clean_price_overrides and not params.yield_overrides:
        return None
    isins = inputs.positions["isin"][universe.first]
    prices = _by_isin(isins, params.clean_price_overrides)
    if not params.yield_overrides:
        return prices
    periods = coupon_periods(universe.terms.maturity, inputs.market.settlement)
    yields = _by_isin(isins, params.yield_overrides)
    return np.where(np.isnan(prices), bonds.clean_price_from_yield(yields, universe.terms.coupon, periods), prices)


def _by_isin(isins: npt.NDArray[np.object_], given: Mapping[str, float] | None) -> FloatArray:
    return np.array([(given or {}).get(isin, np.nan) for isin in isins], dtype=np.float64)


def _answer(
    inputs: Inputs,
    params: BondsParams,
    universe: _Universe,
    values: BondValues,
    notes: Mapping[str, Any],
    warnings: list[str],
) -> SectionData:
    held, place = inputs.positions, universe.place
    face = held["quantity"]
    per_face = face / FACE
    clean, accrued = values.clean_price[place], values.accrued[place]
    dirty = clean + accrued
    before, income = _before(inputs, universe, values.periods)
    valuation = Valuation(
        price=clean,
        price_date=_price_dates(inputs, clean),
        price_source=_price_sources(inputs, params, clean),
        market_value=pnl.bond_market_value(face, dirty),
        daily_pnl=pnl.bond_daily_pnl(face, dirty, before[place], income[place]),
        total_pnl=pnl.bond_total_pnl(face, clean, held["entry_price"]),
    )
    dv01 = per_face * values.risk.dv01[place]
    curve_dv01 = per_face * values.curve_risk.curve_dv01[place]
    return position_data(
        inputs,
        valuation,
        fields={
            "isin": held["isin"],
            "coupon": held["coupon"],
            "maturity": held["maturity"],
            "face": face,
            "settlement": np.full(inputs.size, np.datetime64(inputs.market.settlement, "D")),
            "clean_price": clean,
            "accrued": accrued,
            "dirty_price": dirty,
            "yield": values.yields[place],
            "macaulay_duration": values.risk.macaulay_duration[place],
            "modified_duration": values.risk.modified_duration[place],
            "convexity": values.risk.convexity[place],
            "dv01": dv01,
            "curve_dv01": curve_dv01,
            "key_rate_dv01": _key_rates(inputs, per_face, values.curve_risk.key_rate_dv01[place]),
            "curve_spread": values.spread[place],
            "coupon_income": per_face * income[place],
            "entry_price": held["entry_price"],
        },
        money={"dv01": dv01, "curve_dv01": curve_dv01},
        notes=notes,
        warnings=warnings,
    )


def _before(inputs: Inputs, universe: _Universe, now: CouponPeriods) -> tuple[FloatArray, FloatArray]:
    """Dirty prices at the previous business day's EOD, and coupons per 100 paid since; by distinct bond."""
    market = inputs.previous_market
    quoted = inputs.previous_prices.price[universe.first]
    curve = curves.bootstrap(market.curve.tenor_years, market.curve.rates) if market.curve else None
    clean, periods = clean_prices(universe.terms, market.settlement, quoted, curve)
    terms = universe.terms
    income = bonds.coupon_income(terms.coupon, terms.maturity, periods, now)
    return clean + bonds.accrued(terms.coupon, periods), income


def _price_dates(inputs: Inputs, clean: FloatArray) -> npt.NDArray[np.datetime64]:
    """The quote's date, or the curve's where the price comes from it."""
    curve = inputs.market.curve
    from_curve = np.datetime64(curve.curve_date if curve else "NaT", "D")
    dates = np.where(np.isnan(inputs.prices.price), from_curve, inputs.prices.price_date)
    return np.where(np.isnan(clean), np.datetime64("NaT", "D"), dates)


def _price_sources(inputs: Inputs, params: BondsParams, clean: FloatArray) -> npt.NDArray[np.object_]:
    sources = inputs.prices.price_source.copy()
    quoted = ~np.isnan(inputs.prices.price)
    sources[~quoted] = "curve"
    if params.curve_shift_bp is not None:
        sources[quoted] = "override"  # no longer the market's price
    fixed = {**(params.clean_price_overrides or {}), **(params.yield_overrides or {})}
    if fixed:
        sources[[isin in fixed for isin in inputs.positions["isin"]]] = "override"
    sources[np.isnan(clean)] = None
    return sources


def _key_rates(inputs: Inputs, per_face: FloatArray, key_rates: FloatArray) -> Column:
    """`{tenor: money}` for each position; null where it cannot be known."""
    curve = inputs.market.curve
    return Keyed(curve.tenors, per_face[:, None] * key_rates) if curve else [None] * len(per_face)


SECTION = Section(
    "bonds",
    needs=Needs(positions="BOND", prices=True, curve=True, fx=True),
    params=BondsParams,
    compute=compute,
)
