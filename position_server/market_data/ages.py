"""How old quotes get under the call budget: the expected and the worst-case age of the symbols of each level.

Pure arithmetic on the budget and how many symbols each level has; reads no clock and no store. plan.py makes the plan
of it.

The schedule, as batch.py plays it: one thread; a turn does what is due, first the priority batch, then the enqueuing,
then a drain of the queue; what is missed is done once. Times in seconds::

    N, W     calls in any sliding window; W is the window and the limiter's guard
    P, p, b  every P a priority batch of p calls, one for every full call's worth of critical symbols; b = p·a
    S, J     every S all others join the queue: J calls, full ones of the highest level first, first come first served
             within a level, one entry a symbol
    Q        every Q a drain, which calls one by one until the queue is empty, the batch is due, the window is full,
             or a batch less than V ahead (W and a moment) would not find its p calls
    a        the longest time to an answer that still comes, and until it is stored

Nothing else calls: a manual run or another process costs what it takes of the same budget. Age counts from the moment
when the call was sent and is largest just before the next quote is stored, so the worst age is the longest time from a
call's start to the end of the next one for the same symbol.

*Priority.* When a batch is due, one call of the queue may be under way: c = a (0 without a queue). Then the batch
waits X and takes b; after H = c + X + b it is over. One that is over only after the next is due is followed at once:
**worst = max(P + H, 2·(X + b))**. Drains leave the batches of a window their calls, as far as batches are on time: at
most v = ⌊(V + H)/P⌋ + 1 share one, ⌊V/P⌋ + 1 on time. So X = 0 if v·p ≤ N and both are equal, or if all that is ever
wanted is allowed (*light*). Else N calls go through per W: X = ⌈p/N⌉·W.

*Queue.* A drain makes d = min(J, N) calls (J if N·a ≥ W: the first then leave the window before the last) and takes at
most D = d·a. What is enqueued joins at most E = D + X + b late. A batch holds a drain up by H and may cut it off until
its next beat: K = H + Q. Let B be the time from joining to the answer without batches, then R = B + n·K with them, n
being the batches that are due or run in R: n = ⌊(R + H)/P⌋ + 1; it needs K < P. **worst = S + E + R**: a symbol is
enqueued at most S + E after it was last sent for. The call that fetches it is its j-th; those that pass it by are full
of symbols of its own level, each once, and of higher ones, which join again every S:
j = ⌈(higher·(1 + ⌊(R + E)/S⌋) + same level)/symbols a call⌉. R is the least solution of it all.

- *Light*: v batches and r = ⌊(V + E + R)/S⌋ + 1 rounds of the queue are the most that share a window of V. If
  v·p + r·J ≤ N, no call ever waits, and every drain empties the queue: B = Q + j·a.
- *Shared*: a drain calls until u = N − v·p calls of its window are the queue's, or more. A call is sent at most D after
  its drain began, so any T = V + D + max(Q, D) sees u calls: B = ⌈j/u⌉·T + D. If the round before has left the window
  when this one joins (E + R + V ≤ S), the first drain makes u: B = Q + (⌈j/u⌉ − 1)·T + min(j·a, D).
- *In the gaps*: for F = P − H − W − V − D of every P no window touches a batch, behind or ahead; a drain begins in
  it if F ≥ q = max(Q, D), and again every T: g = N·(1 + ⌊(F − q)/T⌋) calls are sure in every period,
  R = (1 + ⌈j/g⌉)·P + D.
- The least R of those that hold counts. Where none does, or higher levels join faster than calls are sure, there is
  no bound: null, with the reason. What a full queue refuses, the lowest levels, is never fetched at all.

*Expected* takes answers as immediate: fetched every T seconds, a quote is T/2 old in the mean. T is P, with the time
that a batch waits for its calls; max(S, Q) for the queue, and for a level that wants more than the mean supply leaves
it the time to serve it once, an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from position_server.market_data.assets import TICKERS_PER_CALL
from position_server.market_data.beats import LATENESS_SECONDS
from position_server.market_data.priority_queue import Level
from position_server.market_data.rate_limiter import GUARD_SECONDS
from position_server.settings import MarketDataSettings

MOST_STEPS = 1000  # towards the least R; a handful is usual, unless demand comes within a per mille of supply
LONGEST_SECONDS = 1e9  # what passes it grows for ever
Ages = tuple[float | None, float | None, str | None]  # expected, worst case, why there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The call budget and the beats; every time in seconds."""

    calls: int
    window_seconds: float
    priority_interval_seconds: float
    queue_interval_seconds: float
    secondary_interval_seconds: float
    stale_after_seconds: float
    answer_seconds: float  # a call that is answered is over, and stored, within this
    guard_seconds: float = GUARD_SECONDS
    symbols_per_call: int = TICKERS_PER_CALL
    queue_size: int = 1000

    @classmethod
    def of(cls, settings: MarketDataSettings) -> Self:
        """The budget of the configuration. The head and the body of an answer may each take one timeout."""
        return cls(
            calls=settings.calls,
            window_seconds=settings.window_seconds,
            priority_interval_seconds=settings.priority_interval_seconds,
            queue_interval_seconds=settings.queue_interval_seconds,
            secondary_interval_seconds=settings.secondary_interval_seconds,
            stale_after_seconds=settings.stale_after_seconds,
            answer_seconds=2 * settings.timeout_seconds,
        )


class Schedule:
    """The arithmetic of the module's docstring, in its letters, for so many symbols of each level."""

    def __init__(self, budget: Budget, counts: Mapping[Level, int]) -> None:
        self.N, self.a, self.size = budget.calls, budget.answer_seconds, budget.symbols_per_call
        self.W = budget.window_seconds + budget.guard_seconds
        self.V = self.W + LATENESS_SECONDS
        self.P, self.Q = budget.priority_interval_seconds, budget.queue_interval_seconds
        self.S = budget.secondary_interval_seconds
        self.counts = counts
        self.p = _calls(counts[Level.CRITICAL], self.size)
        self.J = _calls(sum(counts[level] for level in Level if level is not Level.CRITICAL), self.size)
        self.utilisation_pct = 100 * (self.p / self.P + self.J / self.S) * budget.window_seconds / self.N
        self.b, self.c = self.p * self.a, self.a if self.J else 0.0
        self.D = self.a * (self.J if self.N * self.a >= self.W else min(self.J, self.N))
        self.q = max(self.Q, self.D)
        self.T = self.V + self.D + self.q
        self._set_wait(0.0)
        light = self._is_light()
        if not light and (self.v * self.p > self.N or self.v > math.floor(self.V / self.P) + 1):
            self._set_wait(_calls(self.p, self.N) * self.W)
        self.u = self.N - self.v * self.p
        self.g = self._sure_calls_in_gaps()
        self.starts_empty = light or self._rounds_are_apart()

    def _set_wait(self, seconds: float) -> None:
        self.X = seconds
        self.H = self.c + self.X + self.b
        self.E = self.D + self.X + self.b
        self.K = self.H + self.Q
        self.v = math.floor((self.V + self.H) / self.P) + 1

    def ages(self, level: Level) -> Ages:
        """Expected and worst age of a symbol of this level, or why there is no bound."""
        period = self._expected_period(level)
        expected = None if math.isinf(period) else period / 2
        if level is Level.CRITICAL:
            return expected, max(self.P + self.H, 2 * (self.X + self.b)), None
        response, reason = self._response(level)
        worst = None if response is None else self.S + self.E + response
        if expected is not None and worst is not None:
            expected = min(expected, worst)
        return expected, worst, reason

    # --- the worst case ------------------------------------------------------------------------------------------

    def _is_light(self) -> bool:
        response = self._solved(lambda _: self.Q + self.J * self.a) if self.J else 0.0
        if response is None:
            return False
        rounds = math.floor((self.V + self.E + response) / self.S) + 1
        return self.v * self.p + rounds * self.J <= self.N

    def _sure_calls_in_gaps(self) -> int:
        gap = self.P - self.H - self.W - self.V - self.D
        return 0 if gap < self.q else self.N * (1 + math.floor((gap - self.q) / self.T))

    def _rounds_are_apart(self) -> bool:
        response = self._solved(lambda _: self._from_an_empty_window(self.J)) if self.u > 0 else None
        return response is not None and self.E + response + self.V <= self.S

    def _from_an_empty_window(self, j: int) -> float:
        return self.Q + (_calls(j, self.u) - 1) * self.T + min(j * self.a, self.D)

    def _response(self, level: Level) -> tuple[float | None, str | None]:
        """R of the module's docstring; None with the reason where there is no bound."""
        same, higher = self.counts[level], self._above(level)
        if self.p and self.K >= self.P:
            return None, f"priority batches may hold the queue up for {self.K:.0f} s of every {self.P:g} s"
        bounds = []
        if self.starts_empty:
            call = _calls(higher + same, self.size)
            bounds.append(self._solved(lambda _: self._from_an_empty_window(call)))
        if self.u > 0:
            bounds.append(self._solved(lambda r: _calls(self._ahead(higher, same, r), self.u) * self.T + self.D))
        if self.g:
            in_gaps = self._solved(lambda r: self._in_gaps(self._ahead(higher, same, r)), holds_up=False)
            bounds.append(in_gaps)
        if not bounds:
            return None, f"the priority batches ({self.p} of {self.N} calls) leave the queue no call that is sure"
        response = min((bound for bound in bounds if bound is not None), default=None)
        return response, None if response is not None else "higher levels join the queue as fast as calls are sure"

    def _in_gaps(self, j: int) -> float:
        return (1 + _calls(j, self.g)) * self.P + self.D

    def _ahead(self, higher: int, same: int, response: float) -> int:
        """The number of the call that fetches a symbol: j."""
        rounds = 1 + math.floor((response + self.E) / self.S)
        return _calls(higher * rounds + same, self.size)

    def _solved(self, work: Callable[[float], float], *, holds_up: bool = True) -> float | None:
        """The least R = work(R) + n·K; None where there is none."""
        response, steps = 0.0, 0
        while response < LONGEST_SECONDS and steps < MOST_STEPS:
            steps += 1
            batches = math.floor((response + self.H) / self.P) + 1 if self.p and holds_up else 0
            longer = work(response) + batches * self.K
            if longer <= response:
                return response
            response = longer
        return None

    # --- the mean ------------------------------------------------------------------------------------------------

    def _above(self, level: Level) -> int:
        return sum(self.counts[one] for one in Level if Level.CRITICAL < one < level)

    def _expected_period(self, level: Level) -> float:
        if level is Level.CRITICAL:
            throttled = self.p * self.W / self.N
            return 2 * throttled if throttled > self.P else self.P + (_calls(self.p, self.N) - 1) * self.W
        round_seconds = max(self.S, self.Q)
        supply, same, higher = self._mean_supply(), self.counts[level], self._above(level)
        calls = _calls(higher + same, self.size)
        if calls <= supply * round_seconds:
            return round_seconds
        rest = supply - higher / self.size / round_seconds
        return math.inf if rest <= 0 else max(round_seconds, calls / supply, same / self.size / rest)

    def _mean_supply(self) -> float:
        """Calls a second that the queue gets in the mean: a place in the window is taken again at a drain's beat."""
        again = math.ceil(self.W / self.Q) * self.Q
        between = self.P - self.W - self.V
        if not self.p or between <= 0:
            return max(0, self.u) / again
        return max(max(0, self.N - self.p) / again, self.N * math.ceil(between / again) / self.P)


def _calls(number: int, size: int) -> int:
    """How many calls of `size` the number takes."""
    return -(-number // size)
