"""When a warm-up runs: tables of windows and beats, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from position_server.business_days import Calendar
from position_server.environment.schedule import BACK_OFF_CEILING, LastRun, Opening, Window, back_off, next_run

NEW_YORK = ZoneInfo("America/New_York")
LONDON = ZoneInfo("Europe/London")
XNYS = Calendar.named("XNYS")
FIVE_MINUTES = timedelta(minutes=5)
ONE_MINUTE = timedelta(minutes=1)


def every_day(_: date) -> bool:
    return True


def window(start: str, end: str, zone: ZoneInfo = NEW_YORK, days: Callable[[date], bool] = every_day) -> Window:
    return Window(time.fromisoformat(start), time.fromisoformat(end), zone, days)


def local(text: str, zone: ZoneInfo = NEW_YORK, fold: int = 0) -> datetime:
    """A wall-clock time in `zone`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).astimezone(UTC)


def ran(started: datetime, *, took: float = 0.0, failures: int = 0) -> LastRun:
    return LastRun(started, started + timedelta(seconds=took), failures)


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "now", "is_open"),
    [
        ("09:30", "16:15", "2025-10-30 09:29:59", False),
        ("09:30", "16:15", "2025-10-30 09:30:00", True),
        ("09:30", "16:15", "2025-10-30 16:15:59", True),  # the last minute is included
        ("09:30", "16:15", "2025-10-30 16:16:00", False),
        ("20:00", "04:00", "2025-10-30 19:59:59", False),
        ("20:00", "04:00", "2025-10-30 20:00:00", True),
        ("20:00", "04:00", "2025-10-31 00:00:00", True),
        ("20:00", "04:00", "2025-10-31 04:00:59", True),
        ("20:00", "04:00", "2025-10-31 04:01:00", False),
        ("00:00", "00:00", "2025-10-30 00:00:00", True),
        ("00:00", "00:00", "2025-10-30 23:59:59", True),
        ("12:00", "12:00", "2025-10-30 11:59:59", True),  # equal ends: all day, whatever the hour
        ("09:30", "09:31", "2025-10-30 09:31:30", True),
    ],
)
def test_a_window_includes_both_its_ends(start: str, end: str, now: str, is_open: bool) -> None:
    assert (window(start, end).opening(local(now)) is not None) is is_open


def test_the_time_of_a_window_is_its_zones() -> None:
    now = datetime(2025, 10, 30, 9, 0, tzinfo=UTC)
    assert window("08:30", "09:30", LONDON).opening(now) is not None
    assert window("08:30", "09:30", NEW_YORK).opening(now) is None


@pytest.mark.parametrize(
    ("day", "is_open"),
    [("2025-11-26", True), ("2025-11-27", False), ("2025-11-28", True), ("2025-11-29", False)],
)
def test_on_business_days_a_window_is_closed_on_holidays_and_weekends(day: str, is_open: bool) -> None:
    business = window("06:00", "09:30", days=XNYS.is_business_day)
    assert (business.opening(local(f"{day} 07:00")) is not None) is is_open


def test_an_overnight_window_belongs_to_the_day_on_which_it_opens() -> None:
    """Wednesday's night runs into Thanksgiving morning; Thanksgiving's own does not open."""
    overnight = window("20:00", "04:00", days=XNYS.is_business_day)
    assert overnight.opening(local("2025-11-27 03:00")) is not None
    assert overnight.opening(local("2025-11-27 21:00")) is None
    assert overnight.opening(local("2025-11-28 03:00")) is None


def test_the_next_opening_skips_closed_days() -> None:
    business = window("06:00", "09:30", days=XNYS.is_business_day)
    later = business.next_opening(local("2025-11-26 12:00"))
    assert later == Opening(local("2025-11-28 06:00"), local("2025-11-28 09:31"))


def test_a_window_that_opens_on_no_day_has_no_next_opening() -> None:
    never = window("06:00", "09:30", days=lambda _: False)
    assert never.next_opening(local("2025-10-30 12:00")) is None
    assert next_run(never, FIVE_MINUTES, local("2025-10-30 12:00"), None) is None


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (NEW_YORK, "2025-03-09", 23),
        (NEW_YORK, "2025-11-02", 25),
        (NEW_YORK, "2025-10-30", 24),
        (LONDON, "2025-03-30", 23),
        (LONDON, "2025-10-26", 25),
    ],
)
def test_all_day_is_as_long_as_the_day_is(zone: ZoneInfo, day: str, hours: int) -> None:
    opening = window("00:00", "00:00", zone).opening(local(f"{day} 12:00", zone))
    assert opening is not None
    assert opening.closes - opening.opens == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "day", "opens"),
    [
        (NEW_YORK, "2025-03-08", "2025-03-08T14:30"),
        (NEW_YORK, "2025-03-09", "2025-03-09T13:30"),
        (NEW_YORK, "2025-11-01", "2025-11-01T13:30"),
        (NEW_YORK, "2025-11-02", "2025-11-02T14:30"),
        (LONDON, "2025-03-29", "2025-03-29T09:30"),
        (LONDON, "2025-03-30", "2025-03-30T08:30"),
        (LONDON, "2025-10-25", "2025-10-25T08:30"),
        (LONDON, "2025-10-26", "2025-10-26T09:30"),
    ],
)
def test_a_window_opens_at_the_same_wall_time_on_both_sides_of_a_clock_change(
    zone: ZoneInfo, day: str, opens: str
) -> None:
    opening = window("09:30", "16:15", zone).opening(local(f"{day} 12:00", zone))
    assert opening is not None
    assert opening.opens == datetime.fromisoformat(opens).replace(tzinfo=UTC)


def test_in_spring_a_window_that_starts_in_the_missing_hour_opens_an_hour_later_by_the_clock() -> None:
    opening = window("02:30", "05:00").next_opening(local("2025-03-09 00:00"))
    assert opening == Opening(local("2025-03-09 03:30"), local("2025-03-09 05:01"))


@pytest.mark.parametrize(("start", "end"), [("02:30", "03:15"), ("02:10", "02:50")])
def test_in_spring_a_window_around_the_missing_hour_still_opens(start: str, end: str) -> None:
    opening = window(start, end).next_opening(local("2025-03-09 00:00"))
    assert opening is not None
    assert opening.opens.astimezone(NEW_YORK).date() == date(2025, 3, 9)
    assert opening.closes - opening.opens >= ONE_MINUTE


def test_in_autumn_a_window_in_the_repeated_hour_opens_once() -> None:
    night = window("01:00", "01:30")
    assert night.opening(local("2025-11-02 01:15", fold=0)) is not None
    assert night.opening(local("2025-11-02 01:15", fold=1)) is None
    assert night.next_opening(local("2025-11-02 01:15", fold=0)) == Opening(
        local("2025-11-03 01:00"), local("2025-11-03 01:31")
    )


@pytest.mark.parametrize(("day", "runs"), [("2025-03-09", 23 * 12), ("2025-11-02", 25 * 12), ("2025-10-30", 24 * 12)])
def test_a_day_of_clock_change_has_a_run_on_every_beat_of_its_hours(day: str, runs: int) -> None:
    all_day = window("00:00", "00:00")
    now, end = local(f"{day} 00:00"), local(f"{day} 00:00") + timedelta(hours=30)
    end = min(end, all_day.opening(now).closes)  # type: ignore[union-attr]
    last, starts = None, []
    while (now := next_run(all_day, FIVE_MINUTES, now, last)) < end:  # type: ignore[assignment,operator]
        starts.append(now)
        last = ran(now)
    assert len(starts) == len(set(starts)) == runs
    assert {later - earlier for earlier, later in pairwise(starts)} == {FIVE_MINUTES}


# --- beats -----------------------------------------------------------------------------------------------------------

DAY = window("09:30", "16:15")
OPEN = local("2025-10-30 09:30")


def after(minutes: float) -> datetime:
    """So many minutes after the window's opening."""
    return OPEN + timedelta(minutes=minutes)


def test_the_first_run_in_a_window_is_due_at_once() -> None:
    assert next_run(DAY, FIVE_MINUTES, after(7), None) == after(7)


def test_before_the_window_the_first_run_is_its_opening() -> None:
    assert next_run(DAY, FIVE_MINUTES, after(-60), None) == OPEN


def test_a_run_of_an_earlier_opening_does_not_delay_this_one() -> None:
    yesterday = ran(local("2025-10-29 16:15"), failures=10)
    assert next_run(DAY, FIVE_MINUTES, OPEN, yesterday) == OPEN


@pytest.mark.parametrize(
    ("started", "took_minutes", "expected"),
    [
        (0, 0, 5),
        (0, 1, 5),
        (0, 5, 5),  # ended on the beat
        (0, 5.1, 10),  # overran it: the next one, and no burst
        (0, 27, 30),
        (7, 1, 10),  # the first run was off the beat; the second is on it
        (9.99, 0, 10),
    ],
)
def test_the_next_run_is_on_the_next_beat_after_the_end(started: float, took_minutes: float, expected: float) -> None:
    last = ran(after(started), took=took_minutes * 60)
    assert next_run(DAY, FIVE_MINUTES, last.ended, last) == after(expected)


def test_a_missed_beat_is_due_and_lies_in_the_past() -> None:
    due = next_run(DAY, FIVE_MINUTES, after(12), ran(after(0), took=1))
    assert due == after(5)


def test_the_last_beat_may_be_the_last_minute_and_the_one_after_it_is_the_next_opening() -> None:
    last_beat = local("2025-10-30 16:15")
    assert next_run(DAY, FIVE_MINUTES, after(401), ran(after(400))) == last_beat
    assert next_run(DAY, FIVE_MINUTES, last_beat, ran(last_beat)) == local("2025-10-31 09:30")


@pytest.mark.parametrize(("failures", "minutes"), [(1, 2), (2, 4), (3, 8), (4, 10), (5, 10), (500, 10)])
def test_back_off_doubles_up_to_its_ceiling(failures: int, minutes: int) -> None:
    assert back_off(ONE_MINUTE, failures) == timedelta(minutes=minutes)


def test_back_off_is_never_shorter_than_the_interval() -> None:
    hour = timedelta(hours=1)
    assert back_off(hour, 1) == back_off(hour, 9) == hour


@pytest.mark.parametrize(("failures", "expected"), [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (9, 10)])
def test_after_failures_the_next_run_is_on_a_later_beat_and_after_a_success_on_the_next(
    failures: int, expected: float
) -> None:
    last = ran(OPEN, took=2, failures=failures)
    assert next_run(DAY, ONE_MINUTE, last.ended, last) == after(expected)


def test_a_clock_that_was_set_back_does_not_silence_a_warm_up() -> None:
    last = ran(after(300), took=2)
    assert next_run(DAY, FIVE_MINUTES, after(61), last) == after(65)


def test_a_clock_that_was_set_back_after_failures_waits_for_the_back_off_and_no_longer() -> None:
    last = ran(after(300), took=2, failures=1)
    assert next_run(DAY, FIVE_MINUTES, after(61), last) == after(75)  # ten minutes, then the beat


def test_a_clock_that_was_set_forward_is_due_at_once() -> None:
    due = next_run(DAY, FIVE_MINUTES, after(300), ran(OPEN, took=2))
    assert due is not None
    assert due <= after(300)


# --- what always holds -----------------------------------------------------------------------------------------------

times = st.times().map(lambda t: t.replace(second=0, microsecond=0))
zones = st.sampled_from([NEW_YORK, LONDON, ZoneInfo("UTC"), ZoneInfo("Asia/Kolkata"), ZoneInfo("Australia/Lord_Howe")])
moments = st.integers(0, 3 * 365 * 86_400).map(
    lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
windows = st.builds(Window, times, times, zones, st.sampled_from([every_day, XNYS.is_business_day]))
intervals = st.integers(1, 7200).map(lambda seconds: timedelta(seconds=seconds))


@given(windows, moments)
def test_an_opening_contains_the_time_it_was_asked_for_and_is_never_empty(window: Window, now: datetime) -> None:
    opening, later = window.opening(now), window.next_opening(now)
    assert later is not None
    assert now < later.opens < later.closes
    if opening is not None:
        assert opening.opens <= now < opening.closes
        assert opening.closes - opening.opens <= timedelta(hours=25)


@given(windows, intervals, moments, st.integers(0, 200_000), st.integers(0, 5_000), st.integers(0, 8))
def test_the_next_run_is_on_a_beat_inside_a_window_and_only_what_is_due_lies_in_the_past(
    window: Window, interval: timedelta, now: datetime, ago: int, took: int, failures: int
) -> None:
    started = now - timedelta(seconds=ago)
    last = LastRun(started, min(now, started + timedelta(seconds=took)), failures)
    due = next_run(window, interval, now, last)
    assert due is not None
    opening = window.opening(due)
    assert opening is not None
    if due <= now:
        assert window.opening(now) is not None
        assert due >= last.ended or started < opening.opens
    if due != now:
        assert (due - opening.opens) % interval == timedelta(0)


@given(windows, intervals, moments, st.integers(0, 8))
def test_after_a_run_that_took_no_time_the_next_is_later_and_within_interval_and_back_off(
    window: Window, interval: timedelta, now: datetime, failures: int
) -> None:
    opening = window.opening(now)
    assume(opening is not None)
    due = next_run(window, interval, now, LastRun(now, now, failures))
    assert due is not None
    assert due > now
    if window.opening(due) == opening:
        assert due <= now + interval + (back_off(interval, failures) if failures else timedelta(0))


@given(intervals, st.integers(1, 1_000_000))
def test_back_off_is_bounded_and_never_shrinks(interval: timedelta, failures: int) -> None:
    assert interval <= back_off(interval, failures) <= max(interval, BACK_OFF_CEILING)
    assert back_off(interval, failures) <= back_off(interval, failures + 1)
