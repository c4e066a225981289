"""The server on a clock that runs faster, so that hours of a trading day pass in seconds.

`python -m bench.compressed --begin 2025-10-30T09:30:00-04:00 --factor 30 --data-dir DIR`: everything that reads the
server's clock (windows, beats, ttl, grace, ages) lives `factor` times as fast. Workers do not: a computation that takes
0.1 s takes 0.1 × factor seconds of that day.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import threading
from datetime import datetime, timedelta
from pathlib import Path

import uvloop

from position_server.app import PositionServer
from position_server.clock import SystemClock
from position_server.logs import logging_to
from position_server.settings import Settings, load_settings


class CompressedClock:
    """The machine's clock from `begin` on, `factor` times as fast."""

    def __init__(self, begin: datetime, factor: float) -> None:
        self._machine = SystemClock()
        self._begin = begin
        self._factor = factor
        self._since = self._machine.monotonic()

    def now(self) -> datetime:
        return self._begin + timedelta(seconds=self._passed())

    def monotonic(self) -> float:
        return self._since + self._passed()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        return self._machine.wait(stop, seconds / self._factor)

    def _passed(self) -> float:
        return (self._machine.monotonic() - self._since) * self._factor


async def serve(settings: Settings, clock: CompressedClock) -> None:
    """Serves until SIGTERM."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with PositionServer(settings, clock):
        await told.wait()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="The server on a faster clock.")
    parser.add_argument("--begin", type=datetime.fromisoformat, required=True)
    parser.add_argument("--factor", type=float, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    args = parser.parse_args()
    settings = load_settings(flags={"data_dir": args.data_dir, "server": {"port": 0}})
    with logging_to("INFO"), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, CompressedClock(args.begin, args.factor)))


if __name__ == "__main__":
    main()
