"""A price update on the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from position_server.events.bus import PriceUpdate
from tests.events.examples import AT, price_update

PRICES = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-4)), timezone(timedelta(hours=9))]))
UPDATES = st.builds(
    PriceUpdate,
    symbol=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    sequence=st.integers(1, 2**62),
    bid=PRICES,
    ask=PRICES,
    spread=PRICES,
    last_price=PRICES,
    timestamp=TIMES,
)


def test_a_message_is_json_with_the_symbol_its_number_and_the_quote() -> None:
    update = PriceUpdate("EURUSD", 7, 1.1559, 1.1561, 0.0002, None, AT)
    assert json.loads(update.to_message()) == {
        "type": "price_update",
        "symbol": "EURUSD",
        "sequence": 7,
        "data": {
            "bid": 1.1559,
            "ask": 1.1561,
            "spread": 0.0002,
            "last_price": None,
            "timestamp": "2025-10-30T15:59:30.250125+00:00",
        },
    }
    assert update.channel == "asset:update:EURUSD"


@given(UPDATES)
def test_a_message_is_read_as_it_was_written(update: PriceUpdate) -> None:
    read = PriceUpdate.from_message(update.to_message())
    assert read == update
    assert read.timestamp.utcoffset() == timedelta(0)


def test_a_message_without_a_price_is_one_of_unknown_prices() -> None:
    message = {"type": "price_update", "symbol": "A", "sequence": 1, "data": {"timestamp": AT.isoformat()}}
    read = PriceUpdate.from_message(json.dumps(message))
    assert read == price_update(
        "A",
        1,
        bid=None,
        ask=None,
        spread=None,
        last_price=None,
        timestamp=datetime(2025, 10, 30, 15, 59, 30, 250_125, tzinfo=UTC),
    )
