"""What hits and the liveness check cost while every warm-up recomputes without pause.

The serving process is pinned; its workers run on whatever core they get, as they do at a desk. On two cores they share
one with the client. Between its turns the busy server is stopped in its tracks, workers and all.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from bench import open_loop
from bench.bodies import MEDIUM
from bench.lab import LARGE, Lab
from bench.lines import Line, at_least, at_most, line, ratios
from bench.open_loop import Latency
from bench.processes import REPOSITORY
from bench.subject import NO_WARM_UPS, Subject, serving, settings
from bench.turns import Cell, Round, in_turn

INTERVAL_SECONDS = 0.1  # the shortest that a warm-up may have: shorter than a computation, so there is no pause
RATE, SECONDS = 500.0, 1.0
THROUGHPUT_KEPT, P99_GROWTH = at_least(0.85), at_most(3)
LIVE_P99 = at_most(20)  # ms: a liveness check that waits for computations gets a healthy server restarted
LIVE = "/health/live"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one server did in one round."""

    throughput: Round
    hits: Latency
    live: Latency


def measure(lab: Lab) -> list[Line]:
    """The lines of a busy server."""
    variables = settings(WARMUP_CONFIGS=without_pause(), CACHE__TTL_SECONDS__EOD=3600)
    store = lab.demo_store(LARGE)
    with ExitStack() as stack:
        idle = stack.enter_context(serving(lab, store, variables=variables | NO_WARM_UPS))
        busy = stack.enter_context(serving(lab, store, variables=variables))
        busy.wait_until_warm()
        for subject in (idle, busy):
            subject.ask(MEDIUM.question)
            subject.child.pin(lab.cores.server)
        lab.say(f"a busy server: {lab.rounds} rounds")
        turns = {"idle": _turn(lab, idle, frozen=busy), "busy": _turn(lab, busy, frozen=None)}
        results = in_turn(turns, lab.rounds)
        runs = sum(warm_up["runs"] for warm_up in busy.status()["warmup_threads"].values())
    return _lines(results["idle"], results["busy"], f"{runs} runs of the warm-ups meanwhile")


def _turn(lab: Lab, subject: Subject, frozen: Subject | None) -> Callable[[], Turn]:
    def latency(path: str) -> Latency:
        return open_loop.measure(subject.port, [path], rate=RATE, seconds=SECONDS, core=lab.cores.client)

    def turn() -> Turn:
        if frozen:
            frozen.child.freeze()
        try:
            throughput = Cell(subject.url(MEDIUM.question), subject.child).run(lab.cores.client)
            return Turn(throughput, latency(MEDIUM.question.path), latency(LIVE))
        finally:
            if frozen:
                frozen.child.thaw()

    return turn


def without_pause() -> list[dict[str, Any]]:
    """The shipped warm-ups, as often as they can."""
    return [{**warm_up, "interval_seconds": INTERVAL_SECONDS} for warm_up in shipped_warm_ups()]


def shipped_warm_ups() -> list[dict[str, Any]]:
    """WARMUP_CONFIGS of config.py, a literal."""
    tree = ast.parse((REPOSITORY / "config.py").read_text())
    values = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    warm_ups: list[dict[str, Any]] = ast.literal_eval(values["WARMUP_CONFIGS"])
    return warm_ups


def _lines(idle: list[Turn], busy: list[Turn], note: str) -> list[Line]:
    kept = ratios([t.throughput.per_second for t in busy], [t.throughput.per_second for t in idle])
    grown = ratios([t.hits.p99 for t in busy], [t.hits.p99 for t in idle])
    at = f"{MEDIUM.name} at {RATE:g}/s, open loop"
    return [
        line("GET hit while warm-ups recompute, over idle", kept, "×", THROUGHPUT_KEPT, note),
        line(f"p99 while warm-ups recompute, over idle ({at})", grown, "×", P99_GROWTH),
        line(f"p99 of a hit, idle ({at})", [t.hits.p99 for t in idle], "ms"),
        line(f"p99 of a hit, busy ({at})", [t.hits.p99 for t in busy], "ms"),
        line(f"p99 of {LIVE}, idle ({RATE:g}/s, open loop)", [t.live.p99 for t in idle], "ms"),
        line(f"p99 of {LIVE} while every worker computes", [t.live.p99 for t in busy], "ms", LIVE_P99),
    ]
