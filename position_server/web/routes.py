"""The route table: every path, its handler, and the services the handler uses. The only function that sees them all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from tornado.web import Application

from position_server.environment.readiness import Readiness
from position_server.environment.scheduler import WarmUps
from position_server.environment.service import EnvironmentService
from position_server.health import Health
from position_server.market_data.service import MarketData
from position_server.params import ParamReader
from position_server.portfolio.service import Portfolio
from position_server.simulation.service import Simulation
from position_server.web.base import JsonHandler, NotFoundHandler, WebContext
from position_server.web.environment import EnvironmentHandler
from position_server.web.hits import FastPath, HitTable
from position_server.web.idle import IdleConnections
from position_server.web.market_data import (
    BatchAssetsHandler,
    BatchPlanHandler,
    BatchQueueHandler,
    BatchRateLimitHandler,
    BatchResultsHandler,
    BatchRunHandler,
    BatchStatusHandler,
)
from position_server.web.openapi import build_document
from position_server.web.portfolio import (
    ExposuresHandler,
    OnboardHandler,
    OnboardingHandler,
    RunsHandler,
    SnapshotsHandler,
    TieOutHandler,
    ValuationHandler,
)
from position_server.web.reads import Reads
from position_server.web.simulation import (
    CancelHandler,
    CurrentHandler,
    ResultsHandler,
    StreamHandler,
    TriggerHandler,
)
from position_server.web.simulation import StatusHandler as SimulationStatusHandler
from position_server.web.status import (
    HealthHandler,
    LiveHandler,
    MetricsHandler,
    OpenApiHandler,
    ParamsHandler,
    ReadyHandler,
    StatusHandler,
)
from position_server.web.streams import Streams

ENVIRONMENT = "/position-environment"
SEGMENT = re.compile(r"\{\w+\}")  # of a path: whatever stands there is handed to the handler's method


@dataclass(frozen=True, slots=True)
class Services:
    """What routes are made of."""

    context: WebContext
    environment: EnvironmentService
    warm_ups: WarmUps
    readiness: Readiness
    health: Health
    reader: ParamReader
    hits: HitTable
    idle: IdleConnections
    started: float
    market_data: MarketData
    portfolio: Portfolio
    simulation: Simulation
    streams: Streams


def route_table(services: Services) -> list[tuple[str, type[JsonHandler], dict[str, Any]]]:
    """(path, handler, what its `initialize` takes beside context and route)."""
    environment = {"environment": services.environment}
    warm_ups = {"warm_ups": services.warm_ups}
    reader = {"reader": services.reader}
    market_data = {"market_data": services.market_data, "reads": Reads(services.context.threads)}
    portfolio = {"portfolio": services.portfolio, "reads": Reads(services.context.threads)}
    simulation = {"simulation": services.simulation, "reads": Reads(services.context.threads)}
    table: list[tuple[str, type[JsonHandler], dict[str, Any]]] = [
        (ENVIRONMENT, EnvironmentHandler, {**environment, **warm_ups, **reader, "hits": services.hits}),
        ("/status", StatusHandler, {**environment, **warm_ups, "started": services.started}),
        ("/batch/status", BatchStatusHandler, market_data),
        ("/batch/run", BatchRunHandler, market_data),
        ("/batch/queue/stats", BatchQueueHandler, market_data),
        ("/batch/rate-limit", BatchRateLimitHandler, market_data),
        ("/batch/results", BatchResultsHandler, market_data),
        ("/batch/assets", BatchAssetsHandler, market_data),
        ("/batch/plan", BatchPlanHandler, market_data),
        ("/portfolios/runs", RunsHandler, portfolio),
        ("/portfolios/{book}/snapshots", SnapshotsHandler, portfolio),
        ("/portfolios/{book}/exposures", ExposuresHandler, portfolio),
        ("/portfolios/{book}/tie-out", TieOutHandler, {**portfolio, **environment}),
        ("/positions/{book}/{instrument}/valuation", ValuationHandler, portfolio),
        ("/onboarding/symbols", OnboardHandler, portfolio),
        ("/onboarding/{symbol}", OnboardingHandler, portfolio),
        ("/simulate/trigger", TriggerHandler, simulation),
        ("/simulate/status/{job_id}", SimulationStatusHandler, simulation),
        ("/simulate/current", CurrentHandler, simulation),
        ("/simulate/stream/{job_id}", StreamHandler, {**simulation, "streams": services.streams}),
        ("/simulate/cancel/{job_id}", CancelHandler, simulation),
        ("/results", ResultsHandler, simulation),
        ("/params", ParamsHandler, {**environment, **reader}),
        ("/metrics", MetricsHandler, environment),
        ("/health", HealthHandler, {"health": services.health}),
        ("/health/live", LiveHandler, {}),
        ("/health/ready", ReadyHandler, {"readiness": services.readiness}),
    ]
    documented = [(path, handler) for path, handler, _ in table] + [("/openapi.json", OpenApiHandler)]
    build = partial(build_document, documented, services.reader)
    return [*table, ("/openapi.json", OpenApiHandler, {**environment, "build": build})]


def application(services: Services) -> Application:
    """The Tornado application of these services."""
    context = {"context": services.context}
    return Application(
        [
            (SEGMENT.sub("([^/]+)", path), handler, {**context, "route": path, **extra})
            for path, handler, extra in route_table(services)
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args={**context, "route": "unknown"},
        log_function=lambda _: None,  # on_finish writes the access log, with its fields
        cross_origin_protection=True,
    )


def with_fast_path(services: Services) -> FastPath:
    """The same application with hits answered in front of it."""
    return FastPath(
        application(services),
        table=services.hits,
        context=services.context,
        warm_ups=services.warm_ups,
        count_hit=services.environment.count_hit,
        idle=services.idle,
        route=ENVIRONMENT,
    )
