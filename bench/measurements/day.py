"""How old the data are that readers get over a trading day: the shipped warm-ups and times, on a faster clock.

Three stretches of the day, each at the speed that suits its warm-up: computing cannot be sped up, so one computation
counts `factor` times its length, and ages are overstated by that much.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.lab import DESK, Lab
from bench.lines import Line, percentile
from bench.subject import Question, serving

POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the day: what is asked for, from when (New York), for how many of its seconds, how much faster."""

    name: str
    question: Question
    begin: str
    seconds: float
    factor: float


STRETCHES = (
    Stretch("SOD 06:00-08:30", Question(("CUPS", "YCSO"), time_of_day="SOD"), "2025-10-30T06:00:00-04:00", 9_000, 1000),
    Stretch("LIVE 09:30-09:38", Question(("EXO",), time_of_day="LIVE"), "2025-10-30T09:30:00-04:00", 480, 30),
    Stretch(
        "EOD 16:30-19:00",
        Question(("CUPS", "YCSO"), pos_date="2025-10-30", time_of_day="EOD"),
        "2025-10-30T16:30:00-04:00",
        9_000,
        1000,
    ),
)


def measure(lab: Lab) -> list[Line]:
    """p50, p90 and p99 of `age_seconds` for each stretch."""
    lines = []
    for stretch in STRETCHES:
        lab.say(f"a trading day, {stretch.name}, {stretch.factor:g} times as fast")
        lines += _stretch(lab, stretch)
    return lines


def _stretch(lab: Lab, stretch: Stretch) -> list[Line]:
    command = ("bench.compressed", "--begin", stretch.begin, "--factor", str(stretch.factor))
    ages, hits = [], 0
    with serving(lab, lab.demo_store(DESK), command=command) as subject:
        subject.wait_until_warm()
        until = time.perf_counter() + stretch.seconds / stretch.factor
        while time.perf_counter() < until:
            answer = subject.ask(stretch.question).json()
            ages.append(float(answer["age_seconds"]))
            hits += bool(answer["cache_hit"])
            time.sleep(POLL_SECONDS)
    name = f"age of data served, {stretch.name}"
    note = f"clock {stretch.factor:g}× as fast, {len(ages):,} reads, {100 * hits / len(ages):.1f} % hits"
    return [
        Line(f"{name}, p{percent}", percentile(ages, percent), "s", note=note if percent == 50 else "")
        for percent in (50, 90, 99)
    ]
