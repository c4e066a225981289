"""How long after the store comes back every section is good again. The store's file is moved away and back."""

from __future__ import annotations

import time

from bench.lab import DESK, STORE_FILE, Lab
from bench.lines import Line, line
from bench.processes import until
from bench.subject import Question, Subject, serving

QUESTION = Question(("EXO",), time_of_day="LIVE")
AWAY_SECONDS = (1.0, 3.5)  # after the failure was first seen
FAILS_WITHIN_SECONDS, RECOVERS_WITHIN_SECONDS = 40.0, 60.0
READER_SECONDS = 0.02


def measure(lab: Lab) -> list[Line]:
    """The one line, of as many outages as there are rounds (at most two). Readers keep asking all the time."""
    away = AWAY_SECONDS[: lab.rounds]
    with serving(lab, lab.demo_store(DESK)) as subject:
        subject.wait_until_warm()
        lab.say(f"the store goes away and comes back, {len(away)} times")
        seconds = [_outage(subject, one) for one in away]
    note = "shipped settings (a failed section is tried again after 5 s), a reader every 20 ms"
    return [line("time to recover after the store comes back", seconds, "s", note=note)]


def _outage(subject: Subject, away_seconds: float) -> float:
    store = subject.data_dir / STORE_FILE
    away = store.with_name("away.sqlite")
    store.rename(away)
    try:
        until(lambda: not _all_ok(subject), FAILS_WITHIN_SECONDS, "a failed section")
        _read_for(subject, away_seconds)
    finally:
        away.rename(store)
    since = time.perf_counter()
    until(lambda: _all_ok(subject), RECOVERS_WITHIN_SECONDS, "recovery")
    return time.perf_counter() - since


def _read_for(subject: Subject, seconds: float) -> None:
    """Asks as readers do; the answers are stale."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        subject.ask(QUESTION)
        time.sleep(READER_SECONDS)


def _all_ok(subject: Subject) -> bool:
    sections = subject.ask(QUESTION).json()["sections"].values()
    return all(section["metadata"]["status"] == "ok" for section in sections)
