"""The desk's calendar: which days are business days, and what "T-1" means.

Calendars are named by their exchange code: `XNYS` (New York Stock Exchange), `XSIF` (US government bonds, as SIFMA
recommends). The holidays come from the `holidays` library, computed once per year asked for. Callable from any thread.
No clock: "today" is always an argument.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays

from position_server.errors import ConfigError

ONE_DAY = timedelta(days=1)
DAY_ENDS = time(16, 30)  # in the desk's time zone: markets have closed, and closes are known
RELATIVE_DATE = re.compile(r"T(?:-(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class Calendar:
    """The business days of one market: Monday to Friday without its holidays."""

    name: str
    _closed: dict[int, frozenset[date]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def named(cls, name: str) -> Calendar:
        """The calendar of the market `name`. Raises ConfigError for one that is not known."""
        try:
            holidays.financial_holidays(name)
        except NotImplementedError as error:
            raise ConfigError(
                "CALENDAR", f"no calendar is known by the name {name!r} (examples: XNYS, XSIF)"
            ) from error
        return cls(name)

    def is_business_day(self, day: date) -> bool:
        """Whether the market is open on `day`."""
        return day.weekday() < 5 and day not in self._closed_in(day.year)

    def on_or_before(self, day: date) -> date:
        """The last business day not after `day`."""
        while not self.is_business_day(day):
            day -= ONE_DAY
        return day

    def next(self, day: date) -> date:
        """The first business day strictly after `day`."""
        day += ONE_DAY
        while not self.is_business_day(day):
            day += ONE_DAY
        return day

    def previous(self, day: date) -> date:
        """The last business day strictly before `day`."""
        return self.on_or_before(day - ONE_DAY)

    def shift(self, day: date, count: int) -> date:
        """The business day `count` business days after `day` (before it where `count` is negative)."""
        step = self.next if count > 0 else self.previous
        for _ in range(abs(count)):
            day = step(day)
        return day

    def between(self, first: date, last: date) -> list[date]:
        """The business days from `first` to `last`, both included."""
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return [day for day in days if self.is_business_day(day)]

    def _closed_in(self, year: int) -> frozenset[date]:
        closed = self._closed.get(year)
        if closed is None:
            # Built apart and stored whole: the library fills a year while other threads already look into it.
            closed = frozenset(holidays.financial_holidays(self.name, years=year, expand=False))
            self._closed[year] = closed
        return closed


def resolve_relative_date(text: str, business_date: date, calendar: Calendar) -> date | None:
    """The date that "T" or "T-n" names, n business days before `business_date`; None for any other text."""
    match = RELATIVE_DATE.fullmatch(text)
    return None if match is None else calendar.shift(business_date, -int(match[1] or 0))


def current_business_date(now: datetime, timezone: ZoneInfo, calendar: Calendar, pinned: date | None) -> date:
    """The last business day not after today in `timezone`, unless the configuration pins it. `now` is aware."""
    return pinned or calendar.on_or_before(now.astimezone(timezone).date())


def last_completed_business_date(now: datetime, timezone: ZoneInfo, calendar: Calendar, pinned: date | None) -> date:
    """The last business day that has ended: today from DAY_ENDS on. A pinned one has. `now` is aware."""
    if pinned is not None:
        return pinned
    local = now.astimezone(timezone)
    has_ended = local.time() >= DAY_ENDS
    return calendar.on_or_before(local.date()) if has_ended else calendar.previous(local.date())
