"""Which day a time_of_day asks for."""

from __future__ import annotations

from datetime import date

import pytest

from position_server.store.snapshot.market_time import TimeOfDay
from tests.store.factories import MONDAY, market


def test_sod_asks_for_the_previous_business_day() -> None:
    assert market("SOD", MONDAY).close_date == date(2025, 10, 24)


@pytest.mark.parametrize("time_of_day", ["SOD", "EOD", "LIVE"])
def test_previous_close_is_the_eod_of_the_previous_business_day(time_of_day: TimeOfDay) -> None:
    before = market(time_of_day, MONDAY).previous_close()
    assert (before.env_date, before.time_of_day, before.close_date) == (date(2025, 10, 24), "EOD", date(2025, 10, 24))
