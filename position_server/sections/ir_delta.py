"""Interest-rate delta: what one basis point on each par tenor is worth, from the bonds' cash flows and rate futures.

Money in base currency for a fall of one basis point, by book and in all; positive for who is long. A Treasury future
moves as its theoretical price does: the cheapest to deliver of the known bonds, carried to the end of its month.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from position_server.analytics import curves, pnl
from position_server.analytics.bond_values import BondTerms, curve_deltas
from position_server.analytics.curves import DiscountCurve
from position_server.analytics.futures import (
    GRADES,
    Deliverables,
    conversion_factor,
    is_deliverable,
    treasury_future_price,
)
from position_server.analytics.totals import coverage, groups, totals_by_book
from position_server.sections.base import (
    CurveShift,
    Inputs,
    Needs,
    Section,
    SectionData,
    SectionParams,
    empty_book_warnings,
    named,
    par_rates,
    param,
)
from position_server.store.arrow import Columns
from position_server.store.snapshot import ParCurve

FloatArray = npt.NDArray[np.float64]
FACE = 100.0
PARALLEL = "curve_dv01_base"


class IrDeltaParams(SectionParams):
    """What a POST may override."""

    curve_shift_bp: CurveShift | None = param("Basis points to move the par curve by first: one number, or by tenor.")


@dataclass(frozen=True, slots=True, eq=False)
class _Deltas:
    """Per position (n,): the delta to all tenors at once, and to each (n, T); money in the instrument's currency."""

    parallel: FloatArray
    by_tenor: FloatArray


def compute(inputs: Inputs, params: IrDeltaParams) -> SectionData:
    """Sums the tenor deltas of every bond and Treasury future."""
    kept = _with_rate_risk(inputs)
    curve = inputs.market.curve
    if curve is None:
        return _answer(inputs, kept, None, _unknown(kept.sum()), params)
    base = curves.bootstrap(curve.tenor_years, curve.rates)
    shift = 0.0 if params.curve_shift_bp is None else params.curve_shift_bp
    moved = curves.bootstrap(curve.tenor_years, par_rates(SECTION.name, curve, shift))
    deltas = _unknown(inputs.size, len(curve.tenors))
    _add_bonds(inputs, base, moved, deltas)
    _add_futures(inputs, moved, deltas)
    return _answer(inputs, kept, curve, _Deltas(deltas.parallel[kept], deltas.by_tenor[kept]), params)


def _with_rate_risk(inputs: Inputs) -> npt.NDArray[np.bool_]:
    """Which positions count: bonds, and futures on Treasuries."""
    held = inputs.positions
    is_rate_future = (held["kind"] == "FUTURE") & np.isin(held["root"].astype(str), list(GRADES))
    return np.asarray((held["kind"] == "BOND") | is_rate_future, dtype=np.bool_)


def _unknown(size: int, tenors: int = 0) -> _Deltas:
    return _Deltas(np.full(size, np.nan), np.full((size, tenors), np.nan))


def _add_bonds(inputs: Inputs, curve: DiscountCurve, moved: DiscountCurve, deltas: _Deltas) -> None:
    held = inputs.positions
    rows = np.flatnonzero(held["kind"] == "BOND")
    if not len(rows):
        return
    first, place = groups(held["instrument"][rows])
    terms = BondTerms(held["coupon"][rows][first], held["maturity"][rows][first])
    quoted = inputs.prices.price[rows][first]
    risk = curve_deltas(terms, inputs.market.settlement, quoted, curve, moved)
    per_face = held["quantity"][rows] / FACE
    deltas.parallel[rows] = per_face * risk.curve_dv01[place]
    deltas.by_tenor[rows] = per_face[:, None] * risk.key_rate_dv01[place]


def _add_futures(inputs: Inputs, moved: DiscountCurve, deltas: _Deltas) -> None:
    held = inputs.positions
    bumped = curves.bootstrap(moved.tenor_years, curves.down_bumps(moved.par_rates))
    size = held["quantity"] * held["multiplier"]
    for (root, expiry), rows in _rate_futures(inputs).items():
        price = _theoretical(inputs, bumped, root, expiry)
        deltas.parallel[rows] = size[rows] * (price[1] - price[0])
        deltas.by_tenor[rows] = size[rows, None] * (price[2:] - price[0])


def _rate_futures(inputs: Inputs) -> dict[tuple[str, np.datetime64], list[int]]:
    """The positions in Treasury futures by root and expiry: all that the theoretical price depends on."""
    held = inputs.positions
    rows_by_terms: dict[tuple[str, np.datetime64], list[int]] = {}
    for row in np.flatnonzero(_with_rate_risk(inputs) & (held["kind"] == "FUTURE")).tolist():
        rows_by_terms.setdefault((held["root"][row], held["expiry"][row]), []).append(row)
    return rows_by_terms


def _theoretical(inputs: Inputs, curves_: DiscountCurve, root: str, expiry: np.datetime64) -> FloatArray:
    """Prices of the contract on the curve as it is, on the parallel bump, and on each tenor's (T + 2,)."""
    known = inputs.instruments
    month = expiry.astype("datetime64[M]")
    first_day, last_day = month.astype("datetime64[D]"), (month + 1).astype("datetime64[D]") - np.timedelta64(1, "D")
    fits = is_deliverable(root, known["maturity"], known["issue_date"], first_day, unknown_issue=True)
    fits &= ~(known["issue_date"] > np.datetime64(inputs.market.settlement, "D"))  # NaT is not later
    coupon, maturity = known["coupon"][fits], known["maturity"][fits]
    factor = conversion_factor(coupon, maturity, first_day, root)
    basket = Deliverables(coupon, maturity, factor, np.zeros(len(coupon)))
    return treasury_future_price(curves_, basket, inputs.market.settlement, last_day.item())


def _answer(
    inputs: Inputs, kept: npt.NDArray[np.bool_], curve: ParCurve | None, deltas: _Deltas, params: IrDeltaParams
) -> SectionData:
    held = {name: column[kept] for name, column in inputs.positions.items()}
    fx_rate = inputs.fx.rates(held["currency"], inputs.base_currency)
    tenors = curve.tenors if curve else ()
    amounts = {tenor: deltas.by_tenor[:, place] * fx_rate for place, tenor in enumerate(tenors)}
    unknown = np.unique(held["instrument"][np.isnan(deltas.parallel)].astype(str)).tolist()
    warnings = [
        *empty_book_warnings(inputs),
        *([] if curve else [f"no par curve on or before {inputs.market.time.close_date}"]),
        *([f"no interest-rate delta for {named(unknown)}"] if unknown and curve else []),
    ]
    return SectionData(
        rows={},
        totals=totals_by_book(held["book"], {PARALLEL: deltas.parallel * fx_rate}),
        coverage=_coverage(held, deltas, fx_rate),
        warnings=warnings,
        notes={
            "by_tenor": totals_by_book(held["book"], amounts),
            "curve_shift_bp": params.curve_shift_bp,
            "curve_date": curve.curve_date if curve else None,
        },
        symbols=frozenset(held["instrument"]),
        market_data_as_of=curve.curve_date.isoformat() if curve else None,
        positions_as_of=inputs.base.pos_date.isoformat() if len(held["book"]) else None,
        oldest_price_date=curve.curve_date.isoformat() if curve else None,
    )


def _coverage(held: Columns, deltas: _Deltas, fx_rate: FloatArray) -> dict[str, Any]:
    """How much of the exposure, by entry price, has a delta."""
    counted = np.where(np.isnan(deltas.parallel), np.nan, held["entry_price"])
    size = held["quantity"] * pnl.per_unit(held["kind"], held["multiplier"])
    return coverage(size, counted, held["entry_price"], fx_rate)


SECTION = Section(
    "ir_delta",
    needs=Needs(positions=("BOND", "FUTURE"), prices=True, curve=True, fx=True, instruments="BOND", previous=False),
    params=IrDeltaParams,
    compute=compute,
)
