"""The machine's clock."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from freezegun import freeze_time

from position_server.clock import SystemClock


def test_now_is_the_machines_time_in_utc() -> None:
    with freeze_time("2025-10-30T12:00:00Z"):
        assert SystemClock().now() == datetime(2025, 10, 30, 12, 0, tzinfo=UTC)


def test_monotonic_time_does_not_go_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_a_wait_ends_after_its_seconds_and_says_that_nobody_asked_to_stop() -> None:
    assert SystemClock().wait(threading.Event(), 0.001) is False


def test_a_wait_of_negative_seconds_returns_at_once() -> None:
    assert SystemClock().wait(threading.Event(), -5.0) is False


def test_a_wait_ends_at_once_when_asked_to_stop() -> None:
    stop = threading.Event()
    stop.set()
    assert SystemClock().wait(stop, 1e30) is True
