"""Slow, plain references: QuantLib bonds, and cash flows in ordinary Python. Nothing of the package in here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import QuantLib as ql


@dataclass(frozen=True, slots=True)
class Case:
    """One bond on one day."""

    coupon: float
    maturity: date
    settlement: date
    bond_yield: float


def ql_date(day: date) -> ql.Date:
    """A QuantLib date."""
    return ql.Date(day.day, day.month, day.year)


def is_month_end(day: date) -> bool:
    """Whether it is the last day of its month."""
    return (day + timedelta(days=1)).month != day.month


class QuantLibBond:
    """A FixedRateBond on regular coupon dates (the schedule starts on one before settlement), and its functions."""

    def __init__(self, case: Case) -> None:
        self._settlement = ql_date(case.settlement)
        maturity = ql_date(case.maturity)
        halves = (case.maturity.year - case.settlement.year + 1) * 2
        start = ql.NullCalendar().advance(maturity, -6 * halves, ql.Months, ql.Unadjusted, is_month_end(case.maturity))
        schedule = ql.Schedule(
            start,
            maturity,
            ql.Period(ql.Semiannual),
            ql.NullCalendar(),
            ql.Unadjusted,
            ql.Unadjusted,
            ql.DateGeneration.Backward,
            is_month_end(case.maturity),
        )
        self._days = ql.ActualActual(ql.ActualActual.ISMA)
        self._bond = ql.FixedRateBond(0, 100.0, schedule, [case.coupon], self._days, ql.Unadjusted, 100.0, start)
        self._dates = [d for d in schedule if d > self._settlement]
        self.remaining = len(self._dates)
        self.next = self._dates[0].ISO()
        self.previous = max(d for d in schedule if d <= self._settlement).ISO()
        # The street compounds, but in the last period its interest is simple: so is QuantLib's with this compounding.
        self.compounding = ql.Compounded if self.remaining > 1 else ql.SimpleThenCompounded

    def _rate(self, bond_yield: float, compounding: int | None = None) -> ql.InterestRate:
        chosen = self.compounding if compounding is None else compounding
        return ql.InterestRate(bond_yield, self._days, chosen, ql.Semiannual)

    def accrued(self) -> float:
        """Accrued interest per 100."""
        return float(self._bond.accruedAmount(self._settlement))

    def clean_price(self, bond_yield: float, compounding: int | None = None) -> float:
        """The clean price per 100."""
        rate = self._rate(bond_yield, compounding)
        return float(ql.BondFunctions.cleanPrice(self._bond, rate, self._settlement))

    def yield_of(self, clean_price: float) -> float:
        """The yield at a clean price."""
        price = ql.BondPrice(clean_price, ql.BondPrice.Clean)
        return float(
            ql.BondFunctions.bondYield(
                self._bond, price, self._days, self.compounding, ql.Semiannual, self._settlement, 1e-14, 1000, 0.05
            )
        )

    def modified_duration(self, bond_yield: float) -> float:
        """Years."""
        rate = self._rate(bond_yield)
        return float(ql.BondFunctions.duration(self._bond, rate, ql.Duration.Modified, self._settlement))

    def macaulay_duration(self, bond_yield: float) -> float:
        """Years; QuantLib knows it for compound interest only. Of one flow it is that flow's time."""
        if self.remaining == 1:
            length = self._dates[0] - ql.DateParser.parseISO(self.previous)
            return float(self._dates[0] - self._settlement) / length / 2
        rate = self._rate(bond_yield)
        return float(ql.BondFunctions.duration(self._bond, rate, ql.Duration.Macaulay, self._settlement))

    def convexity(self, bond_yield: float) -> float:
        """Years²."""
        return float(ql.BondFunctions.convexity(self._bond, self._rate(bond_yield), self._settlement))


def cases(count: int, seed: int = 7) -> list[Case]:
    """Bonds in every position of the coupon period: on a coupon date, the days beside it, last period, anywhere."""
    dice = np.random.default_rng(seed)
    made = []
    for number in range(count):
        month = np.datetime64("2025-01", "M") + np.timedelta64(int(dice.integers(0, 480)), "M")
        maturity = _maturity(month, number)
        halves = int(dice.integers(1, 61)) if number % 4 else 1
        coupon_month = (np.datetime64(maturity, "M") - np.timedelta64(6 * halves, "M")).astype("datetime64[D]").item()
        near_coupon = _same_day(coupon_month, maturity)
        offset = (0, -1, 1, int(dice.integers(2, 179)))[number % 16 // 4]
        settlement = near_coupon + timedelta(days=offset)
        coupon = 0.0 if number % 11 == 0 else float(dice.integers(1, 97)) / 800
        made.append(Case(coupon, maturity, settlement, float(dice.uniform(-0.02, 0.15))))
    return made


def _maturity(month: np.datetime64, number: int) -> date:
    first = month.astype("datetime64[D]").item()
    last = (month + 1).astype("datetime64[D]").item() - timedelta(days=1)
    return (first.replace(day=15), last, first.replace(day=min(28 + number % 3, last.day)), first)[number // 2 % 4]


def _same_day(month: date, maturity: date) -> date:
    last = ((np.datetime64(month, "M") + 1).astype("datetime64[D]").item() - timedelta(days=1)).day
    return month.replace(day=last if is_month_end(maturity) else min(maturity.day, last))


def flows(coupon: float, remaining: int, fraction: float) -> list[tuple[float, float]]:
    """(years, amount per 100) of every remaining flow."""
    amounts = [coupon * 50.0] * remaining
    amounts[-1] += 100.0
    return [((number + fraction) / 2, amount) for number, amount in enumerate(amounts)]
