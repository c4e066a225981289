"""The questions that `GET /health` asks: database, compute, Redis, provider, tool servers, storage. Each blocks.

None costs anything that is scarce: the provider is not called, and a worker is asked only if it has nothing to do.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from position_server.compute import tasks
from position_server.compute.pool import ComputePool, Kind, Task
from position_server.environment.catalogue import Catalogue
from position_server.errors import Busy, PositionServerError, Starting
from position_server.health.report import Check, Checks
from position_server.market_data.service import MarketData
from position_server.settings import Settings
from position_server.settings.addresses import SQLITE, secrets_in, shown

CONNECT_SECONDS = 1.5
PING_SECONDS = 10.0  # a worker that does not answer within it is ended and replaced
BUSY_LOOK_SECONDS = 0.1
PORTS = {"http": 80, "https": 443}
Look = Callable[[], Mapping[str, Any] | None]


def checks_of(settings: Settings, pool: ComputePool, catalogue: Future[Catalogue], market_data: MarketData) -> Checks:
    """The checks of a server: what it does not use is not among them."""
    services = [Check("compute", compute(pool, catalogue), required=True)]
    if settings.redis_url is not None:
        services.append(Check("redis", redis(settings.redis_url), url=shown(settings.redis_url)))
    if market_data.fetches:
        base_url = settings.market_data.base_url
        services.append(Check("provider", provider(base_url, market_data), url=shown(base_url)))
    servers = settings.simulation.tool_servers
    services += [Check(f"tool_{name}", tool_server(url), url=shown(url)) for name, url in servers.items()]
    path = shown(settings.store_url).removeprefix(SQLITE)
    urls = (settings.store_url, settings.redis_url or "", settings.market_data.base_url, *servers.values())
    return Checks(
        services=services,
        database=Check("database", database(settings.store_url), required=True, url=path),
        storage=Check("storage", storage(settings.data_dir), url=str(settings.data_dir.resolve())),
        secrets=[secret for url in urls for secret in secrets_in(url)],
    )


def database(store_url: str) -> Look:
    """Whether the store answers on a new connection: an open one to a SQLite file that is gone would go on reading."""

    def look() -> None:
        from sqlalchemy import text  # not at the top: SQLAlchemy costs start time

        from position_server.store.engine import open_store

        with open_store(store_url, read_only=True) as store:
            reads_the_file = "SELECT count(*) FROM sqlite_master"
            with store.read() as connection:
                connection.execute(text(reads_the_file if store.location.backend == "sqlite" else "SELECT 1"))

    return look


def redis(url: str) -> Look:
    """Whether Redis answers a PING."""

    def look() -> None:
        from position_server.events.redis_connection import connect  # not at the top: few need Redis

        with connect(url) as client:
            client.ping()

    return look


def provider(base_url: str, market_data: MarketData) -> Look:
    """Whether the provider can be reached and the newest priority batch got something of it. Costs no call."""
    parts = urlsplit(base_url)

    def look() -> None:
        if parts.hostname is not None:  # the demo's has none: it is a child of this process
            address = parts.hostname, parts.port or PORTS[parts.scheme]
            socket.create_connection(address, CONNECT_SECONDS).close()
        trouble = market_data.trouble()
        if trouble is not None:
            raise PositionServerError(trouble)

    return look


def tool_server(url: str) -> Look:
    """Whether the server of an agent's tools answers HTTP. Calls no tool: any answer but a 5xx will do."""
    parts = urlsplit(url)

    def look() -> None:
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=CONNECT_SECONDS)
        try:
            connection.request("HEAD", parts.path or "/")
            status = connection.getresponse().status
        except HTTPException as error:
            raise PositionServerError(f"it does not speak HTTP: {type(error).__name__}") from error
        finally:
            connection.close()
        if status >= 500:
            raise PositionServerError(f"it answers {status}")

    return look


def compute(pool: ComputePool, catalogue: Future[Catalogue]) -> Look:
    """Whether a worker answers; workers that all compute are well."""

    def look() -> None:
        if not catalogue.done():
            raise Starting
        catalogue.result()
        if _all_compute(pool):
            return
        try:
            (answer,) = pool.submit(Kind.MISS, [Task(tasks.PING, (), PING_SECONDS)])
        except Busy:  # it waits behind too much work, not for a dead worker
            return
        while not answer.done():
            try:
                answer.result(BUSY_LOOK_SECONDS)
            except TimeoutError:
                # All compute, and our question still waits: had a worker begun with it, that one would have to answer.
                if not answer.done() and _all_compute(pool) and pool.stats()["queue"]["miss"]:
                    return
        answer.result()

    return look


def _all_compute(pool: ComputePool) -> bool:
    return bool(pool.stats()["busy"] >= pool.workers)


def storage(data_dir: Path) -> Look:
    """Whether a file can be written in the data folder, and how much space is left."""

    def look() -> dict[str, Any]:
        free = round(shutil.disk_usage(data_dir).free / 1e6)
        try:
            with tempfile.TemporaryFile(dir=data_dir, buffering=0) as file:
                file.write(b"x")
        except OSError as error:
            return {"writable": False, "free_space_mb": free, "error": error.strerror or str(error)}
        return {"writable": True, "free_space_mb": free}

    return look
