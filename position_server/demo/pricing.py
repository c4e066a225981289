"""One day's curve and the desk's Treasuries on it: `analytics` with the demo's data in their places.

Prices are per 100 of face, clean. No formulas here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import ArrayLike, NDArray

from position_server.analytics.coupon_periods import coupon_periods
from position_server.analytics.curve_bonds import clean_price_from_curve
from position_server.analytics.curves import bootstrap
from position_server.analytics.futures import Deliverables, conversion_factor, is_deliverable, treasury_future_price
from position_server.business_days import Calendar
from position_server.demo.contracts import Contract
from position_server.demo.sources import Treasury

Floats = NDArray[np.float64]
PAR_YEARS = (1 / 12, 0.25, 0.5, 1, 2, 3, 5, 7, 10, 20, 30)  # of sources.PAR_TENORS
DAYS_PER_YEAR, MONEY_MARKET_DAYS = 365.25, 360
BOND_MARKET = "XSIF"


class DayCurve:
    """The discount curve of one day. Its times count from the day's settlement, the bond market's next day."""

    def __init__(self, par_pct: Sequence[float], day: date) -> None:
        self.day = day
        self.settlement = Calendar.named(BOND_MARKET).next(day)
        self.discounts = bootstrap(PAR_YEARS, np.asarray(par_pct) / 100)

    def years(self, on: date) -> float:
        """Years from the day."""
        return (on - self.day).days / DAYS_PER_YEAR

    def rate(self, on: date) -> float:
        """The continuously compounded rate for the time from the day to `on`."""
        return float(self.discounts.zero_rate(self.years(on)))

    def money_market_rate(self, on: date) -> float:
        """The same as simple interest, ACT/360."""
        return float(np.expm1(self.rate(on) * self.years(on))) * MONEY_MARKET_DAYS / (on - self.day).days


class BondDesk:
    """All Treasuries as arrays, in the order they came in."""

    def __init__(self, bonds: Sequence[Treasury]) -> None:
        self._bonds = bonds
        self._coupons = np.array([bond.coupon_pct / 100 for bond in bonds])
        self._maturities = np.array([bond.maturity for bond in bonds], dtype="datetime64[D]")
        self._issued = np.array([_issue_date(bond) for bond in bonds], dtype="datetime64[D]")

    def clean_prices(self, curve: DayCurve, spread_bp: ArrayLike = 0.0) -> Floats:
        """Every bond's clean price off the curve, at a z-spread of so many basis points."""
        periods = coupon_periods(self._maturities, curve.settlement)
        return clean_price_from_curve(curve.discounts, self._coupons, periods, np.asarray(spread_bp) / 1e4)

    def future_price(self, contract: Contract, curve: DayCurve) -> float | None:
        """The contract's theoretical price; None while nothing that it takes has been issued."""
        rows = self.deliverable(contract, curve.day)
        if not rows.any():
            return None
        coupons, maturities = self._coupons[rows], self._maturities[rows]
        factors = conversion_factor(coupons, maturities, contract.first_delivery, contract.root.root)
        basket = Deliverables(coupons, maturities, factors, np.zeros(len(coupons)))
        return float(treasury_future_price(curve.discounts, basket, curve.settlement, contract.delivery)[0])

    def deliverable(self, contract: Contract, on: date) -> NDArray[np.bool_]:
        """Which bonds may be delivered into the contract, of those issued by that day."""
        fits = is_deliverable(contract.root.root, self._maturities, self._issued, contract.first_delivery)
        issued = [bond.is_issued(on) for bond in self._bonds]
        return np.logical_and(fits, issued)


def _issue_date(bond: Treasury) -> np.datetime64:
    """When it was issued; where the origin does not say, as long before maturity as its original term."""
    if bond.issue_date is not None:
        return np.datetime64(bond.issue_date, "D")
    return np.datetime64(bond.maturity, "M") - np.timedelta64(12 * bond.term_years, "M")
