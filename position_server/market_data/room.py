"""What the market-data thread works with, built from the settings. Imports SQLAlchemy and the provider's client.

Building connects to nothing but the demo provider's process: a store, a Redis or a provider that is down shows later,
where it is used.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from zoneinfo import ZoneInfo

from position_server.clock import Clock
from position_server.events.bus import PriceUpdate
from position_server.market_data.assets import DEMO, Asset, assets_of, provider_of
from position_server.market_data.batch import BatchOrchestrator
from position_server.market_data.demo_process import DemoProcess
from position_server.market_data.ledger import StoreLedger
from position_server.market_data.meter import Meter
from position_server.market_data.priority_queue import PriorityQueue
from position_server.market_data.provider import Permits, ProviderClient
from position_server.market_data.rate_limiter import Ledger, RateLimiter
from position_server.market_data.records import Records
from position_server.market_data.runs import Runs
from position_server.market_data.second_place import SecondPlace, calls_of_quotes
from position_server.market_data.updater import AssetUpdater
from position_server.metrics import Metrics
from position_server.settings import MarketDataSettings, Settings
from position_server.store.engine import Store, open_store


class Room:
    """The records and the call budget; `orchestrator` builds what fetches. `close` when no thread uses it any more."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._up = ExitStack()
        self._lock = threading.Lock()  # guards the start of the demo provider, which all clients share
        self._demo_url: str | None = None
        store = self._up.enter_context(open_store(settings.store_url))
        self.records = Records(store, provider_of(settings.market_data), ZoneInfo(settings.timezone))
        self.limiter = RateLimiter(
            self._ledger(store),
            calls=settings.market_data.calls,
            window_seconds=settings.market_data.window_seconds,
            clock=clock,
        )

    def orchestrator(
        self,
        assets: Sequence[Asset],
        queue: PriorityQueue,
        runs: Runs,
        publish: Callable[[PriceUpdate], None],
        metrics: Metrics,
    ) -> BatchOrchestrator:
        """What fetches. Raises ConfigError as `client`."""
        settings = self._settings.market_data
        meter = Meter(
            self.limiter,
            calls=settings.calls,
            window_seconds=settings.window_seconds,
            clock=self._clock,
            metrics=metrics,
        )
        client = self.client(meter)
        return BatchOrchestrator(
            assets,
            settings,
            updater=AssetUpdater(self.records, client, publish, self._clock),
            queue=queue,
            meter=meter,
            runs=runs,
            make_ready=lambda: self.records.make_ready(assets),
            keep=self.records.add_result,
            clock=self._clock,
            metrics=metrics,
        )

    def client(self, permits: Permits) -> ProviderClient:
        """A client of the provider, closed with the room; starts the demo provider where the settings ask for it.

        Raises ConfigError where the address or the key cannot be used.
        """
        settings = self._settings.market_data
        client = ProviderClient(
            self._demo_address() if settings.base_url == DEMO else settings.base_url,
            _key(settings),
            permits,
            timeout_seconds=settings.timeout_seconds,
            connect_seconds=min(settings.timeout_seconds, 5.0),
            clock=self._clock,
        )
        self._up.callback(client.close)
        return client

    def permits_behind_quotes(self) -> Permits:
        """Permits for work beside the updater, which leave it the calls of a batch and of the queue."""
        settings = self._settings.market_data
        leaves = calls_of_quotes(assets_of(settings), settings.calls)
        return SecondPlace(self.limiter, leaves=leaves, clock=self._clock)

    def close(self) -> None:
        """Close the connections, and end the demo provider."""
        self._up.close()

    def _demo_address(self) -> str:
        with self._lock:
            if self._demo_url is None:
                self._demo_url = self._up.enter_context(DemoProcess(self._clock, self._settings.data_dir)).base_url
            return self._demo_url

    def _ledger(self, store: Store) -> Ledger:
        budget = budget_of(self._settings.market_data)
        if self._settings.redis_url is None:
            return StoreLedger(store, budget)
        from position_server.market_data.redis_ledger import open_redis_ledger  # not at the top: few need Redis

        ledger = open_redis_ledger(self._settings.redis_url, budget)
        self._up.callback(ledger.close)
        return ledger


def budget_of(settings: MarketDataSettings) -> str:
    """The name of the call budget: processes share one if they use the same account of the same provider."""
    account = f"{settings.base_url} {_key(settings)}".encode()
    return f"{provider_of(settings)}-{hashlib.sha256(account).hexdigest()[:12]}"


def _key(settings: MarketDataSettings) -> str:
    return settings.api_key.get_secret_value() if settings.api_key else ""
