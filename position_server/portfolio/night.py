"""What the two batches of one night are given, and what they show while they work. No state, no SQL."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from position_server.business_days import Calendar
from position_server.clock import Clock
from position_server.portfolio.coordination import Coordinator
from position_server.settings import Settings
from position_server.store.engine import Store


class Progress(Protocol):
    """Where a batch shows how far it is. Called on the batch's own thread."""

    def begin(self, phase: str, total: int) -> None:
        """The next phase begins; it has so many steps (0: nothing to do)."""
        ...

    def advance(self, count: int = 1) -> None:
        """So many more steps of the phase are done."""
        ...

    def say(self, line: str) -> None:
        """Something worth a line of its own."""
        ...


@dataclass(frozen=True, slots=True)
class Night:
    """A batch's date and its surroundings. `stop` is set when the process is told to end."""

    day: date
    settings: Settings
    calendar: Calendar
    store: Store
    clock: Clock
    coordinator: Coordinator
    progress: Progress
    stop: threading.Event
