"""price-bond: one US Treasury, price from yield or yield from price, with durations, convexity and DV01.

The formulas of analytics/bonds.py, which also value the bonds section. Percent in, per 100 of face out; `yield` is a
decimal, as everywhere in answers, `yield_pct` is percent. Reads no configuration, no store and no clock.
"""

from __future__ import annotations

import argparse
import json
import math
from datetime import date
from typing import Any

import numpy as np

from position_server.analytics.bonds import (
    Convention,
    accrued,
    clean_price_from_yield,
    risk,
    yield_from_clean_price,
)
from position_server.analytics.coupon_periods import CouponPeriods, coupon_periods
from position_server.errors import ConfigError

PERCENT = 100
LOWEST_YIELD_PCT = -200  # a half-year that loses everything


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bond, and its yield or its price. Checked in `run`, so that every complaint is one line."""
    parser.add_argument("--coupon", metavar="PERCENT", help="coupon rate, such as 4.25; 0 for a bill")
    parser.add_argument("--maturity", metavar="DATE", help="YYYY-MM-DD")
    parser.add_argument("--settlement", metavar="DATE", help="YYYY-MM-DD, before maturity")
    parser.add_argument("--yield", dest="yield_pct", metavar="PERCENT", help="price the bond at this yield")
    parser.add_argument("--clean-price", metavar="PRICE", help="find the yield at this clean price per 100")
    parser.add_argument(
        "--convention",
        default="street",
        metavar="NAME",
        help="street (compound interest in the first fractional period; the default) or treasury (simple interest)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the bond's numbers. Raises ConfigError naming the flag that is wrong."""
    numbers = _numbers(args)
    print(json.dumps(numbers, allow_nan=False) if args.json else _table(numbers))
    return 0


def _numbers(args: argparse.Namespace) -> dict[str, Any]:
    """The answer, field by field in the order of printing."""
    coupon = _at_least("--coupon", _number("--coupon", args.coupon), 0) / PERCENT
    convention = _convention(args.convention)
    periods = _periods(args)
    found = _yield(args, coupon, periods, convention)
    given = None if args.clean_price is None else np.array([float(args.clean_price)])
    clean = clean_price_from_yield(found, coupon, periods, convention) if given is None else given
    measures = risk(found, coupon, periods, convention)
    values = {
        "clean_price": clean,
        "accrued": accrued(coupon, periods),
        "dirty_price": measures.dirty_price,
        "yield": found,
        "yield_pct": found * PERCENT,
        "macaulay_duration": measures.macaulay_duration,
        "modified_duration": measures.modified_duration,
        "convexity": measures.convexity,
        "dv01": measures.dv01,
    }
    plain = {name: float(value[0]) for name, value in values.items()}
    if not all(map(math.isfinite, plain.values())):
        raise ConfigError("--yield" if args.clean_price is None else "--clean-price", "gives no finite price and risk")
    days = {"previous_coupon": str(periods.previous[0]), "next_coupon": str(periods.next[0])}
    return {**plain, **days, "convention": convention}


def _periods(args: argparse.Namespace) -> CouponPeriods:
    maturity, settlement = _date("--maturity", args.maturity), _date("--settlement", args.settlement)
    if settlement >= maturity:
        raise ConfigError("--settlement", f"{settlement} is not before maturity ({maturity})")
    return coupon_periods(maturity, settlement)


def _yield(args: argparse.Namespace, coupon: float, periods: CouponPeriods, convention: Convention) -> np.ndarray:
    """The yield (1,), given or found."""
    if args.yield_pct is not None and args.clean_price is not None:
        raise ConfigError("--clean-price", "give either --yield or --clean-price, not both")
    if args.clean_price is None:
        given = _number("--yield", args.yield_pct, "give either --yield or --clean-price")
        if given <= LOWEST_YIELD_PCT:
            raise ConfigError("--yield", f"must be above {LOWEST_YIELD_PCT}, is {args.yield_pct}")
        return np.array([given / PERCENT])
    price = _number("--clean-price", args.clean_price)
    if price <= 0:
        raise ConfigError("--clean-price", f"must be above zero, is {args.clean_price}")
    return yield_from_clean_price(price, coupon, periods, convention)


def _convention(name: str) -> Convention:
    if name == "street":
        return "street"
    if name == "treasury":
        return "treasury"
    raise ConfigError("--convention", f"must be street or treasury, is {name!r}")


def _number(flag: str, text: str | None, missing: str = "is missing") -> float:
    if text is None:
        raise ConfigError(flag, missing)
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(flag, f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise ConfigError(flag, f"must be finite, is {text}")
    return value


def _at_least(flag: str, value: float, least: float) -> float:
    if value < least:
        raise ConfigError(flag, f"must not be below {least}, is {value:g}")
    return value


def _date(flag: str, text: str | None) -> date:
    if text is None:
        raise ConfigError(flag, "is missing")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError(flag, f"{text!r} is not a date (YYYY-MM-DD)") from None


def _table(numbers: dict[str, Any]) -> str:
    """One line per field, names to the left, values to the right."""
    shown = {name: f"{value:.6f}" if isinstance(value, float) else value for name, value in numbers.items()}
    names, values = max(map(len, shown)), max(map(len, shown.values()))
    return "\n".join(f"{name:<{names}}  {value:>{values}}" for name, value in shown.items())
