"""One JSON object of an answer, read field by field: every type is checked, and a problem names the field.

A field that is missing or null is None. A field of the wrong type is never None: it raises MalformedBody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from position_server.market_data.provider.errors import MalformedBody

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_YEAR, LAST_YEAR = 2000, 2100  # a time outside was written in another unit
SHOWN_CHARACTERS = 60  # of a wrong value


class Unit(Enum):
    """How many of it are in a second."""

    MILLISECONDS = 1_000
    NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one object; `where` is its place in the answer, for messages."""

    where: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, where: str, value: Any) -> Fields:
        """The fields of `value`. Raises MalformedBody where it is no object."""
        if not isinstance(value, dict):
            raise MalformedBody(f"{where}: not an object: {shown(value)}", 200)
        return cls(where, value)

    def below(self, name: str) -> Fields:
        """The object in that field; one without fields where it is missing or null."""
        value = self.values.get(name)
        return Fields.of(f"{self.where}.{name}", {} if value is None else value)

    def many(self, name: str) -> list[Any]:
        """The list in that field; empty where it is missing or null."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, list):
            raise self.wrong(name, "not a list")
        return value or []

    def text(self, name: str) -> str | None:
        """The text in that field."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "not a text")
        return value

    def number(self, name: str) -> float | None:
        """The finite number in that field. A boolean or a text with digits is none."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(name, "not a number")
        return float(value)

    def price(self, name: str) -> float | None:
        """The number in that field; 0 is None, for the provider writes 0 where it has nothing."""
        return self.number(name) or None

    def time(self, name: str, unit: Unit) -> datetime | None:
        """The time in that field, which counts `unit` since 1970, to the microsecond; 0 is None."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(name, "not a whole number")
        if value == 0:
            return None
        seconds, part = divmod(value, unit.value)
        try:
            moment = EPOCH + timedelta(seconds=seconds, microseconds=part * 1_000_000 // unit.value)
        except OverflowError as error:
            raise self.wrong(name, f"no time in {unit.name.lower()}") from error
        if not FIRST_YEAR <= moment.year < LAST_YEAR:
            raise self.wrong(name, f"no time in {unit.name.lower()}")
        return moment

    def wrong(self, name: str, problem: str) -> MalformedBody:
        """The error that names the field."""
        return MalformedBody(f"{self.where}.{name}: {problem}: {shown(self.values.get(name))}", 200)


def shown(value: Any) -> str:
    """A wrong value as a message shows it."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
