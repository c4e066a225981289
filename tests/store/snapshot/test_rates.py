"""The curve and the overnight rate of a snapshot, on both backends."""

from __future__ import annotations

from datetime import date

import pytest

from position_server.store.columns import ColumnReader
from position_server.store.engine import Store
from position_server.store.snapshot import overnight_rate, par_curve
from position_server.store.snapshot.market_time import TimeOfDay
from tests.store.factories import ENV_DATE, FRIDAY, TUESDAY, WEDNESDAY, market, put


def put_curve(store: Store, day: date, curve: str = "UST_PAR", **rates: float | None) -> None:
    rows = [{"curve": curve, "curve_date": day, "tenor": t.lstrip("_"), "rate": rate} for t, rate in rates.items()]
    put(store, "curves", *rows)


def test_par_curve_is_ordered_and_leaves_out_missing_tenors(store: Store, reader: ColumnReader) -> None:
    put_curve(store, ENV_DATE, _10Y=0.04, _1M=0.05, _3Y=None, _2Y=0.045, _6M=0.049)
    found = par_curve(reader, market("EOD"))
    assert found is not None
    assert (found.curve_date, found.tenors) == (ENV_DATE, ("1M", "6M", "2Y", "10Y"))
    assert found.tenor_years.tolist() == [1 / 12, 0.5, 2.0, 10.0]
    assert found.rates.tolist() == [0.05, 0.049, 0.045, 0.04]


@pytest.mark.parametrize(("time_of_day", "expected"), [("SOD", WEDNESDAY), ("EOD", ENV_DATE), ("LIVE", ENV_DATE)])
def test_par_curve_is_of_the_day_asked_for(
    store: Store, reader: ColumnReader, time_of_day: TimeOfDay, expected: date
) -> None:
    for day in (WEDNESDAY, ENV_DATE, FRIDAY):
        put_curve(store, day, _2Y=0.04)
    found = par_curve(reader, market(time_of_day))
    assert found is not None
    assert found.curve_date == expected


def test_day_without_rates_has_the_last_curve_before(store: Store, reader: ColumnReader) -> None:
    put_curve(store, TUESDAY, _2Y=0.04)
    put_curve(store, WEDNESDAY, _2Y=None)
    found = par_curve(reader, market("EOD"))
    assert found is not None
    assert found.curve_date == TUESDAY


def test_no_curve_is_none(reader: ColumnReader) -> None:
    assert par_curve(reader, market("EOD")) is None
    assert overnight_rate(reader, market("EOD")) is None


def test_overnight_rate_is_the_newest_on_or_before(store: Store, reader: ColumnReader) -> None:
    put_curve(store, TUESDAY, "SOFR", ON=0.041)
    put_curve(store, FRIDAY, "SOFR", ON=0.042)
    found = overnight_rate(reader, market("EOD"))
    assert found is not None
    assert (found.rate_date, found.rate) == (TUESDAY, 0.041)
