"""Market: puts the rooms together that bring quotes to LIVE environments: market data, the bus, the environment.

Nothing is fetched, stored or computed here. What it starts imports SQLAlchemy and perhaps Redis, so a thread starts it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from position_server.clock import Clock
from position_server.environment.live import LiveRefresh
from position_server.environment.service import EnvironmentService
from position_server.events.bus import Bus
from position_server.events.in_process import InProcessBus
from position_server.market_data.service import MarketData
from position_server.metrics import Metrics
from position_server.settings import Settings

if TYPE_CHECKING:
    from position_server.market_data.follower import Follower


class Market:
    """Quotes and what follows: what fetches them, the bus that tells of them, LIVE environments computed anew.

    Without assets in the configuration none of it runs.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        environment: EnvironmentService,
        business_date: Callable[[], date],
        metrics: Metrics,
    ) -> None:
        self._settings, self._clock, self._metrics = settings, clock, metrics
        self._refreshing = partial(LiveRefresh, service=environment, clock=clock, business_date=business_date)
        self._up = ExitStack()  # what was started, by the thread
        self.data = MarketData(settings, clock, fetches=settings.market_data.enabled, metrics=metrics)
        self._thread = threading.Thread(target=self._start_parts, name="market-start", daemon=True)

    def start(self) -> None:
        """Starts everything on a thread: its imports take a while, and so may Redis."""
        if self._settings.market_data.assets:
            self._thread.start()

    def stop(self) -> None:
        """Fetches nothing more."""
        self.data.stop()

    def join(self) -> None:
        """Ends everything, and waits for its end."""
        if self._thread.ident is not None:  # it was started
            self._thread.join()
        self.data.join()
        self._up.close()

    def _start_parts(self) -> None:
        bus = self._new_bus()
        self._up.callback(bus.close)
        parts: list[LiveRefresh | Follower] = [self._refreshing(bus=bus, metrics=self._metrics)]
        if self._settings.redis_url is None:  # then nothing else tells of quotes that other processes store
            parts.append(self._follower(bus))
        for part in parts:
            self._up.callback(part.join)
            part.start()
            self._up.callback(part.stop)
        self.data.start(bus.publish)

    def _new_bus(self) -> Bus:
        if self._settings.redis_url is None:
            return InProcessBus(self._metrics)
        from position_server.events.redis_bus import RedisBus  # not at the top: few need Redis

        return RedisBus(self._settings.redis_url, self._clock, self._metrics)

    def _follower(self, bus: Bus) -> Follower:
        from position_server.market_data.follower import Follower  # not at the top: SQLAlchemy
        from position_server.store.engine import open_store

        store = self._up.enter_context(open_store(self._settings.store_url))
        return Follower(store, bus, self._clock)
