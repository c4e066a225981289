"""First ask: does the question that a person types hit what a warm-up has computed?"""

from __future__ import annotations

from typing import Any

from bench.lab import DESK, Lab
from bench.lines import Line, line
from bench.measurements.busy import shipped_warm_ups
from bench.subject import Question, serving
from position_server.business_days import Calendar, resolve_relative_date
from position_server.settings import load_settings


def measure(lab: Lab) -> list[Line]:
    """The share of hits among the first questions for each warm-up's environment, right after it became warm.

    Each warm-up is asked for in three spellings: as configured, with its books in another order, and narrowed.
    """
    with serving(lab, lab.demo_store(DESK)) as subject:
        subject.wait_until_warm()
        answers = [
            subject.ask(question).json()["cache_hit"]
            for warm_up in shipped_warm_ups()
            for question in _spellings(warm_up["params"])
        ]
    share = 100 * sum(answers) / len(answers)
    note = f"{sum(answers)} of {len(answers)} questions, over HTTP, each asked once"
    return [line("first-ask hit rate after a warm-up", share, "%", note=note)]


def _spellings(params: dict[str, Any]) -> list[Question]:
    settings = load_settings()
    today, calendar = settings.business_date, Calendar.named(settings.calendar)
    if today is None:
        raise ValueError("config.py pins the demo's business date")
    dates = {name: resolve_relative_date(params[name], today, calendar) for name in ("env_date", "pos_date")}
    books, time_of_day = tuple(params["books"]), params["time_of_day"]
    common = {"time_of_day": time_of_day, **{name: str(value) for name, value in dates.items()}}
    return [
        Question(books, **common),
        Question(books[::-1] + books[:1], **common),
        Question(books, sections="bonds,futures", **common),
    ]
