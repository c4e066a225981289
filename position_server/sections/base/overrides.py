"""What a POST may do to prices: replace some, shock some. Says what was applied, and warns of what matched nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from position_server.analytics.curves import shifted
from position_server.errors import BadRequest, Problem
from position_server.store.snapshot import ParCurve

Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Prices = dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]]  # above zero
FinitePrices = dict[str, Number]  # futures have traded below zero
Shock = Number | dict[str, Number]
CurveShift = Number | dict[str, Number]
FloatArray = npt.NDArray[np.float64]
ObjectArray = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Overrides:
    """Prices after overrides (n,), where they are not the market's (n,), what was applied, what matched nothing."""

    price: FloatArray
    overridden: npt.NDArray[np.bool_]
    applied: dict[str, Any]
    warnings: list[str]

    def sources(self, market: ObjectArray) -> ObjectArray:
        """The `price_source` of each row, given the market's."""
        sources = market.copy()
        sources[self.overridden] = "override"
        return sources


def override_prices(
    instruments: ObjectArray,
    price: FloatArray,
    overrides: Mapping[str, float] | None,
    shock_pct: float | Mapping[str, float] | None = None,
    roots: ObjectArray | None = None,
) -> Overrides:
    """Replaces prices by instrument, and moves the others by a percentage, for all or by instrument or root.

    An instrument's own shock goes before its root's; an override is never shocked.
    """
    overrides = overrides or {}
    replaced = np.full(len(instruments), np.nan)
    if overrides:
        replaced[:] = [overrides.get(name, np.nan) for name in instruments]
    is_replaced = ~np.isnan(replaced)
    shock = _shock_by_row(instruments, roots, shock_pct)
    is_shocked = ~np.isnan(shock) & ~is_replaced & ~np.isnan(price)
    moved = np.where(is_shocked, price * (1 + np.nan_to_num(shock) / 100), price)
    final = np.where(is_replaced, replaced, moved)
    held = set(instruments)
    applied: dict[str, Any] = {name: value for name, value in overrides.items() if name in held}
    warnings = unmatched("live_price_overrides", overrides, held)
    if isinstance(shock_pct, Mapping):
        warnings += unmatched("price_shock_pct", shock_pct, held | set(roots if roots is not None else ()))
    return Overrides(final, is_replaced | is_shocked, applied, warnings)


def par_rates(section: str, curve: ParCurve, shift_bp: float | Mapping[str, float]) -> FloatArray:
    """The par rates (T,) of the curve moved by a section's `curve_shift_bp`. Raises BadRequest for an unknown tenor."""
    try:
        return shifted(curve.tenors, curve.rates, shift_bp)
    except ValueError as error:
        raise BadRequest([Problem(f"section_params.{section}.curve_shift_bp", str(error))]) from error


def unmatched(parameter: str, names: Iterable[str], held: set[str]) -> list[str]:
    """One warning naming what a parameter names but no position holds."""
    strangers = [name for name in names if name not in held]
    return [f"{parameter}: no position in {', '.join(strangers)}"] if strangers else []


def _shock_by_row(
    instruments: ObjectArray, roots: ObjectArray | None, shock_pct: float | Mapping[str, float] | None
) -> FloatArray:
    if shock_pct is None:
        return np.full(len(instruments), np.nan)
    if not isinstance(shock_pct, Mapping):
        return np.full(len(instruments), shock_pct)
    keys = roots if roots is not None else instruments
    by_row = [shock_pct.get(name, shock_pct.get(root, np.nan)) for name, root in zip(instruments, keys, strict=True)]
    return np.array(by_row, dtype=np.float64)
