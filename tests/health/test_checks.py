"""What `GET /health` asks, against the real things: files, PostgreSQL, Redis, worker processes, sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from position_server.compute.pool import ComputePool, Kind, Task
from position_server.environment.catalogue import Catalogue
from position_server.errors import BrokenSection, PositionServerError, Starting, StoreUnavailable, WorkerDied
from position_server.health import checks, checks_of
from position_server.market_data.service import MarketData
from position_server.settings import Settings
from position_server.store.engine import open_store
from tests.fakes import VirtualClock
from tests.ports import reserved_port
from tests.postgres import fresh_schema
from tests.redis_server import own_redis
from tests.servers import until

WORKBENCH = "tests.compute.remote:open_workbench"


def known() -> Future[Catalogue]:
    catalogue: Future[Catalogue] = Future()
    catalogue.set_result(Catalogue.of([]))
    return catalogue


# --- the database ----------------------------------------------------------------------------------------------------


def test_a_sqlite_store_that_is_there_is_connected(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with open_store(url) as store:
        store.upgrade()
    assert checks.database(url)() is None


def test_a_sqlite_store_that_is_missing_or_no_database_is_down(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    look = checks.database(f"sqlite:///{file}")
    with pytest.raises(StoreUnavailable):
        look()
    assert not file.exists(), "looking must not make it"
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailable):
        look()


def test_postgres_is_connected() -> None:
    with fresh_schema() as url:
        assert checks.database(url)() is None


def test_a_postgres_that_is_not_there_is_down() -> None:
    with reserved_port() as port, pytest.raises(StoreUnavailable) as down:
        checks.database(f"postgresql://desk:geheim@127.0.0.1:{port}/desk")()
    assert "geheim" not in str(down.value)


# --- compute ---------------------------------------------------------------------------------------------------------


def test_workers_that_answer_or_all_compute_are_up() -> None:
    with ComputePool(WORKBENCH, (), workers=2, queue=4) as pool:
        look = checks.compute(pool, known())
        assert look() is None
        tasks = [Task("tests.compute.remote:sleep", (5,), 60.0)] * 2
        pool.submit(Kind.MISS, tasks)
        until(lambda: pool.stats()["busy"] == 2)
        look()
        assert pool.stats()["busy"] == 2, "it did not wait for them"


def test_a_killed_worker_is_replaced_by_being_asked() -> None:
    with ComputePool(WORKBENCH, (), workers=1, queue=4) as pool:
        (death,) = pool.submit(Kind.MISS, [Task("tests.compute.remote:exit_now", (3,), 60.0)])
        with pytest.raises(WorkerDied):
            death.result(30)
        assert checks.compute(pool, known())() is None


def test_workers_that_cannot_start_are_down() -> None:
    with (
        ComputePool("tests.compute.remote:exit_now", ("", 3), workers=1, queue=4) as pool,
        pytest.raises(WorkerDied, match="exit code 3"),
    ):
        checks.compute(pool, known())()


def test_a_server_that_does_not_know_its_sections_computes_nothing() -> None:
    pool = cast("ComputePool", None)
    with pytest.raises(Starting):
        checks.compute(pool, Future())()
    broken: Future[Catalogue] = Future()
    broken.set_exception(BrokenSection("sections/bonds.py: no SECTION"))
    with pytest.raises(BrokenSection):
        checks.compute(pool, broken)()


# --- what is not required --------------------------------------------------------------------------------------------


def test_redis_is_up_while_it_answers(tmp_path: Path) -> None:
    with own_redis(tmp_path) as server:
        look = checks.redis(server.url)
        assert look() is None
        server.kill()
        with pytest.raises(redis.ConnectionError):
            look()


class FakeMarketData:
    """MarketData's face for health."""

    fetches = True

    def __init__(self, trouble: str | None = None) -> None:
        self._trouble = trouble

    def trouble(self) -> str | None:
        return self._trouble


def provider(base_url: str, trouble: str | None = None) -> Callable[[], Any]:
    return checks.provider(base_url, cast("MarketData", FakeMarketData(trouble)))


def test_a_provider_that_accepts_connections_and_brought_something_is_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert provider(url)() is None
        with pytest.raises(PositionServerError, match="XAUUSD: not authorised"):
            provider(url, "XAUUSD: not authorised")()
    with reserved_port() as port, pytest.raises(ConnectionRefusedError):
        provider(f"http://127.0.0.1:{port}")()


def test_the_demo_provider_is_judged_by_what_it_brought() -> None:
    assert provider("demo")() is None
    with pytest.raises(PositionServerError):
        provider("demo", "the updater has ended; the log says why")()


@contextmanager
def answering(status: int) -> Iterator[str]:
    """An HTTP server that answers every HEAD with this status."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status if self.path == "/mcp" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/mcp"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [200, 401, 405])
def test_a_tool_server_that_answers_http_is_up(status: int) -> None:
    with answering(status) as url:
        assert checks.tool_server(url)() is None


def test_a_tool_server_that_fails_is_gone_or_is_none_is_down() -> None:
    with answering(502) as url, pytest.raises(PositionServerError, match="it answers 502"):
        checks.tool_server(url)()
    with reserved_port() as port, pytest.raises(ConnectionRefusedError):
        checks.tool_server(f"http://127.0.0.1:{port}/mcp")()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        checks.tool_server(f"http://127.0.0.1:{silent.getsockname()[1]}/mcp")()


def test_a_tool_server_that_speaks_no_http_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(PositionServerError, match="it does not speak HTTP"):
            checks.tool_server(f"http://127.0.0.1:{other.getsockname()[1]}/mcp")()
        thread.join()


def test_storage_tells_whether_it_can_be_written_and_what_is_left(tmp_path: Path) -> None:
    found = checks.storage(tmp_path)()
    assert found is not None
    assert found["writable"] is True
    assert found["free_space_mb"] > 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        checks.storage(tmp_path / "gone")()


def test_storage_that_cannot_be_written_says_why() -> None:
    found = checks.storage(Path("/proc"))()  # no file can be made there, by nobody
    assert found is not None
    assert found["writable"] is False
    assert found["error"]


# --- which of them ---------------------------------------------------------------------------------------------------


def test_only_what_the_server_uses_is_looked_at(load: Callable[..., Settings]) -> None:
    def of(text: str) -> Any:
        settings = load(text)
        data = MarketData(settings, VirtualClock(), fetches=settings.market_data.enabled)
        return checks_of(settings, cast("ComputePool", None), known(), data)

    plain = of("")
    assert [(check.name, check.required) for check in plain.services] == [("compute", True)]
    assert plain.database.required
    assert plain.database.url.endswith("/position_server.sqlite")
    assert not plain.storage.required
    assets = '[{"symbol": "EURUSD", "provider_ticker": "C:EURUSD", "asset_type": "forex"}]'
    full = of(
        f'MARKET_DATA = {{"base_url": "https://key@api.example.com/v1", "assets": {assets}}}\n'
        'REDIS_URL = "redis://:geheim@cache:6379/0"\n'
        'SIMULATION = {"tool_servers": {"search": "http://token@tools:8004/mcp?key=x"}}\n'
        'STORE = {"url": "postgresql://desk:g%40heim@db:5432/desk?sslmode=require"}'
    )
    assert {check.name: check.url for check in full.services} == {
        "compute": None,
        "redis": "redis://cache:6379/0",
        "provider": "https://api.example.com/v1",
        "tool_search": "http://tools:8004/mcp",
    }
    assert not any(check.required for check in full.services if check.name != "compute")
    assert full.database.url == "postgresql://db:5432/desk"
    assert set(full.secrets) == {"geheim", "g%40heim", "g@heim", "key", "token"}
