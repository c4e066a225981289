"""Beats keep to their grid, a drain leaves the batches theirs, and a refusing provider is asked less and less."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from position_server.market_data.beats import LATENESS_SECONDS, Beat, HoldBack, Reserve


def test_a_beat_is_due_at_its_first_time_and_then_every_interval() -> None:
    beat = Beat("a", "A", 15.0, due=100.0)
    assert [now for now in range(90, 150) if beat.take(float(now))] == [100, 115, 130, 145]


def test_beats_that_were_missed_are_not_made_up() -> None:
    beat = Beat("a", "A", 15.0, due=100.0)
    assert beat.take(161.0)
    assert beat.due == 175.0


def test_all_calls_are_to_spare_where_they_leave_the_window_before_the_next_batch() -> None:
    assert Reserve(2, 300.0, 300.0).calls_to_spare(0.0, 5, 60.2, (), 0) == 5


def test_the_calls_of_the_next_batch_are_kept_once_it_is_within_a_window() -> None:
    assert Reserve(2, 300.0, 300.0).calls_to_spare(250.0, 5, 60.2, (), 0) == 3
    assert Reserve(2, 300.0, 300.0).calls_to_spare(250.0, 5, 60.2, (241.0, 242.0), 1) == 0


def test_without_priority_assets_nothing_is_kept() -> None:
    assert Reserve(0, 300.0, 300.0).calls_to_spare(299.0, 5, 60.2, (298.0,), 1) == 3


TIMES = st.floats(0, 100, allow_nan=False).map(lambda x: round(x, 1))


@given(
    calls=st.integers(1, 3),
    to_batch=TIMES,
    interval=st.floats(5, 100).map(lambda x: round(x, 1)),
    limit=st.integers(1, 8),
    span=st.floats(1, 100).map(lambda x: round(x, 1)),
    ages=st.lists(TIMES, max_size=8),
)
def test_every_batch_ahead_finds_its_calls_after_all_that_was_spared(
    calls: int, to_batch: float, interval: float, limit: int, span: float, ages: list[float]
) -> None:
    now = 1000.0
    sent = sorted(now - age for age in ages)
    spare = Reserve(calls, now + to_batch, interval).calls_to_spare(now, limit, span, sent, 0)
    assume(spare > 0)
    made = [*sent, *[now] * spare]
    batch = now + to_batch
    while batch < now + span + interval:
        made += [batch] * calls
        if batch < now + span:
            assert sum(batch - call < span for call in made) <= limit
        batch += interval


def test_nothing_is_spared_for_a_moments_lateness_of_the_limiter() -> None:
    reserve = Reserve(1, 60.0 + LATENESS_SECONDS / 2, 300.0)
    assert reserve.calls_to_spare(60.0, 1, 60.0, (0.0,), 0) == 0


def test_a_refusing_provider_is_asked_less_and_less_until_it_lets_us_in() -> None:
    hold = HoldBack()
    assert [hold.refused(0.0) for _ in range(6)] == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
    assert hold.until == 900.0
    hold.let_in()
    assert hold.until < 0
    assert hold.refused(0.0) == 60.0
