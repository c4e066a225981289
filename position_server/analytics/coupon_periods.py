"""Where a settlement date stands in a bond's semi-annual coupon schedule, for many bonds at once.

Only dates, no money. The schedule is the regular one, counted back from maturity: issue and reopening dates, long or
short first coupons and holidays play no part in it (ICMA Rule 251; 31 CFR 356, Appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
DateArray = npt.NDArray[np.datetime64]
IntArray = npt.NDArray[np.int64]
Dates = date | np.datetime64 | DateArray

MONTHS_PER_PERIOD = 6
PERIODS_PER_YEAR = 2
ONE_DAY = np.timedelta64(1, "D")
ANY_DAY = np.datetime64("2000-01-15", "D")  # stands in for an unknown or past maturity until it is masked out


@dataclass(frozen=True, slots=True, eq=False)
class CouponPeriods:
    """The current coupon period of n bonds; every array is (n,).

    A bond that has matured by settlement, or whose maturity is unknown, has NaT, NaN and 0 remaining coupons. On a
    coupon date that day's coupon is paid to the seller: it is `previous`, and the remaining fraction is 1.
    """

    previous: DateArray
    next: DateArray
    remaining: IntArray  # coupons after settlement, the one at maturity included
    remaining_fraction: FloatArray  # days to the next coupon ÷ days of the period, in (0, 1]: ACT/ACT ICMA
    accrued_fraction: FloatArray  # days since the previous coupon ÷ days of the period, in [0, 1)

    @property
    def years_to_maturity(self) -> FloatArray:
        """The time of the last coupon, where the i-th remaining one (from 0) is (i + remaining fraction) / 2 away."""
        return (self.remaining - 1 + self.remaining_fraction) / PERIODS_PER_YEAR


def coupon_periods(maturity: Dates, settlement: Dates) -> CouponPeriods:
    """The coupon periods of bonds maturing on `maturity` (n,) that hold `settlement`: one date, or (n,)."""
    matures, settles = np.broadcast_arrays(days(maturity), days(settlement))
    alive = matures > settles  # False for NaT
    matures = np.where(alive, matures, ANY_DAY + ONE_DAY)
    settles = np.where(alive, settles, ANY_DAY)
    number = month_difference(settles, matures) // MONTHS_PER_PERIOD
    candidate = _coupon_date(matures, number)
    remaining = np.where(candidate > settles, number + 1, number)
    following, previous = _coupon_date(matures, remaining - 1), _coupon_date(matures, remaining)
    length = (following - previous) / ONE_DAY
    return CouponPeriods(
        previous=np.where(alive, previous, np.datetime64("NaT")),
        next=np.where(alive, following, np.datetime64("NaT")),
        remaining=np.where(alive, remaining, 0),
        remaining_fraction=np.where(alive, (following - settles) / ONE_DAY / length, np.nan),
        accrued_fraction=np.where(alive, (settles - previous) / ONE_DAY / length, np.nan),
    )


def days(dates: Dates) -> DateArray:
    """Dates as an array of days, at least one-dimensional."""
    return np.atleast_1d(np.asarray(dates, dtype="datetime64[D]"))


def month_difference(start: DateArray, end: DateArray) -> IntArray:
    """How many months the end's month is after the start's: from a month's first day, the whole months that are left.

    A meaningless number where either is NaT.
    """
    between = end.astype("datetime64[M]") - start.astype("datetime64[M]")
    return np.asarray(between.astype(np.int64))


def _coupon_date(maturity: DateArray, number: IntArray) -> DateArray:
    """The coupon date `number` periods before maturity.

    A bond that matures on the last day of a month pays on last days; another keeps its day where the month has it.
    """
    maturity_month = maturity.astype("datetime64[M]")
    month = maturity_month - number * np.timedelta64(MONTHS_PER_PERIOD, "M")
    month_end = (month + np.timedelta64(1, "M")).astype("datetime64[D]") - ONE_DAY
    same_day = month.astype("datetime64[D]") + (maturity - maturity_month.astype("datetime64[D]"))
    ends_month = (maturity + ONE_DAY).astype("datetime64[M]") > maturity_month
    return np.where(ends_month, month_end, np.minimum(same_day, month_end))
