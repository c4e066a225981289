"""One cell of a file to one value of the store: what each type of field accepts.

Each function takes the stripped, non-empty text and returns the value, or raises ValueError with what is wrong, for
people, without the text itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

Value = str | float | date | datetime
Converter = Callable[[str], Value]

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
NUMBER_CHARACTERS = frozenset("0123456789.+-eE")  # what NUMBER accepts, and no more than float() does of them
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TENOR = re.compile(r"ON|[1-9][0-9]{0,2}[DWMY]")
PAIR = re.compile(r"(?!USDUSD)(USD[A-Z]{3}|[A-Z]{3}USD)")
CURRENCY = re.compile(r"[A-Za-z0-9]{3,8}")


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a file: its name there, how a cell converts, and the column of the table where that differs."""

    name: str
    convert: Converter
    column: str = ""
    required: bool = False
    default: Value | None = None

    @property
    def target(self) -> str:
        """The name of the column in the table."""
        return self.column or self.name


def text(cell: str) -> str:
    """A name or a description: printable characters of any language."""
    if not cell.isprintable():
        raise ValueError("has characters that cannot be printed, or is not UTF-8")
    return cell


def number(cell: str) -> float:
    """A finite decimal number."""
    if not NUMBER.fullmatch(cell):
        raise ValueError("not a number")
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError("too large a number")
    return value


def positive(cell: str) -> float:
    """A number greater than zero."""
    value = number(cell)
    if value <= 0:
        raise ValueError("must be greater than zero")
    return value


def not_negative(cell: str) -> float:
    """A number that is not less than zero."""
    value = number(cell)
    if value < 0:
        raise ValueError("must not be negative")
    return value


def numbers_at_once(convert: Converter, cells: Sequence[str]) -> list[float | None] | None:
    """What `convert` makes of a whole column of plain numbers and empty cells, five times as fast.

    None where the column is anything else, or has a cell that `convert` refuses: then it goes cell by cell.
    """
    if convert not in (number, positive, not_negative) or not NUMBER_CHARACTERS.issuperset("".join(cells)):
        return None
    try:
        values = [float(cell) if cell else None for cell in cells]
    except ValueError:
        return None
    known = [value for value in values if value is not None]
    is_good = all(map(math.isfinite, known))
    if convert is not number and known:
        smallest = min(known)
        is_good = is_good and (smallest > 0 or (smallest == 0 and convert is not_negative))
    return values if is_good else None


def percent(cell: str) -> float:
    """A percentage as a decimal, exact: 4.117 is 0.04117, which a division of floats would miss by a bit."""
    number(cell)
    return float(Decimal(cell) / 100)


def day(cell: str) -> date:
    """A date, YYYY-MM-DD."""
    if not DATE.fullmatch(cell):
        raise ValueError("not a date (YYYY-MM-DD)")
    try:
        return date.fromisoformat(cell)
    except ValueError as error:
        raise ValueError("no such day") from error


def instant(cell: str) -> datetime:
    """A timestamp with its offset, in UTC."""
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError as error:
        raise ValueError("not a timestamp (ISO 8601, such as 2025-10-30T15:30:00-04:00)") from error
    if moment.tzinfo is None:
        raise ValueError("a timestamp needs its offset from UTC, such as 2025-10-30T15:30:00-04:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no such time in UTC") from error


def one_of(*allowed: str) -> Converter:
    """One of a few words, spelled exactly."""

    def convert(cell: str) -> str:
        if cell not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return cell

    return convert


def tenor(cell: str) -> str:
    """ON, or a number of days, weeks, months or years: 3M, 10Y."""
    return _matching(TENOR, cell, "not a tenor (ON, 1M, 10Y)")


def pair(cell: str) -> str:
    """A currency pair with the dollar on one side: EURUSD, USDJPY."""
    return _matching(PAIR, cell, "not a currency pair with USD on one side (EURUSD, USDJPY)")


def currency(cell: str) -> str:
    """A currency code, of three letters as a rule."""
    return _matching(CURRENCY, cell, "not a currency code")


def _matching(pattern: re.Pattern[str], cell: str, complaint: str) -> str:
    if not pattern.fullmatch(cell):
        raise ValueError(complaint)
    return cell
