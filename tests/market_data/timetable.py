"""The schedule that plan.py bounds, played event by event on a clock of its own: shares no line and no formula with it.

One thread, three beats, a sliding window of calls. Answers take what `answer` says. Ages are counted from the moment
when a call was sent, and are largest just before the next quote is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from position_server.market_data.ages import Budget
from position_server.market_data.priority_queue import Level


@dataclass
class Ages:
    """The ages that one symbol had between its first quote and its last."""

    sent: float
    stored: float
    largest: float = 0.0
    area: float = 0.0  # of the age over time
    watched: float = 0.0

    @property
    def mean(self) -> float:
        """The mean age over the time watched."""
        return self.area / self.watched

    def update(self, sent: float, stored: float) -> None:
        """A quote of a call sent at `sent` replaces the one before."""
        youngest, oldest, seconds = self.stored - self.sent, stored - self.sent, stored - self.stored
        self.largest = max(self.largest, oldest)
        self.area += (youngest + oldest) / 2 * seconds
        self.watched += seconds
        self.sent, self.stored = sent, stored


@dataclass
class Beat:
    """Something that is due every `interval`; what was missed is due once."""

    interval: float
    due: float

    def take(self, now: float) -> bool:
        """Whether it is due; then it is due again at its next time after `now`."""
        is_due = self.due <= now
        while self.due <= now:
            self.due += self.interval
        return is_due


class Timetable:
    """One simulated updater; `run(seconds)` returns every symbol's ages."""

    def __init__(
        self,
        budget: Budget,
        levels: Mapping[str, Level],
        answer: Callable[[], float] = lambda: 0.0,
        phases: tuple[float, float, float] = (0.0, 0.0, 0.0),  # of the priority batch, the enqueuing, the queue
    ) -> None:
        self.budget = budget
        self.levels = levels
        self.answer = answer
        self.now = 0.0
        self.ages: dict[str, Ages] = {}
        self._sent: list[float] = []
        self._queue: list[str] = []
        self._critical = list(self._full_calls([s for s, level in levels.items() if level is Level.CRITICAL]))
        self._batch = Beat(budget.priority_interval_seconds, phases[0])
        self._joining = Beat(budget.secondary_interval_seconds, phases[1])
        self._drain = Beat(budget.queue_interval_seconds, phases[2])

    def run(self, seconds: float) -> dict[str, Ages]:
        """Plays so many seconds."""
        beats = (self._batch, self._joining, self._drain)
        while self.now < seconds:
            batch, joining, drain = [beat.take(self.now) for beat in beats]
            if batch:
                self._fetch_priority()
            if joining:
                self._join()
            if drain:
                self._drain_queue()
            if not (batch or joining or drain):
                self.now = min(beat.due for beat in beats)
        return self.ages

    def _fetch_priority(self) -> None:
        """All critical symbols, waiting for calls; they are stored together."""
        sent = [(self._call(), symbols) for symbols in self._critical]
        for moment, symbols in sent:
            self._store(symbols, moment)

    def _join(self) -> None:
        """The others join the queue, highest level first."""
        for symbol, level in sorted(self.levels.items(), key=lambda item: item[1]):
            room = len(self._queue) < self.budget.queue_size
            if level is not Level.CRITICAL and symbol not in self._queue and room:
                self._queue.append(symbol)

    def _drain_queue(self) -> None:
        """Call by call, as long as the next batch will find its calls free."""
        self._queue.sort(key=lambda symbol: self.levels[symbol])  # stable: first come first served within a level
        while self._queue and self._may_call():
            symbols, self._queue = (
                self._queue[: self.budget.symbols_per_call],
                self._queue[self.budget.symbols_per_call :],
            )
            self._store(symbols, self._call())

    def _may_call(self) -> bool:
        """Whether a call waits for nothing, and leaves every batch its calls for which it would still count."""
        one, needed = self.budget, len(self._critical)
        if not needed:
            return len(self._in_the_window()) < one.calls
        if self._batch.due <= self.now or len(self._in_the_window()) >= one.calls:
            return False
        counts_for = self._window + 0.25
        batch, between = self._batch.due, 0
        while batch < self.now + counts_for:
            taken = sum(batch - call < counts_for for call in self._sent)
            if taken + needed * (1 + min(between, int(counts_for / self._batch.interval))) >= one.calls:
                return False
            batch, between = batch + self._batch.interval, between + 1
        return True

    def _call(self) -> float:
        """A call as soon as the limiter lets it through, and its answer; when it was sent."""
        recent = self._in_the_window()
        if len(recent) >= self.budget.calls:
            self.now = recent[-self.budget.calls] + self._window
        sent = self.now
        self._sent.append(sent)
        self.now += self.answer()
        return sent

    def _store(self, symbols: Iterable[str], sent: float) -> None:
        for symbol in symbols:
            if symbol in self.ages:
                self.ages[symbol].update(sent, self.now)
            else:
                self.ages[symbol] = Ages(sent, self.now)

    @property
    def _window(self) -> float:
        return self.budget.window_seconds + self.budget.guard_seconds

    def _in_the_window(self) -> list[float]:
        self._sent = self._sent[-self.budget.calls :]
        return [call for call in self._sent if call + self._window > self.now]

    def _full_calls(self, symbols: list[str]) -> Iterator[list[str]]:
        size = self.budget.symbols_per_call
        return (symbols[start : start + size] for start in range(0, len(symbols), size))
