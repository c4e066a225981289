"""`batch symbols|portfolios`: the nightly batch, for a scheduler. Safe to run twice, and by two processes at once.

Exit codes: 0 done, 1 failed, 2 refused, 75 aborted because what it waits for did not come true (EX_TEMPFAIL of
sysexits.h). Progress on standard error; on standard output the summary, or with `--json` one object.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from position_server.business_days import Calendar, last_completed_business_date
from position_server.cli.arguments import add_settings_arguments, settings_of
from position_server.cli.batch_progress import print_summary, shown_progress
from position_server.cli.demo_store import build_demo_if_missing
from position_server.clock import Clock, SystemClock
from position_server.errors import BatchAborted, ConfigError, PositionServerError
from position_server.logs import logging_to
from position_server.portfolio.coordination import Coordinator, this_process
from position_server.portfolio.night import Night, Progress
from position_server.portfolio.records.runs import BatchRun
from position_server.settings import Settings
from position_server.store.engine import Store, open_store

log = logging.getLogger(__name__)
DONE, FAILED, REFUSED, ABORTED = 0, 1, 2, 75
Answer = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two batches and their flags."""
    batches = parser.add_subparsers(dest="batch", required=True, metavar="symbols|portfolios")
    batches.add_parser("symbols", help="prices, then factor exposures, of every symbol")
    batches.add_parser("portfolios", help="waits for the symbols of its date, then one snapshot per book")
    for batch in batches.choices.values():
        batch.add_argument("--date", type=_date, metavar="D", help="a business day (default: the last completed one)")
        batch.add_argument("--json", action="store_true", help="print one JSON object")
        add_settings_arguments(batch)


def run(args: argparse.Namespace) -> int:
    """Runs the batch; 0, 1, 2 or 75."""
    code, answer = _outcome(args)
    if args.json:
        print(json.dumps(answer))
    elif answer["reason"]:
        print(f"position-server: {answer['reason']}", file=sys.stderr)
    return code


def _outcome(args: argparse.Namespace) -> tuple[int, Answer]:
    clock = SystemClock()
    try:
        settings = settings_of(args)
        day = _day(args.date, settings, clock)
        with logging_to("WARNING"), shown_progress(clock) as progress:
            done = _run(args.batch, day, settings, clock, progress)
    except ConfigError as error:
        return REFUSED, _answer("refused", error.message)
    except BatchAborted as error:
        return ABORTED, _answer("aborted", error.message)
    except PositionServerError as error:
        return FAILED, _answer("failed", error.message)
    except Exception as error:
        log.exception("the batch broke")
        return FAILED, _answer("failed", f"{type(error).__name__}: {error}")
    if not args.json:
        print_summary(done)
    by_another = f"done by {done.process} while this waited" if done.process != this_process() else None
    return DONE, _answer(done.status, by_another, done)


def _run(batch: str, day: date, settings: Settings, clock: Clock, progress: Progress) -> BatchRun:
    stop = _stop_on_signals()
    build_demo_if_missing(settings)
    with open_store(settings.store_url) as store:
        store.upgrade()
        night = _night(day, settings, store, clock, progress, stop)
        return _BATCHES[batch](night)


def _symbols(night: Night) -> BatchRun:
    from position_server.portfolio.symbols_batch import run_symbols  # not at the top: numpy
    from position_server.provider_prices import provider_prices

    return run_symbols(night, partial(provider_prices, night.settings, night.clock))


def _portfolios(night: Night) -> BatchRun:
    from position_server.portfolio.portfolios_batch import run_portfolios

    return run_portfolios(night)


_BATCHES: dict[str, Callable[[Night], BatchRun]] = {"symbols": _symbols, "portfolios": _portfolios}


def _night(
    day: date, settings: Settings, store: Store, clock: Clock, progress: Progress, stop: threading.Event
) -> Night:
    return Night(
        day=day,
        settings=settings,
        calendar=Calendar.named(settings.calendar),
        store=store,
        clock=clock,
        coordinator=Coordinator(store, clock, settings.portfolio, say=progress.say),
        progress=progress,
        stop=stop,
    )


def _day(given: date | None, settings: Settings, clock: Clock) -> date:
    """The batch's date. Raises ConfigError for one that is no business day, or has not ended yet."""
    calendar = Calendar.named(settings.calendar)
    last = last_completed_business_date(clock.now(), ZoneInfo(settings.timezone), calendar, settings.business_date)
    if given is None:
        return last
    if given > last:
        raise ConfigError("--date", f"{given} has not ended yet; the last completed business day is {last}")
    if not calendar.is_business_day(given):
        raise ConfigError("--date", f"{given} is no business day of {calendar.name}")
    return given


def _answer(status: str, reason: str | None, run: BatchRun | None = None) -> Answer:
    answer: Answer = {"status": status, "reason": reason}
    if run is None:
        return answer
    return answer | {
        "run_id": run.run_id,
        "batch_type": run.batch_type,
        "batch_date": run.batch_date.isoformat(),
        "started_at": run.started_at.isoformat(),
        "completed_at": run.completed_at.isoformat() if run.completed_at else None,
        "supersedes": run.supersedes,
        "input_hash": run.input_hash,
        "counts": run.counts,
    }


def _stop_on_signals() -> threading.Event:
    """Set by the first SIGTERM or SIGINT; the second one ends the process at once."""
    told = threading.Event()

    def hear(*_: object) -> None:
        if told.is_set():
            os._exit(FAILED)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)
    return told


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not a date: {text!r} (YYYY-MM-DD)") from error
