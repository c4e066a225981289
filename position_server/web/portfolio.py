"""`/portfolios/*`, `/positions/.../valuation` and `/onboarding/*`: what the nights left, and what is entered by hand.

Everything here reads or writes the store, which blocks: on threads, a few at once. A tie-out asks the environment
service for the EOD environment as well, computed anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Any, ClassVar

import orjson

from position_server.access import Role
from position_server.environment.cache import Entry
from position_server.environment.service import EnvironmentService
from position_server.errors import BadRequest, NotFound, NotFresh, Problem
from position_server.params import BaseParams, ReadOptions
from position_server.portfolio.service import MOST_RUNS, MOST_SYMBOLS, Portfolio
from position_server.web import portfolio_operations
from position_server.web.arguments import Arguments, Body
from position_server.web.base import JsonHandler, WebContext
from position_server.web.reads import Reads

SHOWN_RUNS = 20
BATCH_TYPES = ("symbol_batch", "portfolio_refresh")
WITHOUT_POSITIONS = ("exposures", "ir_delta", "new_trades")  # sections whose rows are no positions


class PortfolioHandler(JsonHandler):
    """A route of the portfolio room."""

    def initialize(  # type: ignore[override]
        self, context: WebContext, route: str, portfolio: Portfolio, reads: Reads
    ) -> None:
        super().initialize(context, route)
        self.portfolio = portfolio
        self.reads = reads

    def named(self, name: str) -> str:
        """A name out of the path. Raises NotFound for one that nothing can have."""
        if not name.isprintable():
            raise NotFound(f"Nothing is called {name!r}.")
        return name

    async def show(self, read: Callable[[], object]) -> None:
        """Answers what `read` returns."""
        self.write_json(await self.reads.run(read))


class RunsHandler(PortfolioHandler):
    """The runs of the nightly batches."""

    docs: ClassVar[dict[str, Any]] = {"get": portfolio_operations.RUNS}

    async def get(self) -> None:
        arguments = Arguments(self.request.query, ("batch_type", "date", "limit"))
        asked = (
            arguments.one_of("batch_type", BATCH_TYPES),
            arguments.day("date"),
            arguments.limit(SHOWN_RUNS, MOST_RUNS),
        )
        arguments.check()
        runs = await self.reads.run(partial(self.portfolio.runs, *asked))
        self.write_json({"runs": runs})


class SnapshotsHandler(PortfolioHandler):
    """A book's snapshots."""

    docs: ClassVar[dict[str, Any]] = {"get": portfolio_operations.SNAPSHOTS}

    async def get(self, book: str) -> None:
        arguments = Arguments(self.request.query, ("from", "to"))
        first, last = arguments.day("from"), arguments.day("to")
        arguments.check()
        if first and last and last < first:
            raise BadRequest([Problem("to", f"must not be before from ({first})")])
        await self.show(partial(self.portfolio.snapshots, self.named(book), first, last))


class ExposuresHandler(PortfolioHandler):
    """A book's factor exposures."""

    docs: ClassVar[dict[str, Any]] = {"get": portfolio_operations.EXPOSURES}

    async def get(self, book: str) -> None:
        arguments = Arguments(self.request.query, ("date",))
        day = arguments.day("date")
        arguments.check()
        await self.show(partial(self.portfolio.exposures, self.named(book), day))


class TieOutHandler(PortfolioHandler):
    """A snapshot against its day's EOD environment, and against the snapshot before."""

    docs: ClassVar[dict[str, Any]] = {"get": portfolio_operations.TIE_OUT}

    def initialize(  # type: ignore[override]
        self, context: WebContext, route: str, portfolio: Portfolio, reads: Reads, environment: EnvironmentService
    ) -> None:
        super().initialize(context, route, portfolio, reads)
        self.environment = environment

    async def get(self, book: str) -> None:
        arguments = Arguments(self.request.query, ("date",))
        asked = arguments.day("date")
        arguments.check()
        day = await self.reads.run(partial(self.portfolio.snapshot_date, self.named(book), asked))
        base = BaseParams(env_date=day, pos_date=day, books=(book,), time_of_day="EOD")
        computed = await self.environment.read(base, ReadOptions(max_age=0.0))
        await self.show(partial(self._tied_out, book, day, computed.entry))

    def _tied_out(self, book: str, day: date, entry: Entry) -> object:
        return self.portfolio.tie_out(book, day, rows_of(entry))


class ValuationHandler(PortfolioHandler):
    """The value of a private position, by hand."""

    docs: ClassVar[dict[str, Any]] = {"put": portfolio_operations.VALUATION}
    roles: ClassVar[Mapping[str, Role]] = {"PUT": Role.ANALYST}

    async def put(self, book: str, instrument: str) -> None:
        body = Body(self.body(), ("market_value", "valued_on", "valued_by"))
        market_value, valued_on, valued_by = body.number("market_value"), body.day("valued_on"), body.name("valued_by")
        body.check()
        who = self.who(valued_by)
        write = partial(self.portfolio.value, self.named(book), self.named(instrument), market_value, valued_on, who)
        answer = await self.reads.run(write)
        self.audit("valuation", book=book, instrument=instrument, valued_on=answer["valued_on"])
        self.write_json(answer)


class OnboardHandler(PortfolioHandler):
    """Queues new symbols."""

    docs: ClassVar[dict[str, Any]] = {"post": portfolio_operations.ONBOARD}
    roles: ClassVar[Mapping[str, Role]] = {"POST": Role.ADMIN}

    async def post(self) -> None:
        body = Body(self.body(), ("symbols",))
        symbols = body.names("symbols", MOST_SYMBOLS)
        body.check()
        self.audit("onboarding", symbols=symbols)
        self.write_json(await self.reads.run(partial(self.portfolio.onboard, symbols, self.who())), 202)


class OnboardingHandler(PortfolioHandler):
    """How the onboarding of one symbol goes."""

    docs: ClassVar[dict[str, Any]] = {"get": portfolio_operations.ONBOARDING}

    async def get(self, symbol: str) -> None:
        await self.show(partial(self.portfolio.job, self.named(symbol)))


def rows_of(entry: Entry) -> dict[str, dict[str, Any]]:
    """The positions of an environment of one book, by instrument. Raises NotFresh where a section has no data."""
    found: dict[str, dict[str, Any]] = {}
    for name, state in entry.states.items():
        if name in WITHOUT_POSITIONS:
            continue
        if state.outcome.data is None:
            raise NotFresh(f"{name}: {state.outcome.error_line}")
        found |= {row["instrument"]: row for row in orjson.loads(state.outcome.data)["positions"]}
    return found
