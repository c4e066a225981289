"""The small routes: how the server is doing, what may be asked, and whether it lives. No route here computes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from position_server import __version__
from position_server.environment.readiness import Readiness
from position_server.environment.scheduler import WarmUps
from position_server.environment.service import EnvironmentService
from position_server.health import Health
from position_server.params import ParamReader, ReadOptions
from position_server.web import operations
from position_server.web.base import JsonHandler, WebContext


class StatusHandler(JsonHandler):
    """Everything an operator needs: warm-ups, cache, sections, compute."""

    docs: ClassVar[dict[str, Any]] = {"get": operations.STATUS}

    def initialize(  # type: ignore[override]
        self, context: WebContext, route: str, environment: EnvironmentService, warm_ups: WarmUps, started: float
    ) -> None:
        super().initialize(context, route)
        self.environment = environment
        self.warm_ups = warm_ups
        self.server_started = started

    async def get(self) -> None:
        self.write_json(
            {
                "server_status": self.warm_ups.server_status,
                "warmup_threads": self.warm_ups.stats(),
                **self.environment.stats(),
                "version": __version__,
                "uptime_seconds": round(self.context.clock.monotonic() - self.server_started, 3),
            }
        )


class ParamsHandler(JsonHandler):
    """What a request may say, from the one declaration of each field."""

    docs: ClassVar[dict[str, Any]] = {"get": operations.PARAMS}

    def initialize(  # type: ignore[override]
        self, context: WebContext, route: str, environment: EnvironmentService, reader: ParamReader
    ) -> None:
        super().initialize(context, route)
        self.environment = environment
        self.reader = reader

    async def get(self) -> None:
        catalogue = await self.environment.known_catalogue()
        self.write_json(
            {
                "params": self.reader.get_param_descriptions(),
                "read_options": self.reader.get_param_descriptions(ReadOptions),
                "section_params": {name: info.params for name, info in catalogue.sections.items()},
            }
        )


class OpenApiHandler(JsonHandler):
    """The OpenAPI 3.1 document of this server."""

    docs: ClassVar[dict[str, Any]] = {"get": operations.OPENAPI}

    def initialize(  # type: ignore[override]
        self, context: WebContext, route: str, environment: EnvironmentService, build: Callable[..., dict[str, Any]]
    ) -> None:
        super().initialize(context, route)
        self.environment = environment
        self.build = build

    async def get(self) -> None:
        catalogue = await self.environment.known_catalogue()
        self.write_json(self.build(catalogue, keys_needed=self.guard.on))


class MetricsHandler(JsonHandler):
    """Prometheus' text format."""

    docs: ClassVar[dict[str, Any]] = {"get": operations.METRICS}

    def initialize(self, context: WebContext, route: str, environment: EnvironmentService) -> None:  # type: ignore[override]
        super().initialize(context, route)
        self.environment = environment

    async def get(self) -> None:
        self.environment.observe()
        metrics = self.context.metrics
        text = await asyncio.get_running_loop().run_in_executor(self.context.threads, metrics.render)
        self.set_header("Content-Type", metrics.content_type)
        self.finish(text)


class LiveHandler(JsonHandler):
    """Alive: the event loop answers. Checks nothing."""

    for_everybody = True
    docs: ClassVar[dict[str, Any]] = {"get": operations.HEALTH_LIVE}

    async def get(self) -> None:
        self.write_json({"status": "alive"})


class HealthHandler(JsonHandler):
    """Whether what the server works with is there."""

    for_everybody = True
    docs: ClassVar[dict[str, Any]] = {"get": operations.HEALTH}

    def initialize(self, context: WebContext, route: str, health: Health) -> None:  # type: ignore[override]
        super().initialize(context, route)
        self.health = health

    async def get(self) -> None:
        healthy, answer = await self.health.report()
        self.write_json(answer, 200 if healthy else 503)


class ReadyHandler(JsonHandler):
    """Whether a load balancer should send traffic here."""

    for_everybody = True
    docs: ClassVar[dict[str, Any]] = {"get": operations.HEALTH_READY}

    def initialize(self, context: WebContext, route: str, readiness: Readiness) -> None:  # type: ignore[override]
        super().initialize(context, route)
        self.readiness = readiness

    async def get(self) -> None:
        ready, answer = self.readiness.check()
        self.write_json(answer, 200 if ready else 503)
