"""Interleaved rounds: everybody once, then everybody again, so that a slow minute of the machine hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from bench import wrk
from bench.ask import get
from bench.processes import BenchError, Child

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
WARM_UP_QUESTIONS = 30


def in_turn(turns: Mapping[K, Callable[[], T]], rounds: int) -> dict[K, list[T]]:
    """What each turn returned, round by round."""
    results: dict[K, list[T]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            results[name].append(turn())
    return results


@dataclass(frozen=True, slots=True)
class Round:
    """Requests a second, and microseconds of a processor that the server spent on each.

    The second says the same on a busy machine, where others take their share of the core, as on an idle one.
    """

    per_second: float
    processor_us: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One server asked for one thing by wrk. `child` is its process, whose processor time is read."""

    url: str
    child: Child
    headers: Mapping[str, str] = field(default_factory=dict)

    def warm_up(self) -> None:
        """Some questions one after the other. Raises BenchError where one is not answered as it should be."""
        address = urlsplit(self.url)
        path = f"{address.path}?{address.query}" if address.query else address.path
        for _ in range(WARM_UP_QUESTIONS):
            answer = get(address.port or 80, path, self.headers)
            if answer.status != (304 if "If-None-Match" in self.headers else 200):
                raise BenchError(f"{self.url}: {answer.status}")

    def run(self, core: int, seconds: int = 1) -> Round:
        """One closed-loop run."""
        before = self.child.processor_seconds()
        found = wrk.run(self.url, seconds=seconds, core=core, headers=self.headers)
        used = self.child.processor_seconds() - before
        return Round(found.per_second, used / max(1, found.requests) * 1e6)


def closed_loop(cells: Mapping[K, Cell], rounds: int, core: int) -> dict[K, list[Round]]:
    """Every cell warmed up by some questions that do not count, then `rounds` rounds of a second each."""
    for cell in cells.values():
        cell.warm_up()
    return in_turn({name: partial(cell.run, core) for name, cell in cells.items()}, rounds)
