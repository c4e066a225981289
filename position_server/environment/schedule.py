"""When a warm-up runs: windows of the day, a fixed beat in them, back-off after failures. Pure; time is an argument.

Windows are wall-clock times in a time zone, both ends included to the minute; an end before the start is the next
day's, and equal ends mean the whole day, from midnight. Everything is computed in UTC, so daylight-saving
changes move a window and never repeat or lose a run: a window that the change swallows is open for the minute after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)
ONE_MINUTE = timedelta(minutes=1)
MIDNIGHT = time()
LONGEST_SEARCH_DAYS = 400  # a window may be a single day of the week and that day a holiday, but not for a year
BACK_OFF_CEILING = timedelta(minutes=10)  # or the interval, where that is longer


@dataclass(frozen=True, slots=True)
class Opening:
    """One stretch of time, in UTC: `opens` is in it, `closes` no longer."""

    opens: datetime
    closes: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` to `end` in `zone` on the `days` that it opens."""

    start: time
    end: time
    zone: ZoneInfo
    days: Callable[[date], bool]

    def opening(self, now: datetime) -> Opening | None:
        """The opening that `now` is in: today's, or one that began yesterday."""
        today = now.astimezone(self.zone).date()
        found = (self._on(day) for day in (today, today - ONE_DAY))
        return next((o for o in found if o is not None and o.opens <= now < o.closes), None)

    def next_opening(self, now: datetime) -> Opening | None:
        """The first opening after `now`; None where there is none for a year."""
        today = now.astimezone(self.zone).date()
        found = (self._on(today + timedelta(days=n)) for n in range(-1, LONGEST_SEARCH_DAYS))
        return next((o for o in found if o is not None and o.opens > now), None)

    def _on(self, day: date) -> Opening | None:
        if not self.days(day):
            return None
        if self.start == self.end:
            return Opening(self._utc(day, MIDNIGHT), self._utc(day + ONE_DAY, MIDNIGHT))
        last_day = day if self.start < self.end else day + ONE_DAY
        opens = self._utc(day, self.start)
        return Opening(opens, max(self._utc(last_day, self.end), opens) + ONE_MINUTE)

    def _utc(self, day: date, at: time) -> datetime:
        return datetime.combine(day, at, self.zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class LastRun:
    """The run before: when it started and ended, and how many in a row had failed with it."""

    started: datetime
    ended: datetime
    failures: int


def next_run(window: Window, interval: timedelta, now: datetime, last: LastRun | None) -> datetime | None:
    """When to run next (now or before: at once); None where the window never opens again.

    Beats are counted from the window's opening. A run that overran its beat waits for the next one. After failures in a
    row the wait doubles with each, up to BACK_OFF_CEILING; a success is back on the beat.
    """
    opening = window.opening(now)
    if opening is None:
        later = window.next_opening(now)
        return later.opens if later else None
    if last is None or last.started < opening.opens:
        return now
    earliest = min(last.ended, now)  # a clock set back must not silence a warm-up until it catches up
    if last.failures:
        earliest = max(earliest, min(last.started, now) + back_off(interval, last.failures))
    beat = _beat_at_or_after(opening.opens, interval, earliest)
    if beat <= last.started <= now:
        beat += interval
    if beat < opening.closes:
        return beat
    later = window.next_opening(now)
    return later.opens if later else None


def back_off(interval: timedelta, failures: int) -> timedelta:
    """The wait after `failures` in a row: the interval doubled with each, bounded."""
    doubled = interval * int(2 ** min(failures, 20))
    return min(doubled, max(interval, BACK_OFF_CEILING))


def _beat_at_or_after(opens: datetime, interval: timedelta, moment: datetime) -> datetime:
    beats: int = -((opens - moment) // interval)  # rounded up
    return opens + max(beats, 0) * interval
