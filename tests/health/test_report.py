"""The report of `GET /health`: bounded in time, shared, and without secrets, whatever the checks do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from position_server.errors import StoreUnavailable
from position_server.health import Check, Checks, Health
from tests.fakes import VirtualClock
from tests.servers import until

Look = Callable[[], Mapping[str, Any] | None]
REPORTED = "2025-10-30T16:00:00.000+00:00"


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


class Desk:
    """A health report over looks that the test sets by name, and how often each was taken."""

    def __init__(self, threads: ThreadPoolExecutor, runner: asyncio.Runner, *, timeout_seconds: float = 10.0) -> None:
        self.runner = runner
        self.clock = VirtualClock()
        self.looks: dict[str, Look] = {}
        self.taken: dict[str, int] = {}
        names = {"compute": True, "redis": False, "database": True, "storage": False}
        checks = {name: Check(name, self._look(name), required=req, url=f"{name}://x") for name, req in names.items()}
        self.health = Health(
            Checks(
                services=[checks["compute"], checks["redis"]],
                database=checks["database"],
                storage=checks["storage"],
                secrets=["geheim"],
            ),
            threads=threads,
            clock=self.clock,
            timeout_seconds=timeout_seconds,
        )

    def fails(self, name: str, error: Exception) -> None:
        def look() -> None:
            raise error

        self.looks[name] = look

    def report(self, times: int = 1) -> tuple[bool, dict[str, Any]]:
        """What the last of so many askers is told, all of whom ask at once."""

        async def ask() -> list[tuple[bool, dict[str, Any]]]:
            asked: list[Awaitable[tuple[bool, dict[str, Any]]]] = [self.health.report() for _ in range(times)]
            return await asyncio.gather(*asked)

        return self.runner.run(ask())[-1]

    def _look(self, name: str) -> Look:
        def look() -> Mapping[str, Any] | None:
            self.taken[name] = self.taken.get(name, 0) + 1
            return self.looks.get(name, lambda: None)()

        return look


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop, as a server has."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def desk(threads: ThreadPoolExecutor, runner: asyncio.Runner) -> Desk:
    return Desk(threads, runner)


def test_everything_there_is_healthy(desk: Desk) -> None:
    desk.looks["storage"] = lambda: {"writable": True, "free_space_mb": 1234}
    assert desk.report() == (
        True,
        {
            "status": "healthy",
            "timestamp": REPORTED,
            "services": {
                "compute": {"status": "up", "url": "compute://x", "latency_ms": 0.0},
                "redis": {"status": "up", "url": "redis://x", "latency_ms": 0.0},
            },
            "storage": {"data_directory": "storage://x", "writable": True, "free_space_mb": 1234},
            "database": {"status": "connected", "path": "database://x", "latency_ms": 0.0},
        },
    )


@pytest.mark.parametrize(("name", "healthy"), [("compute", False), ("database", False), ("redis", True)])
def test_what_is_required_makes_it_unhealthy_and_what_is_not_is_only_named(
    desk: Desk, name: str, healthy: bool
) -> None:
    desk.fails(name, ConnectionRefusedError("nobody there"))
    told, answer = desk.report()
    assert (told, answer["status"]) == (healthy, "healthy" if healthy else "unhealthy")
    found = answer["database"] if name == "database" else answer["services"][name]
    assert (found["status"], found["error"]) == ("down", "ConnectionRefusedError: nobody there")


def test_a_storage_that_cannot_even_be_looked_at_is_not_writable(desk: Desk) -> None:
    desk.fails("storage", FileNotFoundError("no such folder"))
    storage = desk.report()[1]["storage"]
    assert (storage["writable"], storage["free_space_mb"]) == (False, None)
    assert storage["error"] == "FileNotFoundError: no such folder"


def test_what_is_wrong_is_told_in_one_line_without_secrets(desk: Desk) -> None:
    desk.fails("redis", RuntimeError("cannot log in with geheim\nand more of geheim"))
    desk.fails("database", StoreUnavailable("the store geheim is unavailable"))
    answer = desk.report()[1]
    assert answer["services"]["redis"]["error"] == "RuntimeError: cannot log in with ***"
    assert answer["database"]["error"] == "the store *** is unavailable"


def test_many_who_ask_within_a_second_are_told_what_one_look_found(desk: Desk) -> None:
    desk.report(50)
    desk.clock.advance(0.9)
    assert desk.report()[1]["timestamp"] == REPORTED
    assert set(desk.taken.values()) == {1}
    desk.clock.advance(0.1)
    assert desk.report()[1]["timestamp"] != REPORTED
    assert set(desk.taken.values()) == {2}


def test_a_check_that_hangs_is_down_after_the_timeout_and_keeps_one_thread(
    threads: ThreadPoolExecutor, runner: asyncio.Runner
) -> None:
    desk = Desk(threads, runner, timeout_seconds=0.1)
    goes_on = threading.Event()
    desk.looks["redis"] = lambda: goes_on.wait(30) and None
    try:
        for _ in range(3):
            answer = desk.report()[1]
            assert answer["services"]["redis"]["error"] == "no answer within 0.1 s"
            desk.clock.advance(1)
        assert desk.taken["redis"] == 1
    finally:
        goes_on.set()
    until(lambda: desk.clock.advance(1) or desk.report()[1]["services"]["redis"]["status"] == "up")


def test_the_event_loop_goes_on_while_checks_block(desk: Desk) -> None:
    goes_on = threading.Event()
    desk.looks["database"] = lambda: goes_on.wait(30) and None

    async def ask() -> int:
        asking, turns = asyncio.create_task(desk.health.report()), 0
        while turns < 100:
            await asyncio.sleep(0)
            turns += 1
        assert not asking.done()
        goes_on.set()
        await asking
        return turns

    assert desk.runner.run(ask()) == 100
