"""`simulate`: runs model portfolios over past days without a server, and ends with a table of what they came to.

The same jobs in the same store as a server's: a range that was simulated is not simulated twice, one that was cut short
goes on where it stands, and one that another process runs is watched. Progress on standard error, the table on output.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from position_server.cli.arguments import add_settings_arguments, settings_of
from position_server.cli.demo_store import build_demo_if_missing
from position_server.clock import Clock, SystemClock
from position_server.errors import BadRequest, Conflict, NoData, NoPrices, PositionServerError
from position_server.logs import logging_to
from position_server.settings import Settings
from position_server.simulation import registry
from position_server.simulation.assembly import job_service
from position_server.simulation.creation import UpToDate
from position_server.simulation.jobs import JobService
from position_server.simulation.requests import ResultsQuery, TriggerRequest
from position_server.store.engine import open_store

SHOW_SECONDS = 0.1  # between two changes of the progress bar
WATCH_SECONDS = 0.5  # between two looks at a job that another process runs
PLAIN_WIDTH = 120  # of the table where output is no terminal
ACTIVE = ("pending", "running")
INTERRUPTED = 130  # as a shell says of SIGINT
COLUMNS = (
    ("days", "trading_days", "d"),
    ("value", "ending_portfolio_value", ",.2f"),
    ("return %", "period_return_pct", "+.2f"),
    ("annualised %", "annualised_return_pct", "+.2f"),
    ("volatility %", "volatility_pct", ".2f"),
    ("Sharpe", "sharpe_ratio", ".2f"),
    ("drawdown %", "max_drawdown_pct", ".2f"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `simulate`."""
    add_settings_arguments(parser)
    parser.add_argument("--start", metavar="D", help="first day (YYYY-MM-DD); without it, what is due")
    parser.add_argument("--end", metavar="D", help="last day; without it, the last one with prices")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="which models; without it, those that are enabled")
    parser.add_argument("--config-path", metavar="FILE", help="inside configs/ (default: configs/default_config.json)")
    parser.add_argument("--replace", action="store_true", help="replace what the models did from the first day on")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the portfolios' values (needs matplotlib)")


def run(args: argparse.Namespace) -> int:
    """Simulates; 0 when all model-days completed, 1 when some failed or the store is away, 2 refused."""
    settings, clock = settings_of(args), SystemClock()
    if args.plot is not None:
        from position_server.cli import portfolio_plot  # not at the top: matplotlib is optional

        portfolio_plot.check_available()
    try:
        with logging_to("ERROR"):
            return _simulate(args, settings, clock)
    except (BadRequest, Conflict, NoPrices) as error:
        print(f"position-server: {error.message}", file=sys.stderr)
        return 2
    except PositionServerError as error:
        print(f"position-server: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("position-server: interrupted; the same command goes on where it stands", file=sys.stderr)
        return INTERRUPTED


def _simulate(args: argparse.Namespace, settings: Settings, clock: Clock) -> int:
    build_demo_if_missing(settings)
    with open_store(settings.store_url) as store:
        store.upgrade()
        with job_service(settings, store, clock, registry.problems_of) as service:
            outcome = service.trigger(_request(args))
            if isinstance(outcome, UpToDate):
                print(f"nothing is due: simulated up to {outcome.last_simulation_date}")
                return 0
            job = _run_or_watch(service, outcome.job.job_id, clock)
            return _report(service, job, args.plot)


def _request(args: argparse.Namespace) -> TriggerRequest:
    models = [name for given in args.models or () for name in given.split(",") if name] or None
    body = {
        "start_date": args.start,
        "end_date": args.end,
        "models": models,
        "config_path": args.config_path,
        "replace_existing": args.replace,
    }
    return TriggerRequest.from_body(body, user="command line")


def _run_or_watch(service: JobService, job_id: str, clock: Clock) -> dict[str, Any]:
    """Runs the job here, or watches whoever runs it; returns it when it is over."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        shown = bar.add_task("simulating", total=None)
        shown_at = clock.monotonic()

        def show(_: str) -> None:
            nonlocal shown_at
            if clock.monotonic() >= shown_at + SHOW_SECONDS:
                shown_at = clock.monotonic()
                _show(bar, shown, service.progress(job_id))

        service.subscribe(show)
        nothing = threading.Event()
        while True:
            service.run(job_id)  # nothing, as long as another process runs it
            job = service.progress(job_id)
            _show(bar, shown, job)
            if job["status"] not in ACTIVE:
                return job
            clock.wait(nothing, WATCH_SECONDS)


def _show(bar: Progress, shown: TaskID, job: dict[str, Any]) -> None:
    progress = job["progress"]
    current, done = progress["current"], progress["completed"] + progress["failed"]
    where = current["date"] if current else job["status"]
    bar.update(shown, total=progress["total_model_days"], completed=done, description=where)


def _report(service: JobService, job: dict[str, Any], plot: Path | None) -> int:
    """Prints the table and what failed; draws the plot."""
    for one in service.status(job["job_id"])["progress"]["details"]:
        if one["status"] == "failed":
            print(f"{one['date']} {one['model']}: {one['error']}", file=sys.stderr)
    days = job["date_range"]
    query = ResultsQuery.from_arguments({"start_date": days[0], "end_date": days[-1]})
    try:
        found = [one for one in service.results(query)["results"] if one["model"] in job["models"]]
    except NoData:
        found = []
    if found:
        Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH).print(_table(job, found))
    if plot is not None and found:
        from position_server.cli import portfolio_plot

        portfolio_plot.draw(found, plot)
        print(f"plot: {plot}")
    return 0 if job["status"] == "completed" else 1


def _table(job: dict[str, Any], found: list[dict[str, Any]]) -> Table:
    days = job["date_range"]
    table = Table(title=f"{days[0]} to {days[-1]}: {job['status']}")
    table.add_column("model")
    for heading, _, _ in COLUMNS:
        table.add_column(heading, justify="right")
    for one in found:
        values = [(one["metrics"][name], form) for _, name, form in COLUMNS]
        table.add_row(one["model"], *("-" if value is None else format(value, form) for value, form in values))
    return table
