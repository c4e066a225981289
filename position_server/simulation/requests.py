"""What clients may ask: a trigger, a query for results; read from JSON and query arguments, every problem at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from position_server.errors import BadRequest, InvalidDate, Problem

TRIGGER_FIELDS = ("config_path", "start_date", "end_date", "models", "replace_existing")
RESULTS_FIELDS = ("date", "start_date", "end_date", "model", "job_id", "detail")
DATES = ("date", "start_date", "end_date")
DETAILS = ("minimal", "full")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class TriggerRequest:
    """What to simulate. Without dates: what is due; without models: those that are enabled."""

    config_path: str | None = None
    start_date: date | None = None
    end_date: date | None = None
    models: tuple[str, ...] | None = None
    replace_existing: bool = False
    user: str = "anonymous"

    @classmethod
    def from_body(cls, body: Mapping[str, Any], user: str = "anonymous") -> TriggerRequest:
        """The request of a JSON object. Raises InvalidDate where only dates are wrong, else BadRequest."""
        problems = [Problem(name, "unknown field") for name in body if name not in TRIGGER_FIELDS]
        config_path = body.get("config_path")
        if config_path is not None and (not isinstance(config_path, str) or not config_path.strip()):
            problems.append(Problem("config_path", "must be a path"))
        replace = body.get("replace_existing", False)
        if not isinstance(replace, bool):
            problems.append(Problem("replace_existing", "must be true or false"))
        models = body.get("models")
        if models is not None and not _are_names(models):
            problems.append(Problem("models", "must be a list of names of models, at least one"))
        start, end = _range(body, problems)
        return cls(config_path, start, end, None if models is None else tuple(models), replace, user)


@dataclass(frozen=True, slots=True)
class ResultsQuery:
    """Which results: of one day (`start_date` = `end_date`, `is_range` false), of a range, or of a job."""

    start_date: date | None
    end_date: date | None
    is_range: bool
    model: str | None = None
    job_id: str | None = None
    full: bool = False

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str]) -> ResultsQuery:
        """The query of `/results`. Raises InvalidDate where only dates are wrong, else BadRequest."""
        problems = [Problem(name, "unknown argument") for name in arguments if name not in RESULTS_FIELDS]
        detail = arguments.get("detail", "minimal")
        if detail not in DETAILS:
            problems.append(Problem("detail", f"must be one of {', '.join(DETAILS)}"))
        problems += [Problem(name, "has a zero byte") for name, value in arguments.items() if "\0" in value]
        dates = [name for name in DATES if name in arguments]
        if not dates and "job_id" not in arguments:
            problems.append(Problem("date", "is required, or start_date and end_date, or job_id"))
        elif "date" in dates and len(dates) > 1:
            problems.append(Problem("date", "excludes start_date and end_date"))
        elif len(dates) == 1 and "date" not in dates:
            problems.append(Problem("start_date", "and end_date belong together"))
        single = "date" in dates
        start, end = _range(arguments, problems, ("date", "date") if single else ("start_date", "end_date"))
        full = detail == "full"
        return cls(start, end, not single, arguments.get("model"), arguments.get("job_id"), full)


def _range(
    given: Mapping[str, Any], problems: list[Problem], names: tuple[str, str] = ("start_date", "end_date")
) -> tuple[date | None, date | None]:
    """Start and end, by these names; raises what is wrong with them, and with everything before."""
    found = {name: _date(given, name, problems) for name in dict.fromkeys(names)}
    start, end = (found[name] for name in names)
    if start is not None and end is not None and start > end:
        problems.append(Problem("start_date", f"is after end_date ({start} > {end})"))
    if problems:
        only_dates = all(problem.field in DATES for problem in problems)
        raise (InvalidDate if only_dates else BadRequest)(problems)
    return start, end


def _date(given: Mapping[str, Any], name: str, problems: list[Problem]) -> date | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        if not isinstance(text, str) or not ISO_DATE.fullmatch(text):
            raise ValueError("not in the format")
        return date.fromisoformat(text)
    except ValueError:
        problems.append(Problem(name, f"is not a date (YYYY-MM-DD): {text!r:.40}"))
        return None


def _are_names(models: object) -> bool:
    return isinstance(models, list) and bool(models) and all(isinstance(name, str) and name for name in models)
