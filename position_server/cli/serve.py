"""`serve`: makes the demo store where it is wanted and missing, then answers HTTP until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import uvloop

from position_server.app import PositionServer, refuse_strangers
from position_server.cli.arguments import add_settings_arguments, settings_of
from position_server.errors import PositionServerError
from position_server.logs import logging_to
from position_server.settings import Settings

log = logging.getLogger(__name__)
SWITCH_INTERVAL_SECONDS = 2e-4  # a busy thread gives the event loop the interpreter back this soon (default 5 ms)
SQLITE = "sqlite:///"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `serve`."""
    add_settings_arguments(parser)
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; 0 then, 1 where a section is broken or the demo cannot be built."""
    flags = {name: value for name, value in (("host", args.host), ("port", args.port)) if value is not None}
    settings = settings_of(args, flags)
    refuse_strangers(settings)
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    with logging_to(settings.logs.level):
        if _demo_is_missing(settings) and not _build_demo(args.config, settings):
            return 1
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    told = asyncio.Event()
    _on_signals(told)
    async with PositionServer(settings) as server:
        stop, broken = asyncio.create_task(told.wait()), asyncio.create_task(server.broken())
        await asyncio.wait([stop, broken], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        broken.cancel()
        if told.is_set():
            return 0
        _say(broken.result())
        return 1


def _on_signals(told: asyncio.Event) -> None:
    """The first signal asks for an orderly end, the second one ends at once."""

    def hear() -> None:
        if told.is_set():
            os._exit(1)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, hear)


def _say(error: PositionServerError) -> None:
    log.critical("cannot serve", extra={"error": error.message})
    print(f"position-server: {error.message}", file=sys.stderr)


def _demo_is_missing(settings: Settings) -> bool:
    url = settings.store_url
    if not url.startswith(SQLITE) or Path(url.removeprefix(SQLITE)).exists():
        return False
    if not settings.store.demo:
        log.warning("there is no store yet", extra={"url": url, "cure": "python -m position_server load ..."})
    return settings.store.demo


def _build_demo(config: Path, settings: Settings) -> bool:
    """Builds the demo store in a process of its own: this one stays without numpy. It ends when this one does."""
    log.info("building the demo store", extra={"url": settings.store_url})
    flags: list[str | Path] = ["--config", config, "--data-dir", settings.data_dir]
    command = [sys.executable, "-m", "position_server", "demo", "--end-with-parent", *flags]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sys.stderr) as builder:
        built = builder.wait() == 0
    if not built:
        print("position-server: the demo store could not be built; see above", file=sys.stderr)
    return built
