"""Clients that ask at the same instant."""

from __future__ import annotations

import threading
from collections import Counter

from position_server.errors import Conflict
from position_server.simulation.jobs import JobService
from position_server.simulation.requests import TriggerRequest
from tests.simulation.desk import DAYS

WEEK = DAYS[:5]
ONE_WEEK = TriggerRequest(start_date=WEEK[0], end_date=WEEK[-1])


def outcomes_of(service: JobService, requests: list[TriggerRequest]) -> Counter[str]:
    """What clients are told that ask at once: created, existing, conflict; and of which job."""
    found: list[str] = []
    together = threading.Barrier(len(requests))

    def ask(request: TriggerRequest) -> None:
        together.wait()
        try:
            outcome = service.trigger(request)
            found.append(f"{type(outcome).__name__} {outcome.job.job_id}")  # type: ignore[union-attr]
        except Conflict as conflict:
            found.append(f"Conflict {conflict.job_id}")

    threads = [threading.Thread(target=ask, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(found)
