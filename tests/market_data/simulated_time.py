"""Many threads under a clock that the test moves: a day of waiting in a moment, the same each time.

`VirtualClock` is for one thread. Here one thread runs at a time, in real threads; while it runs time stands still, and
when it waits the next one runs: the one whose wait ends first, to which time moves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from operator import attrgetter

from tests.fakes import NOON

JOIN_SECONDS = 60.0


@dataclass(eq=False)
class _Sleeper:
    """A thread of the simulation that does not run: until when, on which event, and the lock that wakes it."""

    turn: tuple[float, int] = (0.0, 0)  # when it wakes; among those of one moment, who lay down first
    stop: threading.Event = field(default_factory=threading.Event)
    wake: threading.Lock = field(default_factory=threading.Lock)


class SimulatedTime:
    """A Clock for all threads of one `run`; afterwards it stands still."""

    def __init__(self, start: datetime = NOON) -> None:
        # Only the thread that runs touches what follows; waking another one hands it over.
        self._start = start
        self._elapsed = 0.0
        self._set_by = timedelta(0)
        self._sleepers: list[_Sleeper] = []
        self._alarms: list[tuple[float, threading.Event]] = []
        self._waits = 0
        self._mine = threading.local()
        self._done = threading.Event()
        self._errors: list[BaseException] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed) + self._set_by

    def monotonic(self) -> float:
        return 1000.0 + self._elapsed

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        if not stop.is_set():
            me: _Sleeper = self._mine.sleeper
            me.stop = stop
            self._lie_down(me, seconds)
            self._wake_next(me)
        return stop.is_set()

    def set_wall(self, by: timedelta) -> None:
        """Somebody sets the machine's clock by so much."""
        self._set_by += by

    def set_in(self, seconds: float, event: threading.Event) -> None:
        """Somebody sets the event after so many seconds."""
        self._alarms.append((self._elapsed + seconds, event))

    def advance(self, seconds: float) -> None:
        """The running thread takes its time, in which nobody else runs."""
        self._elapsed += seconds

    def run(self, jobs: Sequence[Callable[[], object]]) -> None:
        """Runs each job in a thread, until all have ended; raises the first error of one."""
        if not jobs:
            return
        threads = [threading.Thread(target=self._work, args=(job, self._new_sleeper())) for job in jobs]
        self._done.clear()
        for thread in threads:
            thread.start()
        self._wake_next(None)
        assert self._done.wait(JOIN_SECONDS), "the simulation hangs"
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _new_sleeper(self) -> _Sleeper:
        sleeper = _Sleeper()
        sleeper.wake.acquire()
        self._lie_down(sleeper, 0.0)
        return sleeper

    def _lie_down(self, sleeper: _Sleeper, seconds: float) -> None:
        self._waits += 1
        sleeper.turn = (self._elapsed + max(0.0, seconds), self._waits)
        self._sleepers.append(sleeper)

    def _work(self, job: Callable[[], object], sleeper: _Sleeper) -> None:
        sleeper.wake.acquire()
        self._mine.sleeper = sleeper
        try:
            job()
        except BaseException as error:  # noqa: BLE001 run() raises it
            self._errors.append(error)
        self._wake_next(None)

    def _wake_next(self, me: _Sleeper | None) -> None:
        """Lets the next thread run, and sleeps until it is `me` again."""
        if not self._sleepers:
            self._done.set()
            return
        self._set_what_is_due()
        stopped = [one for one in self._sleepers if one.stop.is_set()]
        next_one = min(stopped or self._sleepers, key=attrgetter("turn"))
        self._sleepers.remove(next_one)
        if not stopped:
            self._elapsed = max(self._elapsed, next_one.turn[0])
        if next_one is me:
            return
        next_one.wake.release()
        if me is not None:
            me.wake.acquire()

    def _set_what_is_due(self) -> None:
        """Sets the events whose moment is not after the next thread's."""
        if self._alarms:
            until = min(one.turn[0] for one in self._sleepers)
            first = min(at for at, _ in self._alarms)
            if first <= until:
                self._elapsed = max(self._elapsed, first)
                for _, event in [alarm for alarm in self._alarms if alarm[0] <= first]:
                    event.set()
                self._alarms = [alarm for alarm in self._alarms if alarm[0] > first]
