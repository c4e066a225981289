"""`/batch/*`: what the market-data updater does, what it has, and a run of it at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from position_server.access import Role
from position_server.errors import BadRequest, Problem
from position_server.market_data.priority_queue import Level
from position_server.market_data.service import MarketData
from position_server.params import query_arguments, unknown_arguments
from position_server.web import batch_operations
from position_server.web.arguments import Arguments
from position_server.web.base import JsonHandler, WebContext
from position_server.web.reads import Reads

SHOWN_RESULTS, MOST_RESULTS = 20, 1000
MOST_ADDITIONS = 1000
SYMBOL = re.compile(r"[^\s:,]{1,64}")  # as in MARKET_DATA["assets"]


class MarketDataHandler(JsonHandler):
    """A route that shows one thing of market data."""

    def initialize(  # type: ignore[override]
        self, context: WebContext, route: str, market_data: MarketData, reads: Reads
    ) -> None:
        super().initialize(context, route)
        self.market_data = market_data
        self.reads = reads

    async def show(self, read: Callable[[], object]) -> None:
        """Answers what `read` returns."""
        self.write_json(await self.reads.run(read))


class BatchStatusHandler(MarketDataHandler):
    """Whether the updater runs, its beats, and its newest batch."""

    docs: ClassVar[dict[str, Any]] = {"get": batch_operations.STATUS}

    async def get(self) -> None:
        await self.show(self.market_data.status)


class BatchRunHandler(MarketDataHandler):
    """Runs the priority batch, or waits for the one that runs."""

    docs: ClassVar[dict[str, Any]] = {"post": batch_operations.RUN}
    roles: ClassVar[Mapping[str, Role]] = {"POST": Role.ADMIN}

    async def post(self) -> None:
        self.body()  # nothing is asked for in it; one above the limit is refused
        self.audit("batch_run")
        answer = await asyncio.wrap_future(self.market_data.run_now())
        self.write_json(answer)


class BatchQueueHandler(MarketDataHandler):
    """The queue in numbers."""

    docs: ClassVar[dict[str, Any]] = {"get": batch_operations.QUEUE_STATS}

    async def get(self) -> None:
        await self.show(self.market_data.queue_stats)


class BatchRateLimitHandler(MarketDataHandler):
    """The call budget in numbers."""

    docs: ClassVar[dict[str, Any]] = {"get": batch_operations.RATE_LIMIT}

    async def get(self) -> None:
        await self.show(self.market_data.rate_limit)


class BatchResultsHandler(MarketDataHandler):
    """The newest batch results."""

    docs: ClassVar[dict[str, Any]] = {"get": batch_operations.RESULTS}

    async def get(self) -> None:
        arguments = Arguments(self.request.query, ("limit",))
        limit = arguments.limit(SHOWN_RESULTS, MOST_RESULTS)
        arguments.check()
        await self.show(partial(self.market_data.results, limit))


class BatchAssetsHandler(MarketDataHandler):
    """Every asset: its newest quote and how its updates go."""

    docs: ClassVar[dict[str, Any]] = {"get": batch_operations.ASSETS}

    async def get(self) -> None:
        await self.show(self.market_data.assets)


class BatchPlanHandler(MarketDataHandler):
    """How old quotes get under the call budget."""

    docs: ClassVar[dict[str, Any]] = {"get": batch_operations.PLAN}

    async def get(self) -> None:
        added = read_additions(self.request.query)
        await self.show(partial(self.market_data.plan, added))


def read_additions(query: str) -> dict[str, Level]:
    """`add=SYMBOL:LEVEL,...` of a query string: the levels by symbol. Raises BadRequest."""
    given, problems = query_arguments(query)
    problems += unknown_arguments(given, ("add",))
    entries = given["add"].split(",") if "add" in given else []
    added: dict[str, Level] = {}
    if len(entries) > MOST_ADDITIONS:
        problems.append(Problem("add", f"must name at most {MOST_ADDITIONS} symbols"))
        entries = []
    for entry in entries:
        symbol, _, level = entry.rpartition(":")
        if not SYMBOL.fullmatch(symbol) or not symbol.isprintable():
            problems.append(Problem("add", f"{entry[:80]!r} must be SYMBOL:LEVEL"))
        elif level not in Level.__members__:
            problems.append(Problem("add", f"{entry[:80]!r}: the level must be one of {', '.join(Level.__members__)}"))
        elif symbol in added:
            problems.append(Problem("add", f"{symbol} is there twice"))
        else:
            added[symbol] = Level[level]
    if problems:
        raise BadRequest(problems)
    return added
