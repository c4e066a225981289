"""A simulated day under the call budget: the priority assets come first, and the limit is never passed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, pairwise

import pytest

from position_server.market_data.assets import Asset, assets_of
from position_server.market_data.priority_queue import Level
from position_server.settings import CONFIG_FILE, MarketDataSettings, load_settings
from tests.market_data.day import Day, refresh_times, simulated

DAY, HOURS = 86_400.0, 3_600.0


def desk(**counts: int) -> list[Asset]:
    """So many assets of each level."""
    return [
        Asset(f"{name}{n}", f"C:{name}{n}", "forex", Level[name])
        for name, count in counts.items()
        for n in range(count)
    ]


def most_in_a_window(calls: Sequence[float], seconds: float) -> int:
    return max(sum(start <= call < start + seconds for call in calls) for start in calls)


def longest_gap(times: Sequence[float]) -> float:
    return max(later - earlier for earlier, later in pairwise(times))


@pytest.fixture(scope="module")
def shipped() -> Day:
    settings = load_settings(CONFIG_FILE, {"market_data": {"enabled": True}}).market_data
    return simulated(assets_of(settings), settings, DAY)


def test_every_priority_asset_is_refreshed_every_five_minutes(shipped: Day) -> None:
    for symbol in ("XAUUSD", "EURUSD", "BTCUSD"):
        assert shipped.refreshes[symbol] == [300.0 * n for n in range(288)]


def test_every_other_asset_is_refreshed_every_half_hour(shipped: Day) -> None:
    for symbol in ("ETHUSDT", "GBPUSD", "USDJPY", "XAGUSD", "AUDUSD", "USDCAD"):
        assert shipped.refreshes[symbol] == [1800.0 * n for n in range(48)]


def test_the_priority_assets_share_one_call_and_the_queue_another(shipped: Day) -> None:
    assert len(shipped.calls) == 288 + 48
    assert sum(result.api_calls_used for result in shipped.results) == len(shipped.calls)
    assert sum(result.priority_updated for result in shipped.results) == 3 * 288
    assert sum(result.queue_processed for result in shipped.results) == 6 * 48


@pytest.mark.parametrize(
    ("calls", "window", "counts"),
    [
        (5, 60.0, {"CRITICAL": 3, "HIGH": 900}),
        (5, 60.0, {"CRITICAL": 700, "HIGH": 300, "LOW": 600}),
        (2, 60.0, {"CRITICAL": 3, "HIGH": 250, "MEDIUM": 250, "LOW": 250}),
        (1, 60.0, {"CRITICAL": 3, "LOW": 600}),
        (3, 600.0, {"CRITICAL": 1, "LOW": 900}),
    ],
)
def test_a_full_queue_never_delays_the_priority_batch_nor_passes_the_limit(
    calls: int, window: float, counts: dict[str, int]
) -> None:
    settings = MarketDataSettings(calls=calls, window_seconds=window, secondary_interval_seconds=60.0)
    day = simulated(desk(**counts), settings, HOURS)
    for n in range(counts["CRITICAL"]):
        times = day.refreshes[f"CRITICAL{n}"]
        assert times == [300.0 * k for k in range(len(times))]
        assert len(times) == HOURS / 300
    assert most_in_a_window(day.calls, window) <= calls
    waits = [result.rate_limit_waits for result in day.results]
    assert waits == [0] * len(waits)


def test_with_one_call_a_minute_the_queue_has_the_minutes_in_which_no_batch_needs_it() -> None:
    settings = MarketDataSettings(calls=1)
    times = refresh_times(desk(CRITICAL=3, LOW=2), settings, DAY / 4)
    assert longest_gap(times["CRITICAL0"]) == 300.0
    assert longest_gap(times["LOW1"]) <= 1800.0 + 75.0


def test_more_priority_assets_than_a_window_has_calls_wait_their_turn_within_the_limit() -> None:
    settings = MarketDataSettings(calls=2, window_seconds=60.0)
    day = simulated(desk(CRITICAL=1000), settings, HOURS)
    assert most_in_a_window(day.calls, 60.0) == 2
    assert max(longest_gap(times) for times in day.refreshes.values()) <= 300.0 + 61.0
    assert sum(result.rate_limit_waits for result in day.results) > 0


def test_a_slow_provider_delays_a_batch_by_the_answer_at_most() -> None:
    settings = MarketDataSettings(secondary_interval_seconds=60.0)
    answers = cycle([0.2, 9.0, 3.0])
    day = simulated(desk(CRITICAL=3, HIGH=600), settings, HOURS, answer=lambda: next(answers))
    assert longest_gap(day.refreshes["CRITICAL0"]) <= 300.0 + 2 * 9.0
    assert most_in_a_window(day.calls, 60.0) <= 5
    assert len(day.refreshes["CRITICAL0"]) == HOURS / 300
