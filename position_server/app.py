"""PositionServer: the one object that owns what runs. Built from settings, started from the ground, stopped in reverse.

The only place that creates executors and threads' owners, and the only module that sees every part. Imports neither
the demo nor numpy: what computes is a worker's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import secrets
import socket
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from tornado.netutil import bind_sockets

from position_server.access import Guard
from position_server.access.watch import KeyWatch, stored_keys
from position_server.business_days import Calendar, current_business_date
from position_server.clock import Clock, SystemClock
from position_server.compute import tasks
from position_server.compute.pool import ComputePool
from position_server.environment.catalogue import Catalogue
from position_server.environment.disk import DiskCache
from position_server.environment.readiness import Readiness
from position_server.environment.schedule import Window
from position_server.environment.scheduler import Desk, WarmUp, WarmUpConfig, WarmUps
from position_server.environment.service import EnvironmentService
from position_server.errors import ConfigError, PositionServerError, StoreUnavailable
from position_server.health import Health, checks_of
from position_server.logs import AccessLog
from position_server.market import Market
from position_server.metrics import Metrics
from position_server.params import ParamReader
from position_server.portfolio.service import Portfolio
from position_server.settings import Settings
from position_server.simulation.service import Simulation
from position_server.web.base import InFlight, WebContext
from position_server.web.hits import HitTable
from position_server.web.idle import IdleConnections
from position_server.web.reads import Reads
from position_server.web.routes import Services
from position_server.web.server import WebServer
from position_server.web.streams import Streams

if TYPE_CHECKING:
    from position_server.portfolio.prices import PriceSource

log = logging.getLogger(__name__)


class PositionServer:
    """The server: `async with PositionServer(settings) as server`, then it answers on `server.port`."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.metrics = Metrics.create()
        self.port = 0
        self._zone = ZoneInfo(settings.timezone)
        self._calendar = Calendar.named(settings.calendar)
        self._reader = ParamReader(settings.valid_time_of_day)

    async def __aenter__(self) -> Self:
        started = self.clock.monotonic()
        refuse_strangers(self.settings)
        async with AsyncExitStack() as up:  # a start that fails closes what was already open
            sockets = self._bound()
            for one in sockets:
                up.callback(one.close)
            threads = up.enter_context(ThreadPoolExecutor(self.settings.compute.threads, "orchestrator"))
            pool = self._pool()
            self.environment = EnvironmentService(
                pool=pool,
                threads=threads,
                clock=self.clock,
                settings=self.settings,
                business_date=self.business_date,
                metrics=self.metrics,
            )
            self.warm_ups = self._warm_ups(self.environment)
            up.callback(self.warm_ups.join)  # after the pool: what they wait for has ended then
            up.enter_context(pool)
            disk = up.enter_context(DiskCache(self.environment.cache, self.settings, self.clock))
            self.environment.start(disk.restored)
            self.environment.catalogue.add_done_callback(self._name_idle_timeouts)
            self.market = Market(self.settings, self.clock, self.environment, self.business_date, self.metrics)
            up.callback(self.market.join)
            self.portfolio = Portfolio(self.settings, self.clock, self._open_prices)
            up.callback(self.portfolio.join)
            self.simulation = Simulation(self.settings, self.clock, pool)
            up.callback(self.simulation.join)
            self.warm_ups.start()
            up.callback(self.warm_ups.stop)
            services = self._services(up, pool, threads, started)
            web = WebServer(services, self.settings.server)
            web.start(sockets)
            up.push_async_callback(web.stop)
            self.port = sockets[0].getsockname()[1]
            self._down = up.pop_all()
        log.info("listening", extra={"host": self.settings.server.host, "port": self.port})
        self._down.enter_context(
            KeyWatch(self.settings.store_url, services.context.guard, self.clock)
        )  # its imports take a while
        self.market.start()  # and so do these
        self._down.callback(self.market.stop)
        self.portfolio.start()
        self._down.callback(self.portfolio.stop)
        self.simulation.start()
        self._down.callback(self.simulation.stop)
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._down.aclose()
        log.info("stopped")

    async def broken(self) -> PositionServerError:
        """Waits until the server finds that it cannot do its work, and says why: a section that cannot be used."""
        catalogue = asyncio.wrap_future(self.environment.catalogue)
        try:
            await asyncio.shield(catalogue)
        except PositionServerError as error:
            return error
        await asyncio.Event().wait()
        raise AssertionError("an event that nobody sets")

    def business_date(self) -> date:
        """The desk's today."""
        return current_business_date(self.clock.now(), self._zone, self._calendar, self.settings.business_date)

    def _name_idle_timeouts(self, learnt: Future[Catalogue]) -> None:
        """A misspelt section in TIMEOUTS harms nothing, and would not be noticed."""
        if learnt.exception() is None:
            idle = sorted(self.settings.timeouts.keys() - learnt.result().sections.keys() - {"default"})
            if idle:
                log.warning("TIMEOUTS names what is no section", extra={"names": idle})

    # --- parts -------------------------------------------------------------------------------------------------

    def _pool(self) -> ComputePool:
        settings = self.settings.compute
        arguments = (self.settings.store_url, self.settings.calendar, self.settings.base_currency)
        return ComputePool(
            tasks.OPEN_WORKBENCH,
            arguments,
            workers=settings.worker_count,
            queue=settings.queue,
            niceness=settings.nice,
            memory_mb=settings.memory_mb,
        )

    def _open_prices(self) -> AbstractContextManager[PriceSource]:
        from position_server.provider_prices import provider_prices  # not at the top: SQLAlchemy, httpx

        return provider_prices(self.settings, self.clock, behind_quotes=True)

    def _warm_ups(self, environment: EnvironmentService) -> WarmUps:
        desk = Desk(self._calendar, self.settings.timezone, self._reader, self.business_date)

        def build(config: WarmUpConfig, window: Window) -> WarmUp:
            return WarmUp(
                config,
                window,
                desk,
                refresh=environment.refresh,
                pin=environment.cache.pin,
                clock=self.clock,
                metrics=self.metrics,
            )

        return WarmUps(self.settings.warmup_configs, desk, build, self.clock)

    def _bound(self) -> list[socket.socket]:
        server = self.settings.server
        try:
            return bind_sockets(server.port, server.host)
        except OSError as error:
            raise ConfigError(
                'SERVER["port"]', f"cannot listen on {server.host}:{server.port}: {error.strerror}"
            ) from error

    def _guard(self, checks: ThreadPoolExecutor) -> Guard:
        """Where others reach the server and were not allowed to, keys are needed whatever becomes of the store."""
        may_be_open = self.settings.allow_anonymous or _is_loopback(self.settings.server.host)
        return Guard(checks, self.clock, secret=secrets.token_bytes(32), always_on=not may_be_open)

    def _services(self, up: AsyncExitStack, pool: ComputePool, threads: ThreadPoolExecutor, started: float) -> Services:
        """What HTTP works with; what of it has to be closed is left to `up`."""
        server = self.settings.server
        access = up.enter_context(AccessLog(sys.stderr if self.settings.logs.access else None))
        checks = checks_of(self.settings, pool, self.environment.catalogue, self.market.data)
        looking = up.enter_context(ThreadPoolExecutor(len(checks.all), "health"))  # one that hangs keeps its own
        context = WebContext(
            clock=self.clock,
            metrics=self.metrics,
            threads=threads,
            in_flight=InFlight(),
            access=access,
            random_bits=random.getrandbits,
            max_body_bytes=int(server.max_body_mb * 1e6),
            expose_tracebacks=self.settings.expose_tracebacks,
            guard=self._guard(up.enter_context(ThreadPoolExecutor(1, "key-check"))),
        )
        return Services(
            context=context,
            environment=self.environment,
            warm_ups=self.warm_ups,
            readiness=Readiness(self.warm_ups, self.environment.cache, self.clock, server.ready_after_seconds),
            health=Health(checks, threads=looking, clock=self.clock),
            reader=self._reader,
            hits=HitTable(self.environment.cache),
            idle=IdleConnections(server.idle_connection_seconds, self.clock),
            started=started,
            market_data=self.market.data,
            portfolio=self.portfolio,
            simulation=self.simulation,
            streams=Streams(self.simulation, Reads(threads)),
        )


def refuse_strangers(settings: Settings) -> None:
    """Raises ConfigError for a server that others could reach without a key, and that nobody allowed to be open."""
    host = settings.server.host
    if settings.allow_anonymous or _is_loopback(host):
        return
    try:
        has_keys = bool(stored_keys(settings.store_url))
    except StoreUnavailable as error:
        raise ConfigError('SERVER["host"]', f"{host!r} is reachable by others, and {error.message}") from error
    if not has_keys:
        cures = "make an API key (keys create), or set ALLOW_ANONYMOUS = True to serve anybody"
        raise ConfigError('SERVER["host"]', f"{host!r} is reachable by others: {cures}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
