"""`demo`: builds the demo desk's store and says what is in it. A store that is there is touched only with `--force`."""

from __future__ import annotations

import argparse
import sys

from position_server.cli.arguments import add_settings_arguments, settings_of
from position_server.cli.parent import end_with_parent
from position_server.clock import SystemClock
from position_server.demo.build import DemoExistsError, build_demo
from position_server.errors import PositionServerError
from position_server.store.location import parse_location


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `demo`."""
    add_settings_arguments(parser)
    parser.add_argument("--scale", type=_scale, default=1, metavar="N", help="N times the positions and instruments")
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input does")
    parser.add_argument("--force", action="store_true", help="replace the SQLite store that is there")


def run(args: argparse.Namespace) -> int:
    """Builds the demo; 0 when it stands, 1 where there is a store already or it cannot be written."""
    if args.end_with_parent:  # a build that is cut short leaves no store
        end_with_parent()
    settings, clock = settings_of(args), SystemClock()
    started = clock.monotonic()
    try:
        counts = build_demo(settings.store_url, scale=args.scale, force=args.force)
    except (DemoExistsError, PositionServerError) as error:
        print(f"position-server: {error}", file=sys.stderr)
        return 1
    for table, count in counts.items():
        print(f"{table:12} {count:>10,}")
    print(f"demo store built in {clock.monotonic() - started:.1f} s: {parse_location(settings.store_url)}")
    return 0


def _scale(text: str) -> int:
    scale = int(text)
    if scale < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return scale
