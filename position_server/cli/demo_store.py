"""The demo store, built by whichever command comes first where the configuration asks for it and there is none."""

from __future__ import annotations

import sys
from contextlib import suppress

from position_server.settings import Settings
from position_server.store.location import SqliteLocation, parse_location


def build_demo_if_missing(settings: Settings) -> None:
    """Builds the demo store where config asks for it and there is no SQLite store; says so on standard error."""
    location = parse_location(settings.store_url)
    if not settings.store.demo or not isinstance(location, SqliteLocation) or location.path.exists():
        return
    from position_server.demo.build import DemoExistsError, build_demo  # not at the top: few need it, and numpy

    print(f"building the demo store first: {location}", file=sys.stderr)
    with suppress(DemoExistsError):  # another process was quicker
        build_demo(settings.store_url)
