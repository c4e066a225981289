"""What `batch` shows: a bar per phase on a terminal, plain lines elsewhere, and the table at its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from position_server.clock import Clock
from position_server.portfolio.night import Progress
from position_server.portfolio.records.runs import BatchRun

PLAIN_WIDTH = 120  # of the table where output is no terminal
MOST_NAMES = 8  # in one cell


@contextmanager
def shown_progress(clock: Clock) -> Iterator[Progress]:
    """Progress on standard error, for as long as the block lasts."""
    if not sys.stderr.isatty():
        yield _Lines(clock)
        return
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True)) as bars:
        yield _Bars(bars)


class _Bars:
    """A bar per phase; those of earlier phases stay."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, phase: str, total: int) -> None:
        self._task = self._bars.add_task(phase, total=total)

    def advance(self, count: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, count)

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)


class _Lines:
    """A line when a phase begins that has anything to do, and whenever there is something to say."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()

    def begin(self, phase: str, total: int) -> None:
        if total:
            self.say(f"{phase}: {total}")

    def advance(self, count: int = 1) -> None:
        """Nothing: lines that change are for terminals."""

    def say(self, line: str) -> None:
        print(f"{self._clock.monotonic() - self._since:7.1f} s  {line}", file=sys.stderr, flush=True)


def print_summary(run: BatchRun) -> None:
    """The table of a completed run, on standard output."""
    table = Table(title=f"{run.batch_type} of {run.batch_date}: {run.status}")
    table.add_column("what")
    table.add_column("how many", justify="right")
    table.add_column("which", overflow="fold")
    for name, value in run.counts.items():
        for row in _rows(name.replace("_", " "), value):
            table.add_row(*row)
    table.caption = f"run {run.run_id}, input {(run.input_hash or '')[:12]}"
    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, markup=False).print(table)


def _rows(name: str, value: Any) -> Iterator[tuple[str, str, str]]:
    """A count as rows: numbers as they are, lists by length and first names, tables entry by entry."""
    match value:
        case bool() | str():
            yield name, "", str(value)
        case int():
            yield name, f"{value:,}", ""
        case float():
            yield name, f"{value:,.3f}", ""
        case list() | tuple():
            yield name, f"{len(value):,}", _names([str(one) for one in value])
        case Mapping() if value and all(isinstance(one, str) for one in value.values()):
            yield name, f"{len(value):,}", _names([f"{key}: {one}" for key, one in value.items()])
        case Mapping():
            for key, one in value.items():
                yield from _rows(f"{name}: {key}", one)
        case _:
            yield name, "", "" if value is None else str(value)


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
