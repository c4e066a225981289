"""Which days are due for which model. Pure: the calendar, the prices and what is completed are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from position_server.business_days import Calendar


@dataclass(frozen=True, slots=True)
class Due:
    """The days of each model that has any, in order. They differ where models have come to different dates."""

    days: Mapping[str, tuple[date, ...]]

    @property
    def date_range(self) -> list[date]:
        """Every day that some model is due on, in order."""
        return sorted({day for days in self.days.values() for day in days})

    @property
    def models(self) -> list[str]:
        """The models, in order."""
        return sorted(self.days)

    def __bool__(self) -> bool:
        return bool(self.days)

    def is_within(self, models: Iterable[str], days: Iterable[date]) -> bool:
        """Whether nothing is due but on these days for these models."""
        return set(self.models) <= set(models) and set(self.date_range) <= set(days)


def due(
    models: Iterable[str], last_completed: Mapping[str, date], *, first: date, last: date, calendar: Calendar
) -> Due:
    """From the day after each model's last completed one (`first`, for a model without) to `last`."""
    starts = {name: calendar.next(last_completed[name]) if name in last_completed else first for name in models}
    return _of({name: calendar.between(start, last) for name, start in starts.items()})


def whole_range(models: Iterable[str], *, start: date, end: date, calendar: Calendar) -> Due:
    """Every business day from `start` to `end` for every model, whatever is completed."""
    return _of({name: calendar.between(start, end) for name in models})


def _of(days: Mapping[str, list[date]]) -> Due:
    return Due({name: tuple(each) for name, each in sorted(days.items()) if each})
