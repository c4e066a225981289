from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.demo.movement import path

moments = st.timedeltas(timedelta(0), timedelta(days=4000)).map(lambda age: datetime(2024, 1, 1, tzinfo=UTC) + age)
stretches = st.timedeltas(timedelta(0), timedelta(days=2))


@given(start=moments, length=stretches, seed=st.integers(0, 5))
@settings(max_examples=60)
def test_a_path_stays_inside_its_band(start: datetime, length: timedelta, seed: int) -> None:
    assert np.abs(path(seed, "X:BTCUSD", start, start + length)).max() <= 1


@given(start=moments, before=stretches, after=stretches)
@settings(max_examples=60)
def test_a_moment_has_one_value_whatever_stretch_it_is_seen_in(
    start: datetime, before: timedelta, after: timedelta
) -> None:
    now = start + before
    alone = path(1, "AAPL", now, now)
    assert path(1, "AAPL", start, now)[-1] == pytest.approx(alone[0], abs=1e-12)
    assert path(1, "AAPL", now, now + after)[0] == pytest.approx(alone[0], abs=1e-12)


@given(start=moments, length=stretches, share=st.floats(0, 1))
@settings(max_examples=60)
def test_no_value_inside_a_stretch_is_beyond_its_extremes(start: datetime, length: timedelta, share: float) -> None:
    values, inside = path(2, "C:EURUSD", start, start + length), start + length * share
    value = path(2, "C:EURUSD", inside, inside)[0]
    assert values.min() - 1e-12 <= value <= values.max() + 1e-12


def test_seeds_symbols_and_times_have_paths_of_their_own() -> None:
    now = datetime(2026, 1, 5, 12, tzinfo=UTC)
    values = [
        path(1, "A", now, now)[0],
        path(2, "A", now, now)[0],
        path(1, "B", now, now)[0],
        path(1, "A", now + timedelta(minutes=5), now + timedelta(minutes=5))[0],
    ]
    assert len(set(values)) == 4


def test_a_path_is_the_same_for_ever() -> None:
    """Fixed figures: a change of the hashing would move every demo price."""
    now = datetime(2026, 1, 5, 12, 1, tzinfo=UTC)
    assert path(20251030, "C:EURUSD", now, now)[0] == pytest.approx(-0.14346685774631113)
