"""Batches as processes: who starts first, who fails, who is killed, and that two of them never do a thing twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from position_server.store.engine import Store
from tests.market_data.faults import once, refused, slow
from tests.portfolio.desk import NIGHT
from tests.portfolio.processes import Desk, serving_prices
from tests.servers import until

LOST_SECONDS = 3.0  # a process that is not run for as long is taken for dead
SYMBOLS, PORTFOLIOS = "symbol_batch", "portfolio_refresh"


@pytest.fixture
def desk(each_desk_store: Store, each_url: str, tmp_path: Path) -> Iterator[Desk]:
    """On either kind of store."""
    with serving_prices() as provider:
        desk = Desk(tmp_path, each_desk_store, each_url, provider)
        yield desk
        desk.close()


@pytest.fixture
def small(desk_store: Store, tmp_path: Path) -> Iterator[Desk]:
    """On SQLite."""
    with serving_prices() as provider:
        desk = Desk(tmp_path, desk_store, f"sqlite:///{desk_store.location}", provider)
        yield desk
        desk.close()


def test_portfolios_that_start_first_wait_and_two_of_them_are_one(desk: Desk) -> None:
    first = desk.start("portfolios")
    first.says(f"waiting for {SYMBOLS} of {NIGHT}, which has not begun")
    second = desk.start("portfolios")
    second.says(f"{PORTFOLIOS} of {NIGHT} runs already")
    symbols = desk.run("symbols")
    (code, answer), (other_code, other) = first.end(), second.end()
    assert (code, answer["status"], answer["reason"]) == (0, "completed", None)
    assert (other_code, other["status"], other["run_id"]) == (0, "completed", answer["run_id"])
    assert "while this waited" in other["reason"]
    assert desk.runs() == [(PORTFOLIOS, "completed"), (SYMBOLS, "completed")]
    assert (symbols["batch_date"], symbols["counts"]["fits"], symbols["supersedes"]) == ("2025-10-30", 4, None)
    assert len(symbols["input_hash"]) == 64
    assert symbols["started_at"] < symbols["completed_at"] < answer["completed_at"]


def test_of_two_symbols_runs_for_one_date_one_works(desk: Desk) -> None:
    may_answer = threading.Event()
    desk.provider.plan(once(may_answer))
    first = desk.start("symbols")
    until(lambda: desk.provider.calls)
    second = desk.start("symbols")
    second.says(f"{SYMBOLS} of {NIGHT} runs already")
    may_answer.set()
    (_, answer), (code, other) = first.end(), second.end()
    assert (code, other["run_id"]) == (0, answer["run_id"])
    assert desk.runs() == [(SYMBOLS, "completed")]
    assert len(desk.provider.calls) == 2  # stocks, options


def test_a_second_run_of_each_changes_nothing_but_adds_its_record(small: Desk) -> None:
    symbols, _ = small.run("symbols"), small.run("portfolios")
    before = small.data()
    again, _ = small.run("symbols"), small.run("portfolios")
    assert small.data() == before
    assert (again["supersedes"], again["input_hash"]) == (symbols["run_id"], symbols["input_hash"])
    assert small.runs() == [(kind, status) for status in ("superseded", "completed") for kind in (SYMBOLS, PORTFOLIOS)]


def test_symbols_that_fail_abort_portfolios_at_once_with_75(small: Desk) -> None:
    small.provider.schedule = lambda _: refused(403)
    code, answer = small.start("symbols").end()
    assert (code, answer["status"]) == (1, "failed")
    assert "stocks were not priced" in answer["reason"]
    code, answer = small.start("portfolios").end()
    assert (code, answer["status"]) == (75, "aborted")
    assert answer["reason"].startswith(f"{SYMBOLS} of {NIGHT} failed: 9 of 9 symbols have no price")
    assert small.runs() == [(SYMBOLS, "failed"), (PORTFOLIOS, "failed")]


def test_symbols_that_were_killed_abort_portfolios_and_are_replaced(small: Desk) -> None:
    small.provider.plan(slow(30.0))
    killed = small.start("symbols", timeout=LOST_SECONDS)
    until(lambda: small.provider.calls)
    waiting = small.start("portfolios", timeout=LOST_SECONDS)
    waiting.says(f"waiting for {SYMBOLS} of {NIGHT}, which runs")
    killed.kill()
    code, answer = waiting.end()
    assert (code, answer["status"]) == (75, "aborted")
    assert "has not been heard of since" in answer["reason"]
    assert small.runs() == [(SYMBOLS, "failed"), (PORTFOLIOS, "failed")]
    again = small.run("symbols")
    assert again["supersedes"] is not None
    small.run("portfolios")
    assert [status for _, status in small.runs()] == ["superseded", "superseded", "completed", "completed"]


def test_a_wait_that_times_out_is_75(small: Desk) -> None:
    code, answer = small.start("portfolios", max_wait=0.3).end()
    assert (code, answer["status"]) == (75, "aborted")
    assert answer["reason"] == f"{SYMBOLS} of {NIGHT} did not complete within 0.3 s"
    assert small.runs() == [(PORTFOLIOS, "failed")]


def test_a_batch_that_is_told_to_end_says_so_in_its_record(small: Desk) -> None:
    waiting = small.start("portfolios")
    waiting.says("waiting for")
    os.kill(waiting.process.pid, signal.SIGTERM)
    code, answer = waiting.end()
    assert (code, answer) == (1, {"status": "failed", "reason": "The batch was told to end before it was done."})
    assert small.runs() == [(PORTFOLIOS, "failed")]


@pytest.mark.parametrize(
    ("day", "reason"),
    [("2025-07-04", "2025-07-04 is no business day of XNYS"), ("2025-10-31", "2025-10-31 has not ended yet")],
)
def test_a_holiday_and_a_day_to_come_are_refused(small: Desk, day: str, reason: str) -> None:
    code, answer = small.start("symbols", "--date", day).end()
    assert (code, answer["status"]) == (2, "refused")
    assert reason in answer["reason"]
    assert small.runs() == []
