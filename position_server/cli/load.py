"""`python -m position_server load KIND FILE.csv [--date D]`: a desk's own data into the store.

Exit code 0 when the file is in the store, 2 when it was refused (every bad line on standard error, nothing loaded), 1
when the store is unavailable. Creates the store's tables where they are missing.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from position_server.cli.arguments import add_settings_arguments, settings_of
from position_server.clock import SystemClock
from position_server.errors import LoadError, StoreUnavailable
from position_server.portfolio.onboarding import LoadedSymbols
from position_server.store.engine import open_store
from position_server.store.load import KINDS, LoadResult, load_file

MOST_NAMES = 20  # in a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this command."""
    add_settings_arguments(parser)
    parser.add_argument("kind", choices=list(KINDS), help="what the file holds")
    parser.add_argument("file", type=Path, metavar="FILE.csv", help="UTF-8, comma separated, with a header line")
    parser.add_argument(
        "--date", type=_date, metavar="D", help="date of the rows that have none of their own (YYYY-MM-DD)"
    )


def run(args: argparse.Namespace) -> int:
    """Load the file; 0 loaded, 2 refused, 1 store unavailable."""
    try:
        newcomers = LoadedSymbols(SystemClock())
        print(_load(settings_of(args).store_url, args.kind, args.file, args.date, newcomers))
        if newcomers.queued:
            more = f" and {len(newcomers.queued) - MOST_NAMES} more" if len(newcomers.queued) > MOST_NAMES else ""
            print(f"queued for onboarding: {', '.join(newcomers.queued[:MOST_NAMES])}{more}")
    except LoadError as error:
        return _refused(args.file, error)
    except OSError as error:
        print(f"{args.file}: cannot be read: {error.strerror or error}", file=sys.stderr)
        return 2
    except StoreUnavailable as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


def _load(store_url: str, kind: str, file: Path, on_date: date | None, newcomers: LoadedSymbols) -> LoadResult:
    with file.open("rb"):  # before anything is created for a file that is not there
        pass
    with open_store(store_url) as store:
        store.upgrade()
        return load_file(store, kind, file, on_date, newcomers)


def _refused(file: Path, error: LoadError) -> int:
    for line, message in error.problems:
        print(f"{file}:{line}: {message}", file=sys.stderr)
    count = len(error.problems)
    print(f"{file}: {count} {'problem' if count == 1 else 'problems'}, nothing loaded", file=sys.stderr)
    return 2


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not a date: {text!r} (YYYY-MM-DD)") from error
