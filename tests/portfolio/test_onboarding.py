"""Onboarding: the queue on both stores, what becomes of a symbol, what load queues, the race with real processes."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from position_server.errors import BatchStopped, ConfigError
from position_server.portfolio import fitting
from position_server.portfolio.night import Night
from position_server.portfolio.onboarding import LoadedSymbols, Onboarding, is_symbol, wait_for_held
from position_server.portfolio.prices import SourceError
from position_server.portfolio.records import factors, onboarding, prices, snapshots
from position_server.portfolio.records.onboarding import Job
from position_server.portfolio.records.prices import Bar
from position_server.portfolio.symbols_batch import run_symbols
from position_server.settings import PortfolioSettings
from position_server.store.engine import Store
from position_server.store.load import load_file
from position_server.store.tables import factor_fits, instruments, positions
from tests.fakes import NOON, VirtualClock
from tests.market_data.stand_in import StandIn
from tests.portfolio.desk import CALENDAR, DAYS, FACTORS, NIGHT, PORTFOLIO, Source, contents, histories
from tests.portfolio.desk import night as night_of
from tests.portfolio.processes import PRELOADED, run_main, serving_prices
from tests.servers import serving, until
from tests.store.factories import instrument, position, put

FORKS = multiprocessing.get_context("forkserver")
TIMEOUT = timedelta(seconds=120)
SETTINGS = PortfolioSettings(**PORTFOLIO)
LEVELS = histories(seed=2)["AAA"]


def queue(store: Store, *symbols: str, after: float = 0.0) -> list[str]:
    with store.write() as connection:
        return onboarding.queue(connection, symbols, "ada", NOON + timedelta(seconds=after))


def claim(store: Store, process: str = "one", after: float = 0.0) -> Job | None:
    with store.write() as connection:
        return onboarding.claim(connection, process, NOON + timedelta(seconds=after), TIMEOUT)


def job(store: Store, symbol: str) -> Job:
    with store.read() as connection:
        found = onboarding.by_symbol(connection, symbol)
    assert found is not None
    return found


# --- the queue -------------------------------------------------------------------------------------------------------


def test_the_symbol_that_waits_longest_is_next_and_each_has_one_worker(store: Store) -> None:
    assert queue(store, "LATE", after=5) == ["LATE"]
    assert queue(store, "SOON", "LATE") == ["SOON"]
    claimed = [claim(store, process) for process in ("one", "two", "three")]
    assert [(one.symbol, one.status, one.process) if one else None for one in claimed] == [
        ("SOON", "processing", "one"),
        ("LATE", "processing", "two"),
        None,
    ]


def test_a_job_whose_process_is_silent_is_taken_up_and_the_old_one_can_end_it_no_more(store: Store) -> None:
    queue(store, "NEW")
    first = claim(store, "one")
    assert first is not None
    assert claim(store, "two", after=120) is None
    with store.write() as connection:
        assert onboarding.beat(connection, first, NOON + timedelta(seconds=60))
    assert claim(store, "two", after=180) is None
    second = claim(store, "two", after=181)
    assert second is not None
    assert (second.attempts, second.process) == (2, "two")
    with store.write() as connection:
        assert not onboarding.complete(connection, first, NOON)
        assert not onboarding.beat(connection, first, NOON)
        assert onboarding.complete(connection, second, NOON)
    assert job(store, "NEW").status == "completed"


def test_a_symbol_that_is_done_with_can_be_queued_again(store: Store) -> None:
    queue(store, "NEW")
    claimed = claim(store)
    assert claimed is not None
    with store.write() as connection:
        onboarding.fail(connection, claimed, "no", NOON)
    assert queue(store, "NEW") == ["NEW"]
    assert (job(store, "NEW").status, job(store, "NEW").attempts, job(store, "NEW").error_message) == (
        "pending",
        0,
        None,
    )


# --- what becomes of a symbol ----------------------------------------------------------------------------------------


def worker(store: Store, source: Source, **other: Any) -> Onboarding:
    def fit(names: Any, day: date) -> None:
        fitting.fit(store, names, day, SETTINGS, CALENDAR.name)

    given: dict[str, Any] = {"day": lambda: NIGHT, "open_source": lambda: nullcontext(source), "fit": fit}
    return Onboarding(store, SETTINGS, CALENDAR, Waiting(), **{**given, **other})


class Waiting(VirtualClock):
    """A clock whose heartbeats wait for their end in real time."""

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        if threading.current_thread().name.startswith("onboarding-"):
            return stop.wait(60)
        return super().wait(stop, seconds)


def bars(last: date = NIGHT) -> list[Bar]:
    return [Bar(day, level) for day, level in zip(DAYS, LEVELS, strict=True) if day <= last]


def desk_source(**past: list[Bar]) -> Source:
    """A source that knows these histories, and those of the factors of the night."""
    return Source(past=past)


@pytest.fixture
def fitted_desk(desk_store: Store) -> Store:
    """The small desk with the factors' closes of the night."""
    with desk_store.write() as connection:
        night = {name: Bar(NIGHT, levels[-1]) for name, levels in histories().items()}
        prices.write_day(connection, night)
    return desk_store


def test_a_new_equity_gets_its_instrument_its_history_and_its_fit(fitted_desk: Store) -> None:
    queue(fitted_desk, "NEWCO")
    assert worker(fitted_desk, desk_source(NEWCO=bars())).work_off(threading.Event()) == 1
    assert (job(fitted_desk, "NEWCO").status, job(fitted_desk, "NEWCO").error_message) == ("completed", None)
    with fitted_desk.read() as connection:
        assert prices.known(connection, ["NEWCO"])["NEWCO"].kind == "EQUITY"
        assert prices.closes_on(connection, NIGHT, ["NEWCO"]) == {"NEWCO": (LEVELS[-1], "close")}
        fit = factors.fits(connection, NIGHT, ["NEWCO"])["NEWCO"]
    assert set(fit.betas) == set(FACTORS)


def test_a_symbol_that_nobody_knows_ends_failed_and_leaves_no_instrument(fitted_desk: Store) -> None:
    queue(fitted_desk, "NOBODY")
    worker(fitted_desk, desk_source()).work_off(threading.Event())
    assert job(fitted_desk, "NOBODY").status == "failed"
    assert job(fitted_desk, "NOBODY").error_message == "no source of prices knows it: NOBODY: no bars"
    with fitted_desk.read() as connection:
        assert prices.known(connection, ["NOBODY"]) == {}


def test_what_is_held_as_private_only_is_not_asked_for(fitted_desk: Store) -> None:
    put(fitted_desk, instruments, instrument("SECRET"), instrument("SHARED"))
    held = [position("CUPS", name, NIGHT, investment_class="PRIVATE") for name in ("SECRET", "SHARED")]
    put(fitted_desk, positions, *held, position("EXO", "SHARED", NIGHT))
    queue(fitted_desk, "SECRET", "SHARED")
    source = desk_source(SECRET=bars(), SHARED=bars())
    worker(fitted_desk, source).work_off(threading.Event())
    assert job(fitted_desk, "SECRET").error_message == (
        "SECRET is held as PRIVATE only: nothing is fetched for private positions"
    )
    assert job(fitted_desk, "SHARED").status == "completed"
    assert [call.split()[1] for call in source.calls] == ["SHARED"]


def test_an_option_gets_prices_and_no_fit(fitted_desk: Store) -> None:
    name = "AAA260116C00120000"
    queue(fitted_desk, name)
    worker(fitted_desk, desk_source(**{name: [Bar(NIGHT, 2.5)]})).work_off(threading.Event())
    assert job(fitted_desk, name).status == "completed"
    with fitted_desk.read() as connection:
        assert prices.closes_on(connection, NIGHT, [name]) == {name: (2.5, "close")}
        assert factors.fits(connection, NIGHT, [name]) == {}


def test_a_source_that_fails_for_the_moment_is_asked_again_and_one_that_breaks_fails_one_symbol(
    fitted_desk: Store, caplog: pytest.LogCaptureFixture
) -> None:
    queue(fitted_desk, "BAD", "NEWCO")
    source = desk_source(NEWCO=bars())
    source.fail = [SourceError("busy", is_transient=True)] * 3 + [SourceError("busy", is_transient=True)]
    worker(fitted_desk, source).work_off(threading.Event())
    assert (job(fitted_desk, "BAD").status, job(fitted_desk, "BAD").error_message) == ("failed", "busy")
    assert job(fitted_desk, "NEWCO").status == "completed"

    def broken(names: Any, day: date) -> None:
        raise ValueError("no memory")

    queue(fitted_desk, "NEWCO")
    worker(fitted_desk, source, fit=broken).work_off(threading.Event())
    assert job(fitted_desk, "NEWCO").error_message == "ValueError: no memory"
    assert "onboarding failed" in caplog.text


def test_a_source_that_is_not_set_up_fails_the_symbols_and_says_what_is_missing(fitted_desk: Store) -> None:
    def no_source() -> Any:
        raise ConfigError('MARKET_DATA["api_key"]', "is missing")

    queue(fitted_desk, "NEWCO")
    assert worker(fitted_desk, desk_source(), open_source=no_source).work_off(threading.Event()) == 1
    assert (job(fitted_desk, "NEWCO").status, job(fitted_desk, "NEWCO").error_message) == (
        "failed",
        'MARKET_DATA["api_key"]: is missing',
    )


def test_a_worker_that_is_told_to_end_puts_its_symbol_back(fitted_desk: Store) -> None:
    queue(fitted_desk, "NEWCO")
    stop = threading.Event()
    source = desk_source()
    source.fail = [SourceError("busy", is_transient=True)] * 3
    stop.set()
    with pytest.raises(BatchStopped):
        worker(fitted_desk, source).work_off(stop)
    assert (job(fitted_desk, "NEWCO").status, job(fitted_desk, "NEWCO").attempts) == ("pending", 0)


def test_a_symbol_that_ends_its_process_again_and_again_is_given_up(fitted_desk: Store) -> None:
    queue(fitted_desk, "KILLER")
    for attempt in range(3):
        assert claim(fitted_desk, after=-1000 + 200 * attempt) is not None  # and nothing is heard of it again
    assert worker(fitted_desk, desk_source()).work_off(threading.Event()) == 0
    assert job(fitted_desk, "KILLER").error_message == "KILLER: its processing ended 3 times without a result"


# --- what load queues ------------------------------------------------------------------------------------------------

INSTRUMENTS = """instrument,kind,currency,underlying,expiry,right,strike,coupon_pct,maturity
NEWCO,EQUITY,USD,,,,,,
EUROCO,EQUITY,EUR,,,,,,
AAA260116C00120000,OPTION,USD,AAA,2026-01-16,C,120,,
NEW-BOND,BOND,USD,,,,,4,2030-05-15
AAA,EQUITY,USD,,,,,,
"""


def test_new_equities_and_options_of_a_file_of_instruments_are_queued(desk_store: Store) -> None:
    symbols = LoadedSymbols(VirtualClock())
    load_file(desk_store, "instruments", INSTRUMENTS.splitlines(), newcomers=symbols)
    assert sorted(symbols.queued) == ["AAA260116C00120000", "NEWCO"]
    again = LoadedSymbols(VirtualClock())
    load_file(desk_store, "instruments", INSTRUMENTS.splitlines(), newcomers=again)
    assert again.queued == []


POSITIONS = "pos_date,book,instrument,quantity,investment_class\n2025-10-30,CUPS,{name},7,PUBLIC\n"


def test_positions_bring_unknown_symbols_with_them(desk_store: Store) -> None:
    symbols = LoadedSymbols(VirtualClock())
    load_file(desk_store, "positions", POSITIONS.format(name="NEWCO").splitlines(), newcomers=symbols)
    assert symbols.queued == ["NEWCO"]
    with desk_store.read() as connection:
        terms = prices.known(connection, ["NEWCO"])["NEWCO"]
    assert (terms.kind, terms.currency) == ("EQUITY", "USD")
    assert job(desk_store, "NEWCO").requested_by == "load"


def test_a_private_position_brings_no_symbol_with_it(desk_store: Store) -> None:
    private = "2025-10-30,EXO,NEWCO,7,PRIVATE"
    symbols = LoadedSymbols(VirtualClock())
    lines = [*POSITIONS.format(name="OTHER").splitlines(), private]
    with pytest.raises(ValueError, match="not known: 'NEWCO'"):
        load_file(desk_store, "positions", lines, newcomers=symbols)
    load_file(desk_store, "positions", [*POSITIONS.format(name="NEWCO").splitlines(), private], newcomers=symbols)
    assert symbols.queued == ["NEWCO"]  # for the book that holds it as PUBLIC


@pytest.mark.parametrize(
    "name", ["US912810RK60", "EURUSD", "AAA1251219C00100000", "newco", "O:AAA260116C00120000", "A B"]
)
def test_what_is_no_symbol_of_an_equity_or_option_is_not_taken_for_one(name: str) -> None:
    assert not is_symbol(name)


def test_a_load_that_is_refused_queues_nothing(desk_store: Store) -> None:
    before = contents(desk_store, "instruments", "positions", "onboarding_jobs")
    lines = [*POSITIONS.format(name="NEWCO").splitlines(), "2025-10-30,CUPS,OTHER,x,PUBLIC"]
    with pytest.raises(ValueError, match="not a number"):
        load_file(desk_store, "positions", lines, newcomers=LoadedSymbols(VirtualClock()))
    assert contents(desk_store, "instruments", "positions", "onboarding_jobs") == before


# --- real processes --------------------------------------------------------------------------------------------------


@pytest.fixture
def provider() -> Iterator[StandIn]:
    """The night's prices, and the history of NEWCO, which arrives slowly."""
    with serving_prices() as provider:
        for bar in bars():
            provider.bar("NEWCO", bar.day, bar.close)
        yield provider


CONFIG = """
BUSINESS_DATE = "2025-10-30"
STORE = {{"url": "{url}", "demo": False}}
MARKET_DATA = {{"base_url": "{provider}", "calls": 1000000, "timeout_seconds": 30.0}}
PORTFOLIO = {{"factors": {factors}, "factor_window_days": 90, "heartbeat_timeout_seconds": 1.0}}
WARMUP_CONFIGS = []
CACHE = {{"snapshot_seconds": None}}
"""


@dataclass
class Command:
    """A command that was started, and where it writes."""

    process: Any
    out: Path
    err: Path

    def end(self) -> str:
        """What it printed, at its good end."""
        self.process.join(180)
        assert self.process.exitcode == 0, self.err.read_text()
        self.process.close()
        return self.out.read_text()


@dataclass
class Desk:
    """A store with the small desk, and commands on it."""

    folder: Path
    url: str

    @property
    def flags(self) -> tuple[str, ...]:
        """Which configuration."""
        return ("--config", str(self.folder / "served.py"))

    def start(self, *words: str) -> Command:
        """A command in a process of its own."""
        out, err = self.folder / f"{words[-1]}.out", self.folder / f"{words[-1]}.err"
        out.write_text(""), err.write_text("")
        process = FORKS.Process(target=run_main, args=([*words, *self.flags], out, err))
        process.start()
        return Command(process, out, err)

    def run(self, batch: str) -> dict[str, Any]:
        """What a batch answers at its good end."""
        answer: dict[str, Any] = json.loads(self.start("batch", batch, "--json").end())
        return answer

    def load(self, kind: str, text: str) -> str:
        """The `load` command, and what it printed."""
        file = self.folder / f"{kind}.csv"
        file.write_text(text)
        return self.start("load", kind, str(file)).end()


@pytest.fixture
def desk(desk_file: Path, tmp_path: Path, provider: StandIn) -> Desk:
    FORKS.set_forkserver_preload([*PRELOADED, "position_server.cli.load"])
    url = f"sqlite:///{shutil.copy(desk_file, tmp_path / 'desk.sqlite')}"
    (tmp_path / "served.py").write_text(CONFIG.format(url=url, provider=provider.url, factors=FACTORS))
    return Desk(tmp_path, url)


def hold_histories(provider: StandIn) -> threading.Event:
    """From now on answers that carry the history of NEWCO come once the event is set (or after two minutes)."""
    released = threading.Event()

    def faults(call: Any) -> Any:
        if "/ticker/NEWCO/" not in call.path:
            return None

        def wait(reply: Any) -> Any:
            released.wait(120)
            return reply

        return wait

    provider.schedule = faults
    return released


def test_a_night_waits_for_a_symbol_that_is_being_onboarded(desk: Desk, provider: StandIn) -> None:
    """The race: positions with a new symbol come, and the night begins before its history is there."""
    desk.run("symbols")
    with serving(desk.folder / "served", flags=desk.flags) as server:
        released = hold_histories(provider)
        assert "queued for onboarding: NEWCO" in desk.load("positions", POSITIONS.format(name="NEWCO"))
        until(lambda: server.get("/onboarding/NEWCO").json()["status"] == "processing")
        night = desk.start("batch", "portfolios", "--json")
        until(lambda: "waiting for 1 symbols being onboarded: NEWCO" in night.err.read_text())
        released.set()
        assert json.loads(night.end())["counts"]["still_onboarding"] == []
        assert server.get("/onboarding/NEWCO").json()["status"] == "completed"
        snapshot = server.get("/portfolios/CUPS/snapshots").json()["snapshots"][0]
        assert snapshot["total_value"] == pytest.approx(7 * LEVELS[-1])
        found = server.get("/portfolios/CUPS/exposures").json()
        assert found["coverage"] == 1.0
        assert set(found["exposures"]) == {*FACTORS, "market_beta"}
        desk.load("positions", POSITIONS.format(name="NOBODY"))
        job = until(lambda: (found := server.get("/onboarding/NOBODY").json())["status"] == "failed" and found)
        assert job["error_message"].startswith("no source of prices knows it: NOBODY")
    assert "no price for NOBODY" in desk.run("portfolios")["counts"]["warnings"]["CUPS"]


def test_a_symbol_whose_server_was_killed_is_taken_up_by_the_next(desk: Desk, provider: StandIn) -> None:
    released = hold_histories(provider)
    with serving(desk.folder / "one", flags=desk.flags) as server:
        asked = server.client.post("/onboarding/symbols", json={"symbols": ["NEWCO"]})
        assert (asked.status_code, asked.json()["queued"]) == (202, ["NEWCO"])
        until(lambda: server.get("/onboarding/NEWCO").json()["status"] == "processing")
        server.process.kill()
    released.set()
    with serving(desk.folder / "two", flags=desk.flags) as server:
        until(lambda: server.get("/onboarding/NEWCO").json()["status"] == "completed")
        assert server.get("/onboarding/NEWCO").json()["attempts"] == 2


def test_a_night_waits_no_longer_than_it_may_and_names_who_is_late(small: tuple[Store, Night]) -> None:
    store, night = small
    queue(store, "AAA", "BBB", "ELSEWHERE")  # BBB has all that a snapshot needs, and nobody holds ELSEWHERE
    with store.write() as connection:
        connection.execute(delete(factor_fits).where(factor_fits.c.instrument == "AAA"))
        held = snapshots.held_on(connection, NIGHT)
    since = night.clock.monotonic()
    assert wait_for_held(night, held) == ["AAA"]
    assert night.clock.monotonic() - since == pytest.approx(120, abs=1)
    claimed = claim(store)
    assert claimed is not None
    assert claimed.symbol == "AAA"
    with store.write() as connection:
        onboarding.complete(connection, claimed, NOON)
    assert wait_for_held(night, held) == []


@pytest.fixture
def small(desk_store: Store) -> tuple[Store, Night]:
    """The small desk after its symbols run, and a night on it."""
    night = night_of(desk_store)
    run_symbols(night, Source)
    return desk_store, night
