"""kill -9 at random moments of a night, again and again: nothing is half written, and the next night is a good one.

Each cycle starts both batches, kills them at a moment drawn from its seed, looks at the store, and runs both again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from position_server.store.engine import Store, open_store
from tests.portfolio import desk as small_desk
from tests.portfolio.desk import HELD, NIGHT, Contents
from tests.portfolio.processes import Desk, serving_prices

SAMPLED, ALL = 2, 50
ON_POSTGRES = 5  # every so many
CYCLES = [pytest.param(seed, marks=[] if seed < SAMPLED else [pytest.mark.slow]) for seed in range(ALL)]
TIMEOUT_SECONDS = 1.0  # a killed run is taken for dead after this


@pytest.fixture(scope="module")
def truth(desk_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """What both batches come to when nobody kills them."""
    folder = tmp_path_factory.mktemp("truth")
    with serving_prices() as provider, open_store(f"sqlite:///{folder / 'store.sqlite'}") as store:
        store.upgrade()
        small_desk.fill(store)
        desk = Desk(folder, store, f"sqlite:///{store.location}", provider)
        desk.run("symbols")
        desk.run("portfolios")
        data = desk.data()
        desk.close()
    assert len(data["factor_exposures"]) == 3 * len(HELD)
    return data


@pytest.fixture
def desk(request: pytest.FixtureRequest, seed: int, tmp_path: Path) -> Iterator[Desk]:
    """The small desk, on PostgreSQL now and then."""
    if seed % ON_POSTGRES:
        store: Store = request.getfixturevalue("desk_store")
        url = f"sqlite:///{store.location}"
    else:
        url = request.getfixturevalue("empty_postgres_url")
        store = open_store(url)
        small_desk.fill(store)
    with store, serving_prices() as provider:
        desk = Desk(tmp_path, store, url, provider)
        yield desk
        desk.close()


@pytest.mark.parametrize("seed", CYCLES)
def test_a_night_killed_at_any_moment_leaves_nothing_half_done(seed: int, desk: Desk, truth: Contents) -> None:
    batches = [desk.start(batch, timeout=TIMEOUT_SECONDS) for batch in ("portfolios", "symbols")]
    time.sleep(random.Random(seed).uniform(0, 0.8))
    for batch in batches:
        batch.kill()
    assert_whole(desk)
    desk.run("symbols", timeout=TIMEOUT_SECONDS)
    desk.run("portfolios", timeout=TIMEOUT_SECONDS)
    assert desk.data() == truth
    current = [kind for kind, status in desk.runs() if status != "superseded"]
    assert sorted(current) == ["portfolio_refresh", "symbol_batch"]


def assert_whole(desk: Desk) -> None:
    """What is written together is there together, or not at all; a completed run has all of it."""
    data = desk.data()
    assert len(data["factor_fits"]) in (0, len(HELD))
    assert len(data["factor_exposures"]) in (0, 3 * len(HELD))
    closes = {row[0] for row in data["closes"] if row[1] == str(NIGHT)}
    assert closes & set(HELD) in (set(), set(HELD))
    states = dict(desk.runs())
    if states.get("symbol_batch") == "completed":
        assert data["factor_exposures"]
    snapshots = {row[:2] for row in data["portfolio_snapshots"]}
    assert {row[:2] for row in data["snapshot_positions"]} <= snapshots
    if states.get("portfolio_refresh") != "completed":
        assert not snapshots
    if desk.store.location.backend == "sqlite":
        with desk.store.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
