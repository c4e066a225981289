"""`market-data`: fetches quotes without a server, by the same configuration, until told to stop.

A server on the same store sees them: its events come through Redis, or from its own looks at the store.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from contextlib import ExitStack

from position_server.cli.arguments import add_settings_arguments, settings_of
from position_server.clock import SystemClock
from position_server.errors import ConfigError
from position_server.events.bus import Bus
from position_server.events.in_process import InProcessBus
from position_server.logs import logging_to
from position_server.market_data.service import MarketData
from position_server.settings import Settings

log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5  # at whether the updater still runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `market-data`."""
    add_settings_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fetches until SIGTERM or SIGINT; 0 then, 1 where the updater ends by itself. Raises ConfigError."""
    settings = settings_of(args)
    if not settings.market_data.assets:
        raise ConfigError('MARKET_DATA["assets"]', "is empty: there is nothing to fetch")
    told = _on_signals()
    with logging_to(settings.logs.level), ExitStack() as up:
        clock = SystemClock()
        bus = _bus(settings)
        up.callback(bus.close)
        data = MarketData(settings, clock, fetches=True)
        up.callback(data.join)
        data.start(bus.publish)
        up.callback(data.stop)
        while not clock.wait(told, LOOK_SECONDS):
            if not data.is_running():
                return 1
        log.info("stopping")
    return 0


def _bus(settings: Settings) -> Bus:
    if settings.redis_url is None:
        return InProcessBus()  # nobody is on it
    from position_server.events.redis_bus import RedisBus

    return RedisBus(settings.redis_url, SystemClock())


def _on_signals() -> threading.Event:
    """Set by the first signal; the second one ends the process at once."""
    told = threading.Event()

    def hear(*_: object) -> None:
        if told.is_set():
            os._exit(1)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hear)
    return told
