"""When something was published, by the texts that search services write; in doubt it is later, or unknown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.simulation.agents.published import is_known, read_time

NOW = datetime(2025, 11, 30, 12, 0, tzinfo=UTC)
OPENING = datetime(2025, 6, 9, 9, 30, tzinfo=ZoneInfo("America/New_York"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2025-06-09", date(2025, 6, 9)),
        ("2025-06-09T08:00:00Z", datetime(2025, 6, 9, 8, tzinfo=UTC)),
        ("2025-06-09T08:00:00", date(2025, 6, 9)),
        ("Jun 9, 2025", date(2025, 6, 9)),
        ("June 9, 2025", date(2025, 6, 9)),
        (" 9 Jun 2025 ", date(2025, 6, 9)),
        ("2025/06/09", date(2025, 6, 9)),
        ("Mon, 09 Jun 2025 08:00:00 GMT", datetime(2025, 6, 9, 8, tzinfo=UTC)),
        ("3 days ago", NOW - timedelta(days=3)),
        ("an hour ago", NOW - timedelta(hours=1)),
        ("2 months ago", NOW - timedelta(days=56)),
        ("1 Year ago", NOW - timedelta(days=365)),
        ("99999 years ago", None),
        ("yesterday", None),
        ("", None),
        ("06/09/2025", None),
        ("2025", None),
        ("Q2 2025", None),
    ],
)
def test_times(text: str, found: datetime | date | None) -> None:
    assert read_time(text, NOW) == found


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("2025-06-09T09:30:00-04:00", True),
        ("2025-06-09T13:30:00Z", True),
        ("2025-06-09T13:30:00.000001Z", False),
        ("2025-06-09T09:00:00", False),
        ("2025-06-09", False),
        ("2025-06-08", True),
    ],
)
def test_what_was_out_at_the_opening_is_known(text: str, known: bool) -> None:
    moment = read_time(text, NOW)
    assert moment is not None
    assert is_known(moment, OPENING) is known


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = read_time(text, NOW)
    assert found is None or isinstance(found, date)
    assert not isinstance(found, datetime) or found.tzinfo is not None


@given(st.dates(min_value=date(2020, 1, 1), max_value=date(2025, 11, 30)), st.integers(0, 5))
def test_a_day_in_words_is_that_day(day: date, form: int) -> None:
    forms = ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%Y/%m/%d", "%Y-%m-%d")
    assert read_time(day.strftime(forms[form]), NOW) == day
