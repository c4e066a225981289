"""Market data as real processes: the updater alone, killed in the middle, and a server with the demo's provider."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from position_server.market_data.records import INTERRUPTED
from position_server.store.engine import open_store
from position_server.store.tables import instruments
from tests.market_data.faults import (
    Fault,
    body,
    dropped,
    empty_results,
    failing,
    refused,
    slow,
    truncated,
    with_value,
    without,
)
from tests.market_data.stand_in import StandIn
from tests.servers import REPOSITORY, ServerProcess, serving, until
from tests.store.factories import instrument, put

PREFIX = "POSITION_SERVER_MARKET_DATA__"
SECRET = "the-provider's-key-4711"
ASSETS = [
    {"symbol": "EURUSD", "provider_ticker": "C:EURUSD", "asset_type": "forex", "level": "CRITICAL",
     "base_asset": "EUR", "quote_asset": "USD"},
    {"symbol": "GBPUSD", "provider_ticker": "C:GBPUSD", "asset_type": "forex", "level": "HIGH",
     "base_asset": "GBP", "quote_asset": "USD"},
    {"symbol": "HOUSE", "provider_ticker": "HOUSE", "asset_type": "equity", "level": "HIGH"},
]  # fmt: skip


def variables(provider: StandIn, **settings: Any) -> dict[str, str]:
    """The settings of an updater that asks this provider, as often as it likes."""
    given = {
        "ENABLED": True, "BASE_URL": provider.url, "ASSETS": ASSETS, "CALLS": 10_000, "TIMEOUT_SECONDS": 5.0,
        "PRIORITY_INTERVAL_SECONDS": 0.2, "QUEUE_INTERVAL_SECONDS": 0.1, "SECONDARY_INTERVAL_SECONDS": 0.2, **settings,
    }  # fmt: skip
    return {PREFIX + "API_KEY": SECRET} | {
        PREFIX + name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()
    }


@contextmanager
def updating(data_dir: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m position_server market-data`; killed at the end if it still runs."""
    command = [sys.executable, "-m", "position_server", "market-data", "--data-dir", str(data_dir)]
    with (data_dir / "updater.log").open("ab") as sink:
        process = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **env}, stderr=sink)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def rows(data_dir: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(data_dir / "position_server.sqlite")) as connection:
        return connection.execute(query).fetchall()


def statuses(data_dir: Path) -> dict[str, str]:
    return dict(rows(data_dir, "SELECT symbol, sync_status FROM asset_sync"))


@pytest.fixture
def data_dir(migrated_file: Path, tmp_path: Path) -> Path:
    """A folder with a store that knows a private holding."""
    shutil.copy(migrated_file, tmp_path / "position_server.sqlite")
    with open_store(f"sqlite:///{tmp_path / 'position_server.sqlite'}") as store:
        put(store, instruments, instrument("HOUSE", "PRIVATE"))
    return tmp_path


@pytest.fixture
def provider() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        for ticker in ("C:EURUSD", "C:GBPUSD", "HOUSE"):
            stand_in.quote(ticker, 1.1, 1.2)
        yield stand_in


def test_an_updater_killed_in_the_middle_of_a_batch_leaves_a_good_store_and_the_next_carries_on(
    data_dir: Path, provider: StandIn
) -> None:
    with updating(data_dir, variables(provider)) as process:
        until(lambda: list(statuses(data_dir).values()).count("success") == 2)
        provider.schedule = lambda _: slow(30)
        until(lambda: "in_progress" in statuses(data_dir).values() and provider.calls[-1].number > 2)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert rows(data_dir, "PRAGMA integrity_check") == [("ok",)]
    assert rows(data_dir, "SELECT instrument, bid FROM quotes ORDER BY 1") == [("EURUSD", 1.1), ("GBPUSD", 1.1)]
    assert rows(data_dir, "SELECT instrument, sequence FROM quote_sequences ORDER BY 1") == [
        ("EURUSD", 1),
        ("GBPUSD", 1),
    ]
    provider.schedule = None
    provider.quote("C:EURUSD", 1.3, 1.4)
    with updating(data_dir, variables(provider)) as process:
        until(lambda: rows(data_dir, "SELECT bid FROM quotes WHERE instrument = 'EURUSD'") == [(1.3,)])
        until(lambda: statuses(data_dir)["EURUSD"] == "success")
        assert rows(data_dir, "SELECT sequence FROM quote_sequences WHERE instrument = 'EURUSD'") == [(2,)]
        process.terminate()
        assert process.wait(10) == 0
    assert "in_progress" not in statuses(data_dir).values()
    assert INTERRUPTED not in dict(rows(data_dir, "SELECT symbol, last_error FROM asset_sync")).values()


FAULTS: list[Fault | None] = [
    None, None, None, refused(500), refused(404), slow(0.05), dropped(), truncated(), body(b""), body(b"nonsense"),
    empty_results(), without("C:EURUSD"), failing("C:GBPUSD"),
    with_value("results.0.last_quote.bid", -1.0), with_value("results.0.last_quote.bid", 9.0),
    with_value("results.0.last_quote.ask", "1.2"), with_value("results.0.last_quote.last_updated", 10**19),
]  # fmt: skip


def test_no_schedule_of_faults_causes_a_lost_or_a_false_quote(data_dir: Path, provider: StandIn) -> None:
    dice, shown, env = random.Random(4711), {1.1}, variables(provider)

    def quote(price: float) -> None:
        shown.add(price)
        for ticker in ("C:EURUSD", "C:GBPUSD", "HOUSE"):
            provider.quote(ticker, price, round(price + 0.01, 4))

    def bids() -> set[float]:
        return {bid for (bid,) in rows(data_dir, "SELECT bid FROM quotes")}

    with updating(data_dir, env):
        until(lambda: bids() == {1.1})
        provider.schedule = lambda _: dice.choice(FAULTS)
        for number in range(25):
            quote(round(1.2 + number / 100, 4))
            calls = len(provider.calls)
            until(lambda since=calls: len(provider.calls) > since + 1)
            assert bids() <= shown
        provider.schedule = None
        quote(1.7)
        until(lambda: bids() == {1.7})
        until(lambda: statuses(data_dir) == {"EURUSD": "success", "GBPUSD": "success", "HOUSE": "failed"})
    counts = dict(rows(data_dir, "SELECT instrument, sequence FROM quote_sequences"))
    assert all(2 < count <= len(shown) for count in counts.values())
    assert all("HOUSE" not in call.tickers for call in provider.calls)
    assert {call.headers["Authorization"] for call in provider.calls} == {f"Bearer {SECRET}"}
    assert SECRET not in (data_dir / "updater.log").read_text()
    assert SECRET.encode() not in (data_dir / "position_server.sqlite").read_bytes()


LIVE = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS", "time_of_day": "LIVE", "sections": "spot"}


def test_a_server_follows_quotes_that_another_process_stores(
    demo_store: Path, tmp_path: Path, provider: StandIn
) -> None:
    shutil.copy(demo_store, tmp_path)
    env = variables(provider)
    patient = {
        "POSITION_SERVER_CACHE__TTL_SECONDS": json.dumps({"LIVE": 3600.0}),
        "POSITION_SERVER_WARMUP_CONFIGS": "[]",
        "POSITION_SERVER_COMPUTE__WORKERS": "1",
    }
    with serving(tmp_path, env={**env, **patient, PREFIX + "ENABLED": "false"}) as server:
        assert spot_price(server.environment(**LIVE)) != 1.15
        assert server.get("/batch/status").json()["status"] == "stopped"
        assert server.client.post("/batch/run").status_code == 409
        with updating(tmp_path, env):
            until(lambda: spot_price(server.environment(**LIVE)) == pytest.approx(1.15))
        assert {a["symbol"]: a["bid"] for a in server.get("/batch/assets").json()}["EURUSD"] == 1.1
        assert server.terminate() == 0


def spot_price(environment: dict[str, Any]) -> float:
    return spot_prices(environment)["EURUSD"]


def spot_prices(environment: dict[str, Any]) -> dict[str, float]:
    """All of them: one alone may stand still for a minute, rounded to its tick."""
    rows = environment["sections"]["spot"]["data"]["positions"]
    return {row["instrument"]: float(row["price"]) for row in rows}


def test_a_server_starts_the_demo_provider_again_when_it_dies_and_ends_it_with_itself(
    demo_store: Path, tmp_path: Path
) -> None:
    shutil.copy(demo_store, tmp_path)
    env = {PREFIX + "ENABLED": "true", PREFIX + "CALLS": "1000", "POSITION_SERVER_COMPUTE__WORKERS": "1"}
    with serving(tmp_path, env=env) as server:
        until(lambda: {a["sync_status"] for a in server.get("/batch/assets").json()} == {"success"})
        before = spot_prices(server.environment(**LIVE))
        until(lambda: runs(server) and spot_prices(server.environment(**LIVE)) != before)
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert [name for name in ("numpy", "scipy", "QuantLib", "nanoarrow", "adbc") if name in maps] == []
        first = demo_provider_of(server)
        os.kill(first, signal.SIGKILL)
        until(lambda: runs(server))
        second = demo_provider_of(server)
        assert second != first
        server.process.kill()
        until(lambda: not Path(f"/proc/{second}/exe").exists())


def runs(server: ServerProcess) -> bool:
    """Runs the priority batch, and whether all of it went well."""
    return bool(server.client.post("/batch/run").json()["success"])


def demo_provider_of(server: ServerProcess) -> int:
    """The pid of the demo provider that the server started last."""
    return [int(line["pid"]) for line in server.log_lines() if line["message"] == "the demo provider is started"][-1]
