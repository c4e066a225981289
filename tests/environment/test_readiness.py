"""Whether the server can take traffic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from position_server.environment.cache import EnvironmentCache
from position_server.environment.readiness import Readiness
from position_server.environment.scheduler import WarmUps
from position_server.settings import CacheSettings
from tests.environment.examples import entry_of
from tests.fakes import VirtualClock


@dataclass
class FakeWarmUps:
    """WarmUps' face for operators: what it says is the test's to set."""

    server_status: str = "warming_up"
    errors: dict[str, str | None] = field(default_factory=lambda: {"SOD_MAIN": None})
    good_runs: int = 0

    def stats(self) -> dict[str, Any]:
        return {name: self._state(error) for name, error in self.errors.items()}

    def _state(self, error: str | None) -> dict[str, Any]:
        failures = int(error is not None)
        return {"last_error": error, "runs": self.good_runs + failures, "failures": failures}


def readiness(clock: VirtualClock, warm_ups: FakeWarmUps, entries: int = 0) -> Readiness:
    cache = EnvironmentCache(CacheSettings())
    for _ in range(entries):
        cache.put(entry_of())
    return Readiness(cast("WarmUps", warm_ups), cache, clock, 30.0)


def test_a_server_that_warms_up_is_not_ready_and_says_how_far_it_is(clock: VirtualClock) -> None:
    check = readiness(clock, FakeWarmUps()).check
    clock.advance(2.5)
    assert check() == (
        False,
        {"status": "initializing", "elapsed_seconds": 2.5, "entries_loaded": 0, "cache_entries": 0},
    )


def test_a_warm_server_is_ready_by_its_cache(clock: VirtualClock) -> None:
    ready = readiness(clock, FakeWarmUps("warmed_up"), entries=1).check()
    assert ready == (True, {"status": "ready", "mode": "cache", "cache_entries": 1})


def test_a_server_whose_warm_ups_failed_is_ready_by_the_store_and_names_them(clock: VirtualClock) -> None:
    warm_ups = FakeWarmUps("warmed_up", {"SOD_MAIN": "bonds: no curve", "LIVE_EXO": None})
    assert readiness(clock, warm_ups).check() == (
        True,
        {"status": "ready", "mode": "db_fallback", "cache_entries": 0, "error": "warm-ups failed: SOD_MAIN"},
    )


def test_a_failed_warm_up_is_no_reason_not_to_wait_for_the_others(clock: VirtualClock) -> None:
    ready, answer = readiness(clock, FakeWarmUps(errors={"SOD_MAIN": "bonds: no curve", "LIVE_EXO": None})).check()
    assert (ready, answer["status"]) == (False, "initializing")


def test_a_warm_up_that_fails_after_a_good_run_leaves_the_server_ready_by_its_cache(clock: VirtualClock) -> None:
    warm_ups = FakeWarmUps("warmed_up", {"SOD_MAIN": "bonds: no curve"}, good_runs=1)
    assert readiness(clock, warm_ups).check()[1]["mode"] == "cache"


def test_patience_ends_and_the_server_is_ready_by_the_store(clock: VirtualClock) -> None:
    check = readiness(clock, FakeWarmUps()).check
    clock.advance(29.9)
    assert not check()[0]
    clock.advance(0.1)
    assert check() == (
        True,
        {"status": "ready", "mode": "db_fallback", "cache_entries": 0, "message": "not warm after 30 s"},
    )


def test_a_server_whose_patience_ended_becomes_ready_by_its_cache_when_it_is_warm(clock: VirtualClock) -> None:
    warm_ups = FakeWarmUps()
    check = readiness(clock, warm_ups).check
    clock.advance(31)
    assert check()[1]["mode"] == "db_fallback"
    warm_ups.server_status = "warmed_up"
    assert check()[1]["mode"] == "cache"
