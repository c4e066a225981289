"""The exchange rates of a snapshot, on both backends."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest

from position_server.store.columns import ColumnReader
from position_server.store.engine import Store
from position_server.store.snapshot import FxRates, fx_rates
from tests.store.factories import ENV_DATE, FRIDAY, SATURDAY, TUESDAY, WEDNESDAY, instrument, market, put, quote


def put_fx(store: Store, day: date, **rates: float) -> None:
    put(store, "fx", *({"pair": pair, "fx_date": day, "rate": rate} for pair, rate in rates.items()))


def test_pairs_of_both_styles_give_dollars_per_unit(store: Store, reader: ColumnReader) -> None:
    put_fx(store, ENV_DATE, EURUSD=1.25, USDJPY=160.0)
    found = fx_rates(reader, market("EOD"))
    assert found.rate("EUR", "USD") == 1.25
    assert found.rate("USD", "EUR") == 0.8
    assert found.rate("JPY", "USD") == 1 / 160
    assert found.rate("EUR", "JPY") == pytest.approx(200.0, rel=1e-15)


def test_unknown_currencies_have_no_rate_and_the_same_one_has_rate_one(reader: ColumnReader) -> None:
    found = fx_rates(reader, market("EOD"))
    assert np.isnan(found.rate("EUR", "USD"))
    assert np.isnan(found.rate("USD", "EUR"))
    assert (found.rate("USD", "USD"), found.rate("EUR", "EUR")) == (1.0, 1.0)


def test_rates_of_many_currencies_at_once() -> None:
    found = FxRates({"EUR": 1.25, "JPY": 0.01}, {}).rates(np.array(["JPY", "USD", "XXX", None, "EUR", "JPY"]), "USD")
    assert np.array_equal(found, [0.01, 1.0, np.nan, np.nan, 1.25, 0.01], equal_nan=True)


def test_each_rate_has_its_own_day(store: Store, reader: ColumnReader) -> None:
    put_fx(store, TUESDAY, EURUSD=1.2, USDJPY=150.0)
    put_fx(store, WEDNESDAY, EURUSD=1.3)
    put_fx(store, FRIDAY, EURUSD=1.4)
    found = fx_rates(reader, market("EOD"))
    assert found.usd_per_unit == {"EUR": 1.3, "JPY": 1 / 150}
    assert found.dates == {"EUR": WEDNESDAY, "JPY": TUESDAY}
    assert found.rate_date("EUR", "JPY") == TUESDAY
    assert found.rate_date("EUR", "USD") == WEDNESDAY
    assert (found.rate_date("USD", "USD"), found.rate_date("EUR", "XXX")) == (None, None)


def test_sod_rates_are_of_the_previous_business_day(store: Store, reader: ColumnReader) -> None:
    put_fx(store, WEDNESDAY, EURUSD=1.3)
    put_fx(store, ENV_DATE, EURUSD=1.4)
    assert fx_rates(reader, market("SOD")).usd_per_unit == {"EUR": 1.3}


@pytest.fixture
def euro(store: Store) -> None:
    put(store, "instruments", instrument("EURUSD", "SPOT", base_currency="EUR"))
    put(store, "instruments", instrument("USDJPY", "SPOT", base_currency="USD", currency="JPY"))
    put(store, "instruments", instrument("EURJPY", "SPOT", base_currency="EUR", currency="JPY"), instrument("A"))


@pytest.mark.usefixtures("euro")
def test_live_rates_come_from_quotes_of_spot_pairs(store: Store, reader: ColumnReader) -> None:
    put_fx(store, ENV_DATE, EURUSD=1.25, USDJPY=100.0)
    put(store, "quotes", quote("EURUSD", ENV_DATE, bid=1.25, ask=1.75), quote("USDJPY", ENV_DATE, last_price=200.0))
    put(store, "quotes", quote("EURJPY", ENV_DATE, last_price=7.0), quote("A", ENV_DATE, last_price=7.0))
    assert fx_rates(reader, market("LIVE")).usd_per_unit == {"EUR": 1.5, "JPY": 1 / 200}
    assert fx_rates(reader, market("EOD")).usd_per_unit == {"EUR": 1.25, "JPY": 1 / 100}


@pytest.mark.usefixtures("euro")
def test_rate_of_a_later_day_beats_an_old_quote(store: Store, reader: ColumnReader) -> None:
    put(store, "quotes", quote("EURUSD", TUESDAY, last_price=1.5))
    put_fx(store, WEDNESDAY, EURUSD=1.25)
    found = fx_rates(reader, market("LIVE"))
    assert (found.usd_per_unit, found.dates) == ({"EUR": 1.25}, {"EUR": WEDNESDAY})


@pytest.mark.usefixtures("euro")
def test_live_on_a_past_date_takes_that_dates_quotes_only(store: Store, reader: ColumnReader) -> None:
    put(store, "quotes", quote("EURUSD", TUESDAY, last_price=1.5), quote("USDJPY", ENV_DATE, last_price=100.0))
    assert fx_rates(reader, market("LIVE", TUESDAY)).usd_per_unit == {"EUR": 1.5}
    assert fx_rates(reader, market("LIVE", WEDNESDAY)).usd_per_unit == {}


@pytest.mark.usefixtures("euro")
def test_quote_after_the_business_date_counts_as_its_own(store: Store, reader: ColumnReader) -> None:
    moment = datetime(2025, 11, 1, 12, tzinfo=UTC)
    put(store, "quotes", quote("EURUSD", SATURDAY, last_price=1.5, quote_time=moment))
    found = fx_rates(reader, market("LIVE", FRIDAY, FRIDAY))
    assert (found.usd_per_unit, found.dates) == ({"EUR": 1.5}, {"EUR": FRIDAY})
