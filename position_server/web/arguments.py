"""What a request says beside its path, read field by field, and every problem of it said at once."""

from __future__ import annotations

import math
import re
from datetime import date

from position_server.errors import BadRequest, Problem
from position_server.params import json_object, query_arguments, unknown_arguments

DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
COUNT = re.compile(r"[0-9]{1,4}")
MOST_LETTERS = 100  # of a name


class Arguments:
    """The arguments of a query string, read one by one; `check` raises all problems at once."""

    def __init__(self, query: str, known: tuple[str, ...]) -> None:
        self._given, self._problems = query_arguments(query)
        self._problems += unknown_arguments(self._given, known)

    def day(self, name: str) -> date | None:
        """A date, YYYY-MM-DD."""
        return _day(name, self._given.get(name), self._problems)

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """One of the allowed words."""
        word = self._given.get(name)
        if word is not None and word not in allowed:
            self._problems.append(Problem(name, f"must be one of {', '.join(allowed)}"))
        return word

    def limit(self, default: int, most: int) -> int:
        """How many."""
        text = self._given.get("limit", str(default))
        limit = int(text) if COUNT.fullmatch(text) else 0
        if not 1 <= limit <= most:
            self._problems.append(Problem("limit", f"must be a whole number from 1 to {most}"))
        return limit

    def check(self) -> None:
        """Raises BadRequest where anything is wrong."""
        if self._problems:
            raise BadRequest(self._problems)


class Body:
    """The fields of a JSON body, read one by one; `check` raises all problems at once."""

    def __init__(self, body: bytes, known: tuple[str, ...]) -> None:
        self._given = json_object(body)
        self._problems = unknown_arguments(self._given, known)

    def number(self, name: str) -> float:
        """A finite number, which must be there."""
        value = self._given.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self._problems.append(Problem(name, "must be a finite number"))
            return math.nan
        return float(value)

    def day(self, name: str) -> date | None:
        """A date, YYYY-MM-DD; may be left out."""
        return _day(name, self._given.get(name), self._problems)

    def name(self, name: str) -> str | None:
        """A short text; may be left out."""
        value = self._given.get(name)
        if value is not None and not _is_name(value):
            self._problems.append(Problem(name, f"must be a text of 1 to {MOST_LETTERS} letters"))
            return None
        return value

    def names(self, name: str, most: int) -> list[str]:
        """A list of short texts, not empty."""
        values = self._given.get(name)
        if not isinstance(values, list) or not 1 <= len(values) <= most:
            self._problems.append(Problem(name, f"must be a list of 1 to {most} texts"))
            return []
        bad = [place for place, value in enumerate(values) if not _is_name(value)]
        told = f"must be a text of 1 to {MOST_LETTERS} letters"
        self._problems += [Problem(f"{name}.{place}", told) for place in bad]
        return values

    def check(self) -> None:
        """Raises BadRequest where anything is wrong."""
        if self._problems:
            raise BadRequest(self._problems)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value.strip()) > 0 and len(value) <= MOST_LETTERS and value.isprintable()


def _day(name: str, text: object, problems: list[Problem]) -> date | None:
    if text is None:
        return None
    try:
        if isinstance(text, str) and DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    problems.append(Problem(name, "must be a date, YYYY-MM-DD"))
    return None
