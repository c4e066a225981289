"""Interest rates at a MarketTime: the Treasury par curve, and an overnight rate.

The day asked for is the previous business day at SOD, else env_date; a day without a curve (a bond holiday) has the
last one before it. Values only: nothing is bootstrapped here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from sqlalchemy import func, select

from position_server.store.arrow import Columns
from position_server.store.columns import ColumnReader
from position_server.store.snapshot.market_time import MarketTime
from position_server.store.tables import curves

PAR_CURVE = "UST_PAR"
OVERNIGHT = "ON"
YEARS_PER_UNIT = {"D": 1 / 365, "W": 7 / 365, "M": 1 / 12, "Y": 1.0}
TENOR = re.compile(r"(\d{1,3})([DWMY])")


@dataclass(frozen=True, slots=True, eq=False)
class ParCurve:
    """Par yields of one day, shortest tenor first: tenor_years and rates (decimals) are aligned with tenors."""

    curve_date: date
    tenors: tuple[str, ...]
    tenor_years: npt.NDArray[np.float64]
    rates: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OvernightRate:
    """An overnight rate, a decimal, and its day."""

    rate_date: date
    rate: float


def par_curve(reader: ColumnReader, market_time: MarketTime) -> ParCurve | None:
    """The Treasury par curve at `market_time`, without the tenors it has no rate for; None where there is none."""
    found = _last_curve(reader, PAR_CURVE, market_time.close_date)
    points = sorted(
        (years, tenor, rate)
        for tenor, rate in zip(found["tenor"].tolist(), found["rate"].tolist(), strict=True)
        if (years := tenor_years(tenor)) is not None
    )
    if not points:
        return None
    return ParCurve(
        curve_date=found["curve_date"][0].item(),
        tenors=tuple(tenor for _, tenor, _ in points),
        tenor_years=np.array([years for years, _, _ in points]),
        rates=np.array([rate for _, _, rate in points]),
    )


def overnight_rate(reader: ColumnReader, market_time: MarketTime, curve: str = "SOFR") -> OvernightRate | None:
    """The overnight rate named `curve` (SOFR, FED_FUNDS) at `market_time`; None where there is none."""
    found = _last_curve(reader, curve, market_time.close_date)
    rates = [rate for tenor, rate in zip(found["tenor"], found["rate"].tolist(), strict=True) if tenor == OVERNIGHT]
    return OvernightRate(found["curve_date"][0].item(), rates[0]) if rates else None


def tenor_years(tenor: str) -> float | None:
    """The length of a tenor such as 6M or 10Y in years; None for what is no length (ON)."""
    match = TENOR.fullmatch(tenor)
    return None if match is None else int(match[1]) * YEARS_PER_UNIT[match[2]]


def _last_curve(reader: ColumnReader, curve: str, asked: date) -> Columns:
    """tenor, rate and curve_date of the newest day on or before `asked` that has any rate."""
    has_rate = (curves.c.curve == curve, curves.c.rate.is_not(None))
    last_date = select(func.max(curves.c.curve_date)).where(*has_rate, curves.c.curve_date <= asked).scalar_subquery()
    return reader.read(
        select(curves.c.tenor, curves.c.rate, curves.c.curve_date).where(*has_rate, curves.c.curve_date == last_date)
    )
