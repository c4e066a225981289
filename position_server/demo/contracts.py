"""Which derivatives the desk trades, and the exchanges' date rules: last trading days, delivery days, symbols.

Pure dates and names; no price is known here. Rules: CME rulebook chapters 251 to 265 (FX), 350 and 352 (Bitcoin and
Ether), CBOT chapters 18 to 21, 26, 39 and 40 (Treasuries), OCC's option symbology.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from position_server.business_days import Calendar
from position_server.demo.sources import FuturesRoot, Market
from position_server.symbols import OptionSymbol

MONTH_CODES = "FGHJKMNQUVXZ"
QUARTERS = ((2025, 12), (2026, 3), (2026, 6))
CRYPTO_MONTHS = ((2025, 10), (2025, 11), (2025, 12), (2026, 1))
TN_QUARTERS = QUARTERS[:2]  # the 10-year note that June 2026 takes is issued after the demo's last day
OPTION_EXPIRIES = ((2025, 11), (2025, 12), (2026, 1))
SHORT_NOTES = ("ZT", "ZF")
WEDNESDAY, FRIDAY = 2, 4


@dataclass(frozen=True, slots=True)
class Contract:
    """One future. `first_delivery` is the first day of its month, `delivery` the day the model delivers on."""

    symbol: str
    root: FuturesRoot
    expiry: date
    first_delivery: date
    delivery: date


def futures(market: Market, calendar: Calendar) -> list[Contract]:
    """Every contract of the desk, by root and month."""
    return [_contract(root, year, month, calendar) for root in market.roots.values() for year, month in _months(root)]


def _months(root: FuturesRoot) -> tuple[tuple[int, int], ...]:
    if root.family == "crypto":
        return CRYPTO_MONTHS
    return TN_QUARTERS if root.root == "TN" else QUARTERS


def _contract(root: FuturesRoot, year: int, month: int, calendar: Calendar) -> Contract:
    last, delivery = _dates(root, year, month, calendar)
    symbol = f"{root.root}{MONTH_CODES[month - 1]}{year % 100:02d}"
    return Contract(symbol, root, last, date(year, month, 1), delivery)


def _dates(root: FuturesRoot, year: int, month: int, calendar: Calendar) -> tuple[date, date]:
    """Last trading day and delivery day of the contract of that month."""
    month_end = calendar.previous(date(year + month // 12, month % 12 + 1, 1))
    if root.family == "crypto":
        last = calendar.on_or_before(_last_weekday(year, month, FRIDAY))
        return last, last
    if root.family == "fx":
        third_wednesday = nth_weekday(year, month, WEDNESDAY, 3)
        return calendar.shift(third_wednesday, -1 if root.root == "6C" else -2), third_wednesday
    if root.root in SHORT_NOTES:
        return month_end, calendar.shift(month_end, 3)
    return calendar.shift(month_end, -7), month_end


def nth_weekday(year: int, month: int, weekday: int, n: int) -> date:
    """The n-th `weekday` (Monday is 0) of the month."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _last_weekday(year: int, month: int, weekday: int) -> date:
    fourth = nth_weekday(year, month, weekday, 4)
    fifth = fourth + timedelta(days=7)
    return fifth if fifth.month == month else fourth


def option_expiry(year: int, month: int, calendar: Calendar) -> date:
    """The last trading day of the month's standard equity options: the third Friday."""
    return calendar.on_or_before(nth_weekday(year, month, FRIDAY, 3))


def occ_symbol(underlying: str, expiry: date, right: str, strike: float) -> str:
    """OCC's symbol without its padding: `AAPL251121C00250000`."""
    return OptionSymbol(underlying, expiry, right, strike).compact
