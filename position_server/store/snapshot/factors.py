"""Factor betas of equities as the nights' fits left them: of each instrument those of its newest fit up to a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from sqlalchemy import and_, func, select

from position_server.store.columns import ColumnReader, in_values
from position_server.store.tables import factor_exposures, factor_fits


@dataclass(frozen=True, slots=True, eq=False)
class FactorBetas:
    """Betas (n, k) on the factors named (k,), row by row with instruments; NaN and NaT where there is no fit.

    The market beta (n,) is that on the market factor alone.
    """

    factors: tuple[str, ...]
    betas: npt.NDArray[np.float64]
    market_beta: npt.NDArray[np.float64]
    fit_date: npt.NDArray[np.datetime64]


def factor_betas(reader: ColumnReader, upto: date, instruments: npt.NDArray[np.object_]) -> FactorBetas:
    """The betas of the newest fit on or before `upto`; a fit may have none. Raises StoreUnavailable."""
    fits = factor_fits.c
    newest = (
        select(fits.instrument, func.max(fits.fit_date).label("fit_date"))
        .where(fits.fit_date <= upto, in_values(fits.instrument, dict.fromkeys(instruments)))
        .group_by(fits.instrument)
        .subquery("newest")
    )
    whole = reader.read(
        select(fits.instrument, fits.fit_date, fits.market_beta).join(
            newest, and_(fits.instrument == newest.c.instrument, fits.fit_date == newest.c.fit_date)
        )
    )
    single = factor_exposures.c
    parts = reader.read(
        select(single.instrument, single.factor, single.beta).join(
            newest, and_(single.instrument == newest.c.instrument, single.exposure_date == newest.c.fit_date)
        )
    )
    factors = tuple(sorted(set(parts["factor"])))
    place = {name: column for column, name in enumerate(factors)}
    betas: dict[str, npt.NDArray[np.float64]] = {}
    for name, factor, beta in zip(parts["instrument"], parts["factor"], parts["beta"], strict=True):
        betas.setdefault(name, np.full(len(factors), np.nan))[place[factor]] = beta
    row_by_name = {name: row for row, name in enumerate(whole["instrument"])}
    rows = [row_by_name.get(name, -1) for name in instruments]
    none = np.full(len(factors), np.nan)
    return FactorBetas(
        factors=factors,
        betas=np.array([betas.get(name, none) for name in instruments]).reshape(len(instruments), len(factors)),
        market_beta=np.array([np.nan if row < 0 else whole["market_beta"][row] for row in rows], dtype=np.float64),
        fit_date=np.array(
            [np.datetime64("NaT", "D") if row < 0 else whole["fit_date"][row] for row in rows], dtype="datetime64[D]"
        ),
    )
