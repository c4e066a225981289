"""The cache on disk: real files in a folder of the test's own, two servers' lives in one process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import date, timedelta
from pathlib import Path

import pytest

from position_server.clock import SystemClock
from position_server.compute.pool import Kind
from position_server.environment.cache import Entry, EnvironmentCache, State
from position_server.environment.disk import FILE_NAME, DiskCache, identity_of
from position_server.errors import BadRequest, NotFresh
from position_server.params import BaseParams, ReadOptions
from position_server.settings import Settings
from tests.environment.examples import base_params, entry_of
from tests.environment.test_service import Desk, numbers, statuses, unstarted
from tests.fakes import FakePool, VirtualClock, failure, outcome
from tests.servers import until

Load = Callable[..., Settings]
LIVE_TTL, LIVE_GRACE = 15.0, 60.0


@pytest.fixture
def settings(settings: Settings) -> Settings:
    settings.data_dir.mkdir()
    return settings


@pytest.fixture
def file(settings: Settings) -> Path:
    return settings.data_dir / FILE_NAME


def cache_of(settings: Settings, *entries: Entry) -> EnvironmentCache:
    cache = EnvironmentCache(settings.cache)
    for entry in entries:
        cache.put(entry)
    return cache


def write(settings: Settings, clock: VirtualClock, *entries: Entry) -> None:
    """The end of a server that has these entries."""
    disk = DiskCache(cache_of(settings, *entries), settings, clock)
    disk.restore()
    disk.write()


def restored(settings: Settings, clock: VirtualClock) -> EnvironmentCache:
    """The cache of a server that starts."""
    cache = EnvironmentCache(settings.cache)
    DiskCache(cache, settings, clock).restore()
    return cache


def restarted(settings: Settings, clock: VirtualClock, *, listed: bool = True) -> Desk:
    """A service over a restored cache; not `listed`: its workers have not told of their sections yet."""
    desk = unstarted(settings, clock, FakePool(["bonds", "futures"], held=not listed))
    disk = DiskCache(desk.service.cache, settings, clock)
    disk.restore()
    disk.restored.set_result(None)
    desk.service.start(disk.restored)
    return desk


def both(data: bytes = b'{"n":7}', base: BaseParams | None = None) -> Entry:
    """An environment of the two sections that the service here knows."""
    return entry_of(base, outcome("bonds", data), outcome("futures", data))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.endswith("disk")]


# --- what a restart serves -------------------------------------------------------------------------------------------


def test_a_restart_serves_what_was_there_at_once_as_stale_and_refreshes_behind_it(
    settings: Settings, clock: VirtualClock
) -> None:
    write(settings, clock, both())
    clock.advance(7200)  # longer than ttl and grace
    desk = restarted(settings, clock)
    desk.pool.held = True
    answers = [desk.read() for _ in range(3)]
    assert [answer.hit for answer in answers] == [True] * 3
    assert statuses(answers[0]) == {"bonds": "stale", "futures": "stale"}
    assert numbers(answers[0]) == {"bonds": 7, "futures": 7}
    assert [kind for kind, _ in desk.pool.calls] == [Kind.REFRESH] * 2
    desk.pool.release()
    assert statuses(desk.read()) == {"bonds": "ok", "futures": "ok"}


def test_it_is_served_before_the_sections_are_known(settings: Settings, clock: VirtualClock) -> None:
    write(settings, clock, both())
    desk = restarted(settings, clock, listed=False)
    assert desk.read().hit
    assert desk.read(options=ReadOptions(sections=("bonds",), max_age=60)).hit
    assert desk.computations == 0


def test_what_restored_data_cannot_answer_waits_for_the_sections(settings: Settings, clock: VirtualClock) -> None:
    write(settings, clock, both())
    clock.advance(60)
    desk = restarted(settings, clock, listed=False)

    async def ask() -> None:
        asking = asyncio.create_task(desk.service.read(base_params(), ReadOptions(sections=("bnods",))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not asking.done()
        desk.pool.release()
        with pytest.raises(BadRequest, match="no section 'bnods'"):
            await asking

    asyncio.run(ask())


@pytest.mark.parametrize("options", [ReadOptions(require="fresh"), ReadOptions(max_age=59)])
def test_who_asks_for_fresher_data_gets_a_computation(
    settings: Settings, clock: VirtualClock, options: ReadOptions
) -> None:
    write(settings, clock, both())
    clock.advance(60)
    answer = restarted(settings, clock).read(options=options)
    assert not answer.hit
    assert set(statuses(answer).values()) == {"ok"}


def test_the_age_of_restored_data_is_honest(settings: Settings, clock: VirtualClock) -> None:
    write(settings, clock, both())
    clock.advance(60)
    desk = restarted(settings, clock)
    desk.pool.held = True
    answer = desk.read(options=ReadOptions(max_age=60.5))
    assert answer.hit
    assert desk.age(answer) == pytest.approx(60)


def test_a_failure_over_restored_data_keeps_them_and_says_what_failed(settings: Settings, clock: VirtualClock) -> None:
    write(settings, clock, both())
    desk = restarted(settings, clock)
    desk.pool.compute = lambda call: failure(call.section)
    desk.read()
    answer = desk.read()
    assert numbers(answer) == {"bonds": 7, "futures": 7}
    assert statuses(answer) == {"bonds": "stale", "futures": "stale"}
    assert "no curve" in answer.entry.states["bonds"].error_stack
    with pytest.raises(NotFresh):
        desk.read(options=ReadOptions(require="fresh"))


def test_its_grace_counts_from_the_restart_and_then_it_is_a_miss(settings: Settings, clock: VirtualClock) -> None:
    write(settings, clock, both())
    cache = restored(settings, clock)
    (entry,) = cache.entries()
    assert cache.state(entry, clock.monotonic()) is State.GRACE
    clock.advance(LIVE_TTL + LIVE_GRACE - 1)
    assert cache.state(entry, clock.monotonic()) is State.GRACE
    clock.advance(1)
    assert cache.state(entry, clock.monotonic()) is State.EXPIRED


def test_dates_that_have_moved_on_leave_environments_under_the_dates_that_they_are_of(
    settings: Settings, clock: VirtualClock
) -> None:
    yesterday = base_params(env_date=date(2025, 10, 29), pos_date=date(2025, 10, 28))
    write(settings, clock, both(base=yesterday))
    clock.advance(86_400)
    desk = restarted(settings, clock)
    assert desk.service.cache.peek(yesterday.to_cache_key()) is not None
    assert not desk.read(base_params()).hit
    assert desk.read(yesterday).hit


def test_versions_go_on_where_they_were(settings: Settings, clock: VirtualClock) -> None:
    write(settings, clock, entry_of(None, outcome("bonds"), outcome("futures"), old=both()))
    desk = restarted(settings, clock)
    desk.read()
    answer = desk.read()
    assert (answer.entry.version, answer.entry.states["bonds"].version) == (3, 3)


def test_an_environment_of_other_sections_than_there_are_now_is_forgotten(
    settings: Settings, clock: VirtualClock
) -> None:
    write(settings, clock, both(), entry_of(base_params(("EXO",)), outcome("bonds"), outcome("weather")))
    desk = restarted(settings, clock, listed=False)
    assert desk.service.cache.count_entries() == 2
    desk.pool.release()
    assert [entry.base for entry in desk.service.cache.entries()] == [base_params()]


def test_nothing_is_computed_before_what_was_there_is_restored(settings: Settings, clock: VirtualClock) -> None:
    desk = unstarted(settings, clock, FakePool(["bonds", "futures"]))
    disk: Future[None] = Future()
    desk.service.start(disk)
    assert not desk.service.catalogue.done()
    desk.service.cache.put(both())
    disk.set_result(None)
    assert set(desk.service.catalogue.result().sections) == {"bonds", "futures"}


# --- what is written -------------------------------------------------------------------------------------------------


def test_nothing_is_written_over_and_over(settings: Settings, clock: VirtualClock, file: Path) -> None:
    cache = cache_of(settings, both())
    disk = DiskCache(cache, settings, clock)
    disk.restore()
    disk.write()
    first = file.stat().st_ino
    disk.write()
    assert file.stat().st_ino == first
    cache.put(entry_of(None, outcome("bonds"), old=both()))
    disk.write()
    assert file.stat().st_ino != first


def test_a_server_that_has_nothing_leaves_the_file_alone(settings: Settings, clock: VirtualClock, file: Path) -> None:
    write(settings, clock)
    assert not file.exists()
    write(settings, clock, entry_of(None, failure("bonds")))
    assert not file.exists(), "an environment without data is nothing"


def test_what_is_not_recomputed_outlives_a_second_restart_at_its_true_age(
    settings: Settings, clock: VirtualClock
) -> None:
    write(settings, clock, both())
    clock.advance(100)
    write(settings, clock, both(base=base_params(("EXO",))))
    clock.advance(100)
    cache = restored(settings, clock)
    ages = {entry.base.books: entry.age(clock.monotonic()) for entry in cache.entries()}
    assert ages[("CUPS", "YCSO")] == pytest.approx(200)
    assert len(ages) == 2


def test_the_file_is_bounded_and_keeps_what_is_most_wanted(load: Load, tmp_path: Path, clock: VirtualClock) -> None:
    settings = load('CACHE = {"snapshot_mb": 0.1}', {}, {"data_dir": tmp_path})
    named = {name: base_params((name,)) for name in ("WARM", "OLD", "USED", "NEW")}
    cache = cache_of(settings, *(both(b'"%s"' % (b"x" * 10_000), base) for base in named.values()))
    cache.pin("LIVE_EXO", named["WARM"].to_cache_key())
    cache.get(named["USED"].to_cache_key())
    disk = DiskCache(cache, settings, clock)
    disk.write()
    kept = [entry.base.books[0] for entry in restored(settings, clock).entries()]
    assert kept == ["USED", "WARM"]  # two of 45 KB; the most wanted one comes last, as the most recent
    assert (tmp_path / FILE_NAME).stat().st_size < 100_000


def test_the_file_is_for_its_owner_alone(settings: Settings, clock: VirtualClock, file: Path) -> None:
    write(settings, clock, both())
    assert file.stat().st_mode & 0o777 == 0o600


# --- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda _: b"", "empty"),
        (lambda data: data[:-1], "checksum"),
        (lambda data: data[:40], "truncated"),
        (lambda data: data.replace(b'"n":7', b'"n":8', 1), "checksum"),
        (lambda data: data[:22] + b"\x02" + data[23:], "format 2"),
        (lambda data: b"\x80\x04\x95" + data, "no cache"),
    ],
)
def test_a_damaged_file_is_set_aside_and_logged_and_the_start_is_a_cold_one(
    settings: Settings,
    clock: VirtualClock,
    file: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[bytes], bytes],
    why: str,
) -> None:
    write(settings, clock, both())
    spoiled = spoil(file.read_bytes())
    file.write_bytes(spoiled)
    assert restored(settings, clock).count_entries() == 0
    assert not file.exists()
    assert file.with_name("environments.cache.bad").read_bytes() == spoiled
    (record,) = [r for r in caplog.records if r.getMessage() == "the cache on disk cannot be used"]
    assert why in vars(record)["error"]
    write(settings, clock, both())
    assert restored(settings, clock).count_entries() == 1


def test_a_file_of_another_desk_or_program_is_set_aside(
    load: Load, tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = load("", {}, {"data_dir": tmp_path})
    for other in ('BASE_CURRENCY = "EUR"', 'CALENDAR = "XLON"', 'STORE = {"url": "postgresql://desk@other/db"}'):
        write(ours, clock, both())
        assert restored(load(other, {}, {"data_dir": tmp_path}), clock).count_entries() == 0
    write(ours, clock, both())
    monkeypatch.setattr("position_server.__version__", "99")
    assert restored(ours, clock).count_entries() == 0


def test_the_identity_holds_no_secret_and_not_the_password(load: Load) -> None:
    identities = [
        identity_of(load(f'STORE = {{"url": "postgresql://desk:{password}@h/db?schema={schema}"}}'))
        for password, schema in (("geheim", "a"), ("other", "a"), ("geheim", "b"))
    ]
    assert "geheim" not in str(identities)
    assert identities[0] == identities[1]
    assert identities[0] != identities[2]


def test_what_a_crash_left_behind_is_removed(settings: Settings, clock: VirtualClock, file: Path) -> None:
    write(settings, clock, both())
    left = file.with_name(f"{FILE_NAME}.0123abcd.tmp")
    left.write_bytes(b"half")
    assert restored(settings, clock).count_entries() == 1
    assert not left.exists()


def test_a_folder_that_cannot_be_written_costs_one_line_and_one_when_it_can(
    settings: Settings, clock: VirtualClock, file: Path, caplog: pytest.LogCaptureFixture, expected_errors: None
) -> None:
    caplog.set_level(logging.INFO)
    cache = cache_of(settings, both())
    disk = DiskCache(cache, settings, clock)
    settings.data_dir.rmdir()
    for _ in range(3):
        disk.write()
    assert messages(caplog) == ["the cache cannot be kept on disk"]
    assert "make the folder writable" in vars(caplog.records[0])["cure"]
    settings.data_dir.mkdir()
    disk.write()
    assert messages(caplog)[1:] == ["the cache is kept on disk again"]
    assert file.exists()


def test_a_file_that_cannot_be_set_aside_is_not_trusted_either(
    settings: Settings, clock: VirtualClock, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.mkdir()  # it cannot be read
    file.with_name("environments.cache.bad").write_text("in the way")
    assert restored(settings, clock).count_entries() == 0
    assert "not possible" in vars(caplog.records[0])["set_aside_as"]


# --- the thread ------------------------------------------------------------------------------------------------------


def test_the_thread_restores_writes_on_its_beat_and_at_the_end(settings: Settings, file: Path) -> None:
    beats: list[bool] = []

    class Watching(VirtualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            assert seconds == settings.cache.snapshot_seconds
            beats.append(file.exists())
            cache.put(entry_of(None, outcome("bonds"), old=both()))
            if len(beats) == 3:
                stop.set()
            return stop.is_set()

    cache = cache_of(settings, both())
    with DiskCache(cache, settings, Watching()) as disk:
        disk.restored.result(10)
        until(lambda: len(beats) == 3)
    assert beats == [False, True, True]
    assert restored(settings, VirtualClock()).entries()[0].version == 2


def test_the_end_writes_what_is_there_then(settings: Settings, file: Path) -> None:
    cache = cache_of(settings)
    with DiskCache(cache, settings, SystemClock()) as disk:
        disk.restored.result(10)
        cache.put(both())
        assert not file.exists()
    assert file.exists()


def test_switched_off_nothing_is_read_or_written(load: Load, tmp_path: Path, clock: VirtualClock) -> None:
    on = load("", {}, {"data_dir": tmp_path})
    write(on, clock, both())
    off = load('CACHE = {"snapshot_seconds": None}', {}, {"data_dir": tmp_path})
    before = (tmp_path / FILE_NAME).read_bytes()
    cache = cache_of(off)
    with DiskCache(cache, off, clock) as disk:
        assert disk.restored.done()
        cache.put(both(base=base_params(("EXO",))))
    assert cache.count_entries() == 1
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_fault_in_the_thread_still_lets_the_server_start(
    settings: Settings, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, expected_errors: None
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("position_server.environment.disk.load", broken)
    write_cache = cache_of(settings, both())
    (settings.data_dir / FILE_NAME).write_bytes(b"x")
    with DiskCache(write_cache, settings, VirtualClock(end=clock.now() + timedelta(seconds=1))) as disk:
        disk.restored.result(10)
