"""What every ledger keeps to, on each that there is; and what each does when its server fails."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import update

from position_server.clock import SystemClock
from position_server.errors import StoreUnavailable
from position_server.market_data import ledger as store_ledger
from position_server.market_data.call_book import Book, Booking, Moment, Pause
from position_server.market_data.ledger import StoreLedger
from position_server.market_data.rate_limiter import Ledger, RateLimiter
from position_server.market_data.redis_ledger import KEY_PREFIX, RedisLedger, open_redis_ledger
from position_server.store.engine import open_store
from position_server.store.tables import call_budgets
from tests.fakes import VirtualClock
from tests.market_data.ledgers import MemoryLedger, redis_budget
from tests.ports import reserved_port
from tests.postgres import fresh_schema
from tests.servers import until

NOW = Moment(1761840000.25, 1000.125, "machine")
FULL = Book(
    calls=(Booking("a:1", 0, NOW), Booking("b:1", 1, NOW.later(0.1))),
    line=(Booking("a:2", 2, NOW.later(0.3)),),
    pause=Pause(NOW, 2.5),
    next_number=3,
    total_calls=7,
    total_waits=4,
)

DOCUMENTS = (
    "",
    "[]",
    "{}",
    "no JSON",
    '{"pause": null, "calls": 1}',
    '{"pause": null, "calls": [{"key": "a", "number": 1}]}',
    '{"pause": null, "calls": [{"key": "a", "number": 1, "at": {"wall": "x", "monotonic": 1.0, "machine": "m"}}]}',
)

Open = Callable[[str], Ledger]  # each call is a ledger of its own, as of another process


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    """A migrated store of PostgreSQL."""
    with fresh_schema() as url:
        with open_store(url) as store:
            store.upgrade()
        yield url


@pytest.fixture(params=["memory", "sqlite", "postgresql", "redis"])
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens ledgers of one place, by the name of a budget."""
    with ExitStack() as until_the_end:
        if request.param == "memory":
            ledgers: dict[str, Ledger] = {}
            yield lambda budget: ledgers.setdefault(budget, MemoryLedger())
        elif request.param == "redis":
            client, own = until_the_end.enter_context(redis_budget())
            yield lambda budget: RedisLedger(client, own if budget == "polygon" else f"{own}-{budget}")
            client.delete(f"{KEY_PREFIX}{own}-other")
        else:
            url = f"sqlite:///{tmp_path / 'store.sqlite'}"
            if request.param == "postgresql":
                url = request.getfixturevalue("postgres_url")
            store = until_the_end.enter_context(open_store(url))
            store.upgrade()
            with store.write() as connection:
                connection.execute(call_budgets.delete())
            yield lambda budget: StoreLedger(until_the_end.enter_context(open_store(url)), budget)


@pytest.fixture
def ledger(open_ledger: Open) -> Ledger:
    return open_ledger("polygon")


def put(book: Book) -> Callable[[Book], tuple[Book, None]]:
    return lambda _: (book, None)


# --- the contract ----------------------------------------------------------------------------------------------------


def test_a_new_budget_has_an_empty_book(ledger: Ledger) -> None:
    assert ledger.look() == Book()
    assert ledger.change(lambda book: (book, book)) == Book()


def test_everything_in_a_book_is_kept_to_the_last_digit(ledger: Ledger) -> None:
    ledger.change(put(FULL))
    assert ledger.look() == FULL
    ledger.change(put(Book()))
    assert ledger.look() == Book()


def test_a_change_starts_from_the_last_one_and_returns_what_its_step_returns(open_ledger: Open) -> None:
    one, other = open_ledger("polygon"), open_ledger("polygon")
    one.change(put(FULL))
    assert other.change(lambda book: (replace(book, total_calls=8), book.total_calls)) == 7
    assert one.look() == replace(FULL, total_calls=8)


def test_budgets_are_apart(open_ledger: Open) -> None:
    open_ledger("polygon").change(put(FULL))
    assert open_ledger("other").look() == Book()


def test_a_step_that_raises_changes_nothing(ledger: Ledger) -> None:
    def step(book: Book) -> tuple[Book, None]:
        raise RuntimeError("no")

    ledger.change(put(FULL))
    with pytest.raises(RuntimeError, match="no"):
        ledger.change(step)
    assert ledger.look() == FULL


def test_no_change_is_lost_when_many_are_made_at_once(open_ledger: Open) -> None:
    barrier = threading.Barrier(6)

    def work(ledger: Ledger) -> None:
        barrier.wait(60)
        for _ in range(20):
            ledger.change(lambda book: (replace(book, total_calls=book.total_calls + 1), None))

    threads = [threading.Thread(target=work, args=(open_ledger("polygon"),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert open_ledger("polygon").look().total_calls == 120


def test_limiters_of_two_ledgers_share_the_limit_and_the_order(open_ledger: Open) -> None:
    clock, stop = VirtualClock(), threading.Event()
    one, other = (
        RateLimiter(open_ledger("polygon"), calls=2, window_seconds=60.0, clock=clock, guard_seconds=1.0)
        for _ in range(2)
    )
    assert one.acquire(stop) == other.acquire(stop) == 0.0
    assert other.get_remaining() == one.get_remaining() == 0
    assert one.acquire(stop) == pytest.approx(61.0)
    assert other.get_stats()["total_calls"] == 3


# --- ledgers that fail -----------------------------------------------------------------------------------------------


def test_a_store_without_its_tables_is_unavailable(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "store.sqlite").close()
    with open_store(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        ledger = StoreLedger(store, "polygon")
        with pytest.raises(StoreUnavailable, match="call_budgets"):
            ledger.look()
        with pytest.raises(StoreUnavailable, match="call_budgets"):
            ledger.change(put(FULL))


def test_a_store_that_somebody_else_has_locked_is_unavailable_and_unchanged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    with open_store(url, busy_timeout_seconds=0.05) as store, open_store(url) as other:
        store.upgrade()
        ledger = StoreLedger(store, "polygon")
        with other.write(), pytest.raises(StoreUnavailable, match="locked"):
            ledger.change(put(FULL))
        assert ledger.look() == Book()


def test_a_process_that_hangs_with_the_row_locked_blocks_nobody_for_long(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_ledger, "LOCK_TIMEOUT_SECONDS", 0.1)
    with open_store(postgres_url) as store, open_store(postgres_url) as other:
        ledger = StoreLedger(store, "locked")
        ledger.change(put(FULL))
        with other.write() as connection:
            connection.execute(update(call_budgets).values(book="{}"))
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                ledger.change(put(Book()))
            connection.rollback()
        assert ledger.look() == FULL


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_that_is_no_book_is_named_and_left_alone(tmp_path: Path, document: str) -> None:
    with open_store(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        store.upgrade()
        with store.write() as connection:
            connection.execute(call_budgets.insert().values(budget="polygon", book=document))
        ledger = StoreLedger(store, "polygon")
        with pytest.raises(
            StoreUnavailable,
            match="the ledger of calls 'polygon' cannot be read, and must be removed: no book of calls",
        ):
            ledger.look()
        with pytest.raises(StoreUnavailable, match="cannot be read"):
            ledger.change(put(Book()))


def test_a_key_of_redis_that_is_no_book_is_named_and_left_alone() -> None:
    with redis_budget() as (client, budget):
        client.set(KEY_PREFIX + budget, b"\xff")
        with pytest.raises(StoreUnavailable, match=f"{KEY_PREFIX}{budget} in Redis cannot be read"):
            RedisLedger(client, budget).change(put(Book()))
        assert client.get(KEY_PREFIX + budget) == b"\xff"


def test_a_client_of_redis_that_decodes_serves_as_well() -> None:
    with redis_budget() as (client, budget):
        decoding = redis.Redis(connection_pool=client.connection_pool, decode_responses=True)
        RedisLedger(client, budget).change(put(FULL))
        assert RedisLedger(decoding, budget).change(lambda book: (book, book)) == FULL


# --- a Redis of its own, killed --------------------------------------------------------------------------------------


@contextmanager
def redis_server(port: int, folder: Path) -> Iterator[None]:
    """A Redis that keeps nothing; killed at the end if it still runs."""
    program = shutil.which("redis-server")
    if program is None:
        assert os.environ.get("REQUIRE_SERVICES") != "1", "redis-server is not installed"
        pytest.skip("redis-server is not installed")
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
    command = [program, *(str(word) for name, value in options.items() for word in (f"--{name}", value))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))
    try:
        until(lambda: answers(client))
        yield
    finally:
        client.close()
        process.send_signal(signal.SIGKILL)
        process.wait(60)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_a_redis_that_is_killed_gives_no_permit_and_its_calls_count_when_it_is_back_empty(tmp_path: Path) -> None:
    stop = threading.Event()
    with (
        reserved_port() as port,
        closing(open_redis_ledger(f"redis://127.0.0.1:{port}", "polygon")) as ledger,
    ):
        limiter, newcomer = (RateLimiter(ledger, calls=3, window_seconds=3600, clock=SystemClock()) for _ in range(2))
        with redis_server(port, tmp_path):
            limiter.acquire(stop)
            limiter.acquire(stop)
        with pytest.raises(StoreUnavailable, match="in Redis is unavailable"):
            limiter.acquire(stop)
        with pytest.raises(StoreUnavailable):
            limiter.get_stats()
        with pytest.raises(StoreUnavailable):
            limiter.pause(7200)
        with redis_server(port, tmp_path):
            assert limiter.get_stats()["current_calls"] == 2
            assert limiter.get_stats()["paused_until"] is not None
            assert limiter.get_remaining() == 0
            limiter.pause(0)
            assert newcomer.get_stats()["current_calls"] == 2
