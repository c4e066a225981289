"""What many cached environments cost: latency with a thousand keys and 200 connections, memory with 200 of 1.2 MB."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial

from bench import open_loop
from bench.lab import Lab
from bench.lines import Line, at_most, line, ratios
from bench.open_loop import Latency
from bench.subject import NO_WARM_UPS, Question, Subject, filler, serving, settings, with_filler
from bench.turns import in_turn

FEW, MANY, CONNECTIONS = 10, 1000, 200
RATE, SECONDS = 2000.0, 1.0
KEY_BYTES = 5_000  # with head and receipt about 6 KB
ENTRIES, ENTRY_BYTES = 200, 1_200_000
ASKING_AT_ONCE = 8
NO_WORSE = at_most(1.1)  # a 99th percentile of one second is not repeatable to less than a tenth
MEGABYTE = 1e6


def measure_keys(lab: Lab) -> list[Line]:
    """p99 with a thousand keys over p99 with ten."""
    with ExitStack() as stack:
        servers = {
            count: (stack.enter_context(_server(lab)), [filler(KEY_BYTES, f"K{n:04}") for n in range(count)])
            for count in (FEW, MANY)
        }
        for subject, questions in servers.values():
            _fill(subject, questions)
            subject.child.pin(lab.cores.server)
        lab.say(f"{MANY} keys and {CONNECTIONS} connections: {lab.rounds} rounds")
        results = in_turn({count: partial(_latency, lab, *server) for count, server in servers.items()}, lab.rounds)
    few, many = ([one.p99 for one in results[count]] for count in (FEW, MANY))
    return [
        line(f"p99 of hits, {MANY} keys over {FEW} ({CONNECTIONS} connections)", ratios(many, few), "×", NO_WORSE),
        line(f"p99 of hits, {MANY} keys, {CONNECTIONS} connections ({RATE:g}/s, open loop)", many, "ms"),
    ]


def measure_memory(lab: Lab) -> list[Line]:
    """Resident memory of the serving process against what it may use: asked whole, then narrowed as well."""
    narrowed = [filler(ENTRY_BYTES, f"M{n:04}") for n in range(ENTRIES)]
    with _server(lab) as subject:
        lab.say(f"computing {ENTRIES} environments of {ENTRY_BYTES / MEGABYTE:g} MB")
        _fill(subject, [replace(question, sections=None) for question in narrowed])
        whole = _memory(subject, f"memory of the serving process, {ENTRIES} entries of 1.2 MB")
        _fill(subject, narrowed)
        return [whole, _memory(subject, "the same, each asked narrowed by sections as well")]


def _memory(subject: Subject, name: str) -> Line:
    cache, resident = subject.status()["cache"], subject.child.resident_bytes()
    allowed = 1.3 * cache["bytes"] + 80 * MEGABYTE
    note = f"{cache['size']} entries, {cache['bytes'] / MEGABYTE:,.0f} MB cached as /status counts"
    return line(name, resident / MEGABYTE, "MB", at_most(round(allowed / MEGABYTE)), note)


def _server(lab: Lab) -> AbstractContextManager[Subject]:
    roomy = settings(CACHE__MAX_ENTRIES=2 * MANY, CACHE__MAX_MB=4000, CACHE__TTL_SECONDS__EOD=3600)
    return serving(lab, lab.empty_store(), variables={**NO_WARM_UPS, **roomy, **with_filler(lab)})


def _fill(subject: Subject, questions: Sequence[Question]) -> None:
    """Asks everything once, so that all of it is cached, and once more, so that each was a hit before."""
    with ThreadPoolExecutor(ASKING_AT_ONCE) as threads:
        for _ in threads.map(subject.ask, [*questions, *questions]):
            pass


def _latency(lab: Lab, subject: Subject, questions: Sequence[Question]) -> Latency:
    return open_loop.measure(
        subject.port,
        [question.path for question in questions],
        rate=RATE,
        seconds=SECONDS,
        core=lab.cores.client,
        connections=CONNECTIONS,
    )
