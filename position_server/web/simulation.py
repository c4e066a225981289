"""`/simulate/*` and `/results`: simulations as jobs: begun, watched, stopped, and what they came to.

The store is read and answers are encoded on threads, a few at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, cast

import orjson
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from position_server.errors import BadRequest
from position_server.params import json_object, query_arguments
from position_server.simulation.requests import ResultsQuery, TriggerRequest
from position_server.simulation.service import Simulation
from position_server.web import simulation_operations
from position_server.web.base import Failure, JsonHandler, WebContext
from position_server.web.reads import Reads
from position_server.web.streams import END_ID, Reader, Streams


class SimulationHandler(JsonHandler):
    """A route of the simulation room."""

    def initialize(  # type: ignore[override]
        self, context: WebContext, route: str, simulation: Simulation, reads: Reads
    ) -> None:
        super().initialize(context, route)
        self.simulation = simulation
        self.reads = reads

    async def show(self, read: Callable[[], object]) -> None:
        """Answers what `read` returns, encoded on a thread: results of years are large."""
        encoded = await self.reads.run(lambda: orjson.dumps(read()))
        self.finish(encoded)

    def error_body(self, failure: Failure) -> dict[str, Any]:
        job_id = self.path_args[0] if self.path_args and failure.code == "not_found" else None
        return super().error_body(failure) | ({} if job_id is None else {"job_id": job_id})


class TriggerHandler(SimulationHandler):
    """Begins a simulation, or says what is in its place."""

    docs: ClassVar[dict[str, Any]] = {"post": simulation_operations.TRIGGER}

    async def post(self) -> None:
        request = TriggerRequest.from_body(json_object(self.body().strip() or b"{}"), self.who())
        is_new, answer = await self.reads.run(partial(self.simulation.trigger, request))
        if is_new:
            self.set_header("Location", f"/simulate/status/{answer['job_id']}")
        self.write_json(answer, 202 if is_new else 200)


class StatusHandler(SimulationHandler):
    """A job with every model-day."""

    docs: ClassVar[dict[str, Any]] = {"get": simulation_operations.STATUS}

    async def get(self, job_id: str) -> None:
        await self.show(partial(self.simulation.status, job_id))


class CurrentHandler(SimulationHandler):
    """The newest job."""

    docs: ClassVar[dict[str, Any]] = {"get": simulation_operations.CURRENT}

    async def get(self) -> None:
        await self.show(self.simulation.current)


class CancelHandler(SimulationHandler):
    """Stops a job after the model-days that run."""

    docs: ClassVar[dict[str, Any]] = {"post": simulation_operations.CANCEL}

    async def post(self, job_id: str) -> None:
        await self.show(partial(self.simulation.cancel, job_id, self.who()))


class ResultsHandler(SimulationHandler):
    """What models did."""

    docs: ClassVar[dict[str, Any]] = {"get": simulation_operations.RESULTS}

    async def get(self) -> None:
        given, problems = query_arguments(self.request.query)
        if problems:
            raise BadRequest(problems)
        await self.show(partial(self.simulation.results, ResultsQuery.from_arguments(given)))


class StreamHandler(SimulationHandler):
    """A job's progress, as Server-Sent Events until it ends."""

    docs: ClassVar[dict[str, Any]] = {"get": simulation_operations.STREAM}

    def initialize(  # type: ignore[override]
        self, context: WebContext, route: str, simulation: Simulation, reads: Reads, streams: Streams
    ) -> None:
        super().initialize(context, route, simulation, reads)
        self.streams = streams
        self.reader: Reader | None = None

    async def get(self, job_id: str) -> None:
        if self.request.headers.get("Last-Event-ID") == END_ID:  # a browser would connect again and again
            self.set_status(204)
            self.clear_header("Content-Type")
            self.finish()
            return
        self.reader = await self.streams.open(job_id)
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx would collect events
        if self.request.method == "HEAD":
            self.finish()
            return
        async with self.reader as events:
            async for event in events:
                if not await self._sent(event):
                    return
        self.finish()

    async def _sent(self, event: bytes) -> bool:
        """Whether the reader took it. While it does not, nothing else is sent."""
        self.write(event)
        try:
            await asyncio.wait_for(self.flush(), self.streams.bounds.stuck)
        except StreamClosedError:
            return False
        except TimeoutError:
            cast("HTTP1Connection", self.request.connection).stream.close()
            return False
        return True

    def on_connection_close(self) -> None:
        if self.reader is not None:
            self.reader.end()
        super().on_connection_close()
