"""Which days are due: after each model's last one, up to the last with prices; business days only."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from position_server.simulation.due import due, whole_range
from tests.simulation.desk import CALENDAR

FIRST, LAST = date(2025, 6, 2), date(2025, 6, 30)
WEDNESDAY, FRIDAY, MONDAY = date(2025, 6, 18), date(2025, 6, 20), date(2025, 6, 23)  # the 19th is a holiday
DAY = st.dates(date(2025, 5, 1), date(2025, 8, 1))


def test_a_new_model_begins_at_the_first_day() -> None:
    found = due(["a"], {}, first=FIRST, last=LAST, calendar=CALENDAR)
    assert found.days["a"] == tuple(CALENDAR.between(FIRST, LAST))


def test_a_model_goes_on_after_its_last_day_over_holidays_and_weekends() -> None:
    found = due(["a"], {"a": WEDNESDAY}, first=FIRST, last=MONDAY, calendar=CALENDAR)
    assert found.days == {"a": (FRIDAY, MONDAY)}


def test_models_at_different_dates_are_each_due_where_they_are() -> None:
    found = due(["a", "b", "c"], {"a": MONDAY, "b": FRIDAY}, first=FRIDAY, last=MONDAY, calendar=CALENDAR)
    assert found.days == {"b": (MONDAY,), "c": (FRIDAY, MONDAY)}
    assert found.models == ["b", "c"]
    assert found.date_range == [FRIDAY, MONDAY]


def test_nothing_is_due_when_all_models_are_there() -> None:
    found = due(["a"], {"a": LAST}, first=FIRST, last=LAST, calendar=CALENDAR)
    assert not found
    assert found.date_range == []


def test_a_named_range_is_due_whatever_is_completed() -> None:
    found = whole_range(["b", "a"], start=WEDNESDAY, end=MONDAY, calendar=CALENDAR)
    assert found.days == {"a": (WEDNESDAY, FRIDAY, MONDAY), "b": (WEDNESDAY, FRIDAY, MONDAY)}


def test_a_weekend_is_no_range() -> None:
    assert not whole_range(["a"], start=date(2025, 6, 21), end=date(2025, 6, 22), calendar=CALENDAR)


def test_what_is_left_of_a_range_is_within_it() -> None:
    whole = whole_range(["a", "b"], start=FIRST, end=LAST, calendar=CALENDAR)
    rest = due(["a", "b"], {"a": FRIDAY}, first=FIRST, last=LAST, calendar=CALENDAR)
    assert rest.is_within(whole.models, whole.date_range)
    assert not whole.is_within(["a"], whole.date_range)
    assert not whole.is_within(whole.models, rest.days["a"])


@given(DAY, DAY, st.dictionaries(st.sampled_from("abc"), DAY))
def test_due_days_are_business_days_in_order_after_what_is_completed(
    first: date, last: date, completed: dict[str, date]
) -> None:
    found = due("abc", completed, first=first, last=last, calendar=CALENDAR)
    for model, days in found.days.items():
        assert list(days) == sorted(set(days))
        assert all(CALENDAR.is_business_day(day) and day <= last for day in days)
        assert all(day > completed[model] if model in completed else day >= first for day in days)
