"""Time as an argument: the clock that everything with time receives.

Nothing else in the package asks the operating system for the time or sleeps. Tests hand in a clock of their own.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What a part may know of time."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC. It may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes backwards. For durations and ages."""
        ...

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Waits until `stop` is set or `seconds` have passed; returns whether it was set."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        return stop.wait(max(0.0, min(seconds, threading.TIMEOUT_MAX)))
