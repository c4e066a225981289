"""The market data shipped with the package, read into arrays: what really happened, 2025-05-30 to 2025-10-30.

Origins and licences are in docs/data.md. Nothing here is invented, computed or filled: a day without a value has none.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from typing import NamedTuple

DATA = resources.files("position_server.demo") / "data"
PAR_TENORS = ("1M", "3M", "6M", "1Y", "2Y", "3Y", "5Y", "7Y", "10Y", "20Y", "30Y")
OVERNIGHT_CURVES = ("SOFR", "FED_FUNDS")


class Bar(NamedTuple):
    """One day of one instrument: price units of the instrument, volume in its units."""

    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Treasury:
    """The terms of one nominal Treasury. `issue_date` is None where the origin does not state it (before mid-2024)."""

    isin: str
    coupon_pct: float
    maturity: date
    issue_date: date | None
    term_years: int

    def is_issued(self, on: date) -> bool:
        """Whether it had been issued on that day."""
        return self.issue_date is None or self.issue_date <= on


@dataclass(frozen=True, slots=True)
class FuturesRoot:
    """What every contract of one root shares. `family` is fx, crypto or treasury; `underlying` the spot pair."""

    root: str
    name: str
    family: str
    underlying: str
    exchange: str
    multiplier: float
    tick_size: float


@dataclass(frozen=True, slots=True)
class PrivateMark:
    """One manual valuation of a private holding, per unit."""

    instrument: str
    name: str
    currency: str
    on: date
    value: float


@dataclass(frozen=True, slots=True)
class Market:
    """All of it. Rates in percent; `par[day]` has one rate for each of PAR_TENORS."""

    par: Mapping[date, tuple[float, ...]]
    overnight: Mapping[date, tuple[float, float]]
    fx: Mapping[date, Mapping[str, float]]
    bars: Mapping[str, Mapping[date, Bar]]
    coins: tuple[str, ...]
    names: Mapping[str, str]
    treasuries: tuple[Treasury, ...]
    roots: Mapping[str, FuturesRoot]
    policy_rates: tuple[tuple[str, date, float], ...]
    marks: tuple[PrivateMark, ...]

    def curve_day(self, on: date) -> date:
        """The last day with a curve, not after `on`."""
        return max(day for day in self.par if day <= on)

    def policy_rate_pct(self, currency: str, on: date) -> float:
        """The policy rate of `currency` in force on that day, in percent."""
        return max((since, rate) for name, since, rate in self.policy_rates if name == currency and since <= on)[1]

    def fx_pairs(self) -> tuple[str, ...]:
        """The currency pairs, one leg of each is USD."""
        return tuple(next(iter(self.fx.values())))


def read_market() -> Market:
    """The shipped files, read whole."""
    curves = {_day(row): row for row in _rows("ust_curves.csv")}
    coins = _bars("crypto_daily.csv", suffix="USD")
    return Market(
        par={day: tuple(float(row[tenor]) for tenor in PAR_TENORS) for day, row in curves.items()},
        overnight={day: (float(row["SOFR"]), float(row["FED_FUNDS"])) for day, row in curves.items()},
        fx={_day(row): {p: float(v) for p, v in row.items() if p != "date"} for row in _rows("ecb_fx.csv")},
        bars=_bars("nasdaq100_daily.csv") | coins,
        coins=tuple(coins),
        names={row["symbol"]: row["name"] for row in _rows("equity_names.csv")},
        treasuries=tuple(_treasury(row) for row in _rows("treasuries.csv")),
        roots={row["root"]: _root(row) for row in _rows("futures_roots.csv")},
        policy_rates=tuple(
            (row["currency"], date.fromisoformat(row["effective"]), float(row["rate_pct"]))
            for row in _rows("policy_rates.csv")
        ),
        marks=tuple(_mark(row) for row in _rows("private_marks.csv")),
    )


def _rows(name: str) -> Iterable[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _day(row: Mapping[str, str]) -> date:
    return date.fromisoformat(row["date"])


def _bars(name: str, suffix: str = "") -> dict[str, dict[date, Bar]]:
    bars: defaultdict[str, dict[date, Bar]] = defaultdict(dict)
    for row in _rows(name):
        bars[row["symbol"] + suffix][_day(row)] = Bar(*(float(row[field]) for field in Bar._fields))
    return dict(bars)


def _treasury(row: Mapping[str, str]) -> Treasury:
    issued = date.fromisoformat(row["issue_date"]) if row["issue_date"] else None
    maturity = date.fromisoformat(row["maturity"])
    return Treasury(row["isin"], float(row["coupon_pct"]), maturity, issued, int(row["term_years"]))


def _root(row: Mapping[str, str]) -> FuturesRoot:
    return FuturesRoot(
        root=row["root"],
        name=row["name"],
        family=row["family"],
        underlying=row["underlying"],
        exchange=row["exchange"],
        multiplier=float(row["multiplier"]),
        tick_size=float(row["tick_size"]),
    )


def _mark(row: Mapping[str, str]) -> PrivateMark:
    return PrivateMark(row["instrument"], row["name"], row["currency"], _day(row), float(row["value"]))
