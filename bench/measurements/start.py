"""From starting the process to listening, with a store that is there."""

from __future__ import annotations

import time

from bench.lab import DESK, Lab
from bench.lines import Line, at_most, line
from bench.subject import serving

GOAL = at_most(0.7)


def measure(lab: Lab) -> list[Line]:
    """The one line; one more start before it, which reads the files for the first time, does not count."""
    lab.say(f"start to listening: {lab.rounds} rounds")
    seconds = [_start(lab) for _ in range(lab.rounds + 1)]
    return [line("process start to listening", seconds[1:], "s", GOAL)]


def _start(lab: Lab) -> float:
    store = lab.demo_store(DESK)
    since = time.perf_counter()
    with serving(lab, store):
        return time.perf_counter() - since
