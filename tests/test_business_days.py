"""The desk's calendar: known holidays, steps between business days, relative dates, and today."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from position_server.business_days import (
    Calendar,
    current_business_date,
    last_completed_business_date,
    resolve_relative_date,
)
from position_server.clock import SystemClock
from position_server.errors import ConfigError

XNYS = Calendar.named("XNYS")
NEW_YORK = ZoneInfo("America/New_York")
days = st.dates(date(1990, 1, 1), date(2099, 12, 31))
THURSDAY = date(2025, 10, 30)


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("name", "day", "is_open"),
    [
        ("XNYS", date(2025, 10, 30), True),
        ("XNYS", date(2025, 11, 1), False),  # a Saturday
        ("XNYS", date(2025, 4, 18), False),  # Good Friday
        ("XNYS", date(2025, 1, 9), False),  # the day of mourning for President Carter
        ("XNYS", date(2025, 10, 13), True),  # Columbus Day: equities trade
        ("XSIF", date(2025, 10, 13), False),  # and bonds do not
        ("XSIF", date(2025, 11, 11), False),  # Veterans Day
        ("XNYS", date(2021, 12, 31), True),  # New Year's Day of 2022 is a Saturday; nothing is moved
    ],
)
def test_each_market_keeps_its_own_holidays(name: str, day: date, is_open: bool) -> None:
    assert Calendar.named(name).is_business_day(day) is is_open


def test_an_unknown_calendar_is_a_config_error_that_names_its_key() -> None:
    with pytest.raises(ConfigError, match="XMARS") as caught:
        Calendar.named("XMARS")
    assert caught.value.key == "CALENDAR"


def test_next_and_previous_step_over_weekends_and_holidays() -> None:
    assert XNYS.next(date(2025, 11, 26)) == date(2025, 11, 28)  # Thanksgiving
    assert XNYS.previous(date(2025, 11, 3)) == date(2025, 10, 31)


def test_a_business_day_is_itself_on_or_before_and_a_weekend_is_its_friday() -> None:
    assert XNYS.on_or_before(THURSDAY) == THURSDAY
    assert XNYS.on_or_before(date(2025, 11, 2)) == date(2025, 10, 31)


def test_a_shift_counts_business_days_in_both_directions() -> None:
    assert XNYS.shift(THURSDAY, 2) == date(2025, 11, 3)
    assert XNYS.shift(THURSDAY, -4) == date(2025, 10, 24)
    assert XNYS.shift(THURSDAY, 0) == THURSDAY


def test_between_includes_both_ends_and_is_empty_backwards() -> None:
    assert XNYS.between(THURSDAY, date(2025, 11, 3)) == [THURSDAY, date(2025, 10, 31), date(2025, 11, 3)]
    assert XNYS.between(date(2025, 11, 3), THURSDAY) == []


@given(days)
def test_next_is_the_first_business_day_after_and_previous_undoes_it(day: date) -> None:
    later = XNYS.next(day)
    assert XNYS.is_business_day(later)
    assert XNYS.between(day + timedelta(days=1), later) == [later]
    assert XNYS.previous(later) == XNYS.on_or_before(day)


@given(days, st.integers(-30, 30))
def test_a_shift_is_undone_by_its_opposite_from_a_business_day(day: date, count: int) -> None:
    start = XNYS.on_or_before(day)
    assert XNYS.shift(XNYS.shift(start, count), -count) == start


def test_threads_that_ask_for_a_new_year_at_once_all_know_its_holidays(impatient_threads: None) -> None:
    """A year of the calendar is never seen half filled."""
    calendar, start = Calendar.named("XNYS"), threading.Barrier(8)
    answers: list[bool] = []

    def ask() -> None:
        for year in range(2026, 2086):
            start.wait()
            answers.append(calendar.is_business_day(date(year, 12, 25)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(answers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("T", THURSDAY), ("T-0", THURSDAY), ("T-1", date(2025, 10, 29)), ("T-5", date(2025, 10, 23))],
)
def test_relative_dates_count_business_days_back(text: str, expected: date) -> None:
    assert resolve_relative_date(text, THURSDAY, XNYS) == expected


@pytest.mark.parametrize("text", ["2025-10-30", "t", "T+1", "T-", "T-x", " T", "T-12345", ""])
def test_any_other_text_is_no_relative_date(text: str) -> None:
    assert resolve_relative_date(text, THURSDAY, XNYS) is None


def test_today_turns_at_midnight_of_the_desk_and_not_of_utc() -> None:
    evening = datetime(2025, 10, 31, 2, 0, tzinfo=UTC)  # 22:00 on the 30th in New York
    assert current_business_date(evening, NEW_YORK, XNYS, None) == THURSDAY
    assert current_business_date(evening, ZoneInfo("Europe/London"), XNYS, None) == date(2025, 10, 31)


def test_on_a_weekend_the_business_date_is_friday() -> None:
    sunday = datetime(2025, 11, 2, 16, 0, tzinfo=UTC)
    assert current_business_date(sunday, NEW_YORK, XNYS, None) == date(2025, 10, 31)


def test_a_pinned_business_date_wins_over_the_clock() -> None:
    with freeze_time("2031-05-05T12:00:00Z"):
        now = SystemClock().now()
    assert current_business_date(now, NEW_YORK, XNYS, None) == date(2031, 5, 5)
    assert current_business_date(now, NEW_YORK, XNYS, THURSDAY) == THURSDAY


@pytest.mark.parametrize(
    ("now", "completed"),
    [
        ("2025-10-30T20:29:00Z", date(2025, 10, 29)),  # 16:29 in New York
        ("2025-10-30T20:30:00Z", THURSDAY),
        ("2025-10-31T03:59:00Z", THURSDAY),  # a minute to midnight there
        ("2025-10-31T04:01:00Z", THURSDAY),
        ("2025-10-31T12:00:00Z", THURSDAY),
        ("2025-11-02T16:00:00Z", date(2025, 10, 31)),  # on a Sunday
        ("2025-12-26T02:00:00Z", date(2025, 12, 24)),  # on the evening of a holiday
    ],
)
def test_a_business_day_has_ended_when_the_market_has_closed_and_not_at_midnight(now: str, completed: date) -> None:
    assert last_completed_business_date(datetime.fromisoformat(now), NEW_YORK, XNYS, None) == completed


def test_a_pinned_business_date_has_ended() -> None:
    now = datetime(2031, 5, 5, 12, 0, tzinfo=UTC)
    assert last_completed_business_date(now, NEW_YORK, XNYS, THURSDAY) == THURSDAY
