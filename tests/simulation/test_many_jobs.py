"""A thousand finished jobs of a hundred model-days each: looking at one stays quick, whichever it is."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from position_server.simulation.jobs import JobService
from position_server.store.engine import open_store
from tests.simulation.desk import Desk

JOBS, DAYS, MODELS = 1_000, 25, 4
MOST_SECONDS = 0.200  # ten times what is promised: a machine may be as slow
NOW = datetime(2025, 10, 30, tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
FILL = (
    f"""
    INSERT INTO sim_jobs (job_id, number, identity, status, config_path, config, date_range, models, triggered_by,
                          cancel_requested, created_at, started_at, updated_at, completed_at)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS})
    SELECT 'job-' || i, i, 'identity-' || i, 'completed', 'configs/default_config.json', '{{}}', '["2025-06-02"]',
           '["m1", "m2", "m3", "m4"]', 'cron', 0, '{NOW}', '{NOW}', '{NOW}', '{NOW}' FROM n
    """,
    f"""
    INSERT INTO sim_job_details (job_id, day, model, status, attempt, started_at, completed_at, duration_seconds)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS}),
                   d(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM d WHERE k < {DAYS}),
                   m(j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM m WHERE j < {MODELS})
    SELECT 'job-' || i, date('2025-06-01', '+' || k || ' days'), 'm' || j, 'completed', 1, '{NOW}', '{NOW}', 0.25
    FROM n, d, m
    """,
    f"""
    INSERT INTO sim_positions (model, day, job_id, cash_cents, value_cents, profit_cents, total_steps,
                               stop_signal_received)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS * DAYS}),
                   m(j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM m WHERE j < {MODELS})
    SELECT 'm' || j, date('1950-01-01', '+' || i || ' days'), 'job-' || (1 + (i - 1) / {DAYS}), 0, 100, 0, 1, 1
    FROM n, m
    """,
)


@pytest.fixture(scope="module")
def crowded(market_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("crowded")
    url = f"sqlite:///{shutil.copy(market_file, folder)}"
    with open_store(url) as store:
        with store.write() as connection:
            for statement in FILL:
                connection.execute(text(statement))
        yield Desk(store, url, folder)


def own_seconds(ask: Callable[[], Any]) -> float:
    """The processor's time that one call takes: other processes on a busy machine do not count."""
    took = []
    for _ in range(11):
        since = time.thread_time()
        ask()
        took.append(time.thread_time() - since)
    return statistics.median(took)


def test_the_newest_job_and_any_other_are_there_at_once(crowded: Desk) -> None:
    with crowded.service() as service:
        assert service.current()["job_id"] == "job-1000"
        found = service.status("job-500")
        assert len(found["progress"]["details"]) == DAYS * MODELS
        assert own_seconds(service.current) < MOST_SECONDS
        assert own_seconds(lambda: service.status("job-500")) < MOST_SECONDS


def statements(service: JobService, ask: Callable[[], Any], desk: Desk) -> list[str]:
    """The plans of what is asked of the store."""
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append((statement, parameters))

    engine = desk.store._engine
    event.listen(engine, "before_cursor_execute", note)
    ask()
    event.remove(engine, "before_cursor_execute", note)
    plans = []
    with desk.store.read() as connection:
        for statement, parameters in seen:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append("; ".join(row[3] for row in rows))
    return plans


def test_no_question_about_jobs_reads_a_whole_table(crowded: Desk) -> None:
    with crowded.service() as service:
        for ask in (service.current, lambda: service.status("job-500"), lambda: service.progress("job-7")):
            plans = statements(service, ask, crowded)
            assert 2 <= len(plans) <= 3
            assert [plan for plan in plans if "SCAN" in plan and "USING INDEX" not in plan] == []
