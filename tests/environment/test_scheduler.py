"""Warm-ups under a clock that the test moves, and once with real threads and the machine's clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from position_server.business_days import Calendar, current_business_date
from position_server.clock import Clock, SystemClock
from position_server.environment import scheduler
from position_server.environment.cache import Entry
from position_server.environment.schedule import Window
from position_server.environment.scheduler import Desk, WarmUp, WarmUpConfig, WarmUps
from position_server.errors import Busy
from position_server.metrics import Metrics
from position_server.params import BaseParams, ParamReader
from tests.environment.examples import entry_of
from tests.fakes import VirtualClock, failure, outcome

NEW_YORK = ZoneInfo("America/New_York")
CALENDAR = Calendar.named("XNYS")
MIDNIGHT = datetime(2025, 10, 30, tzinfo=NEW_YORK).astimezone(UTC)
PARAMS = {"env_date": "T", "pos_date": "T-1", "books": ["CUPS"], "time_of_day": "LIVE"}
ALL_DAY = {
    "name": "LIVE_MAIN",
    "params": PARAMS,
    "start_time": "00:00",
    "end_time": "00:00",
    "interval_seconds": 300,
    "days": "all",
}
JOIN_SECONDS = 5.0


class Refreshes:
    """What warm-ups ask to be computed: when, and for which parameters."""

    def __init__(self, clock: Clock, answer: Callable[[BaseParams], Entry] | None = None) -> None:
        self.clock = clock
        self.answer = answer or entry_of
        self.starts: list[datetime] = []
        self.bases: list[BaseParams] = []
        self.pins: list[tuple[str, Any]] = []

    def refresh(self, base: BaseParams) -> Entry:
        self.starts.append(self.clock.now())
        self.bases.append(base)
        return self.answer(base)

    def pin(self, owner: str, key: Any) -> None:
        self.pins.append((owner, key))

    def minutes(self) -> list[float]:
        """When each run started, in minutes after midnight of 2025-10-30."""
        return [(start - MIDNIGHT) / timedelta(minutes=1) for start in self.starts]


def desk_of(clock: Clock) -> Desk:
    def today() -> date:
        return current_business_date(clock.now(), NEW_YORK, CALENDAR, None)

    return Desk(CALENDAR, "America/New_York", ParamReader(("SOD", "EOD", "LIVE")), today)


def warm_ups(clock: Clock, refreshes: Refreshes, *entries: Mapping[str, Any]) -> WarmUps:
    desk, metrics = desk_of(clock), Metrics.create()

    def build(config: WarmUpConfig, window: Window) -> WarmUp:
        return WarmUp(config, window, desk, refresh=refreshes.refresh, pin=refreshes.pin, clock=clock, metrics=metrics)

    return WarmUps(entries, desk, build, clock)


def warm_up(clock: Clock, refreshes: Refreshes, metrics: Metrics | None = None, **changes: Any) -> WarmUp:
    config = WarmUpConfig.model_validate({**ALL_DAY, **changes})
    desk = desk_of(clock)
    return WarmUp(
        config,
        config.window(CALENDAR, "America/New_York"),
        desk,
        refresh=refreshes.refresh,
        pin=refreshes.pin,
        clock=clock,
        metrics=metrics or Metrics.create(),
    )


def run_for(
    hours: float, answer: Callable[[VirtualClock, int], Entry], start: datetime = MIDNIGHT, **changes: Any
) -> tuple[Refreshes, WarmUp]:
    """Runs the very loop of a thread for so many hours; `answer(clock, number)` is the n-th run."""
    clock = VirtualClock(start, start + timedelta(hours=hours))
    refreshes = Refreshes(clock, lambda _: answer(clock, len(refreshes.starts) - 1))
    one = warm_up(clock, refreshes, **changes)
    one.run(threading.Event())
    return refreshes, one


def takes(seconds: float) -> Callable[[VirtualClock, int], Entry]:
    def answer(clock: VirtualClock, _: int) -> Entry:
        clock.advance(seconds)
        return entry_of()

    return answer


# --- the beat --------------------------------------------------------------------------------------------------------


def test_a_day_of_five_minute_beats_with_one_overrun_is_exact_to_the_second() -> None:
    def answer(clock: VirtualClock, number: int) -> Entry:
        clock.advance(421.0 if number == 100 else 2.0)
        return entry_of()

    refreshes, one = run_for(24, answer)
    assert refreshes.minutes() == [5.0 * beat for beat in range(288) if beat != 101]
    assert one.state.runs == 287


def test_a_window_of_the_day_has_runs_from_its_start_to_its_last_minute() -> None:
    refreshes, _ = run_for(48, takes(1), start_time="09:30", end_time="10:00", interval_seconds=600, days="business")
    morning = [570.0, 580.0, 590.0, 600.0]
    assert refreshes.minutes() == [*morning, *(minute + 1440 for minute in morning)]


def test_on_a_weekend_a_business_day_warm_up_rests_until_monday() -> None:
    saturday = MIDNIGHT + timedelta(days=2)
    refreshes, _ = run_for(
        60, takes(1), start=saturday, start_time="06:00", end_time="06:00", interval_seconds=3600, days="business"
    )
    first = refreshes.starts[0].astimezone(NEW_YORK)
    assert first == datetime(2025, 11, 3, 0, 0, tzinfo=NEW_YORK)  # equal ends: the whole day


def test_listed_days_are_the_days_on_which_the_window_opens() -> None:
    refreshes, _ = run_for(
        24 * 7, takes(1), start_time="12:00", end_time="12:01", interval_seconds=3600, days=["SUN", "TUE"]
    )
    assert [start.astimezone(NEW_YORK).strftime("%a") for start in refreshes.starts] == ["Sun", "Tue"]


def test_the_window_may_have_a_time_zone_of_its_own() -> None:
    refreshes, _ = run_for(
        24, takes(1), start_time="08:00", end_time="08:30", timezone="Europe/London", interval_seconds=86_400
    )
    assert [start.astimezone(ZoneInfo("Europe/London")).hour for start in refreshes.starts] == [8]


def test_a_clock_set_back_an_hour_does_not_silence_a_warm_up() -> None:
    def answer(clock: VirtualClock, number: int) -> Entry:
        if number == 12:
            clock.set_wall(clock.now() - timedelta(hours=1))
        return entry_of()

    refreshes, _ = run_for(1.5, answer)
    assert refreshes.minutes()[11:16] == [55.0, 60.0, 0.0, 5.0, 10.0]


# --- failures --------------------------------------------------------------------------------------------------------


def test_failures_back_off_and_a_success_is_straight_back_on_the_beat() -> None:
    def answer(clock: VirtualClock, number: int) -> Entry:
        if number < 4:
            raise Busy
        return entry_of()

    refreshes, one = run_for(1, answer, interval_seconds=60)
    assert refreshes.minutes()[:7] == [0.0, 2.0, 6.0, 14.0, 24.0, 25.0, 26.0]
    assert (one.state.failures, one.state.last_error) == (4, None)


def test_a_run_of_which_nothing_good_came_backs_off() -> None:
    refreshes, _ = run_for(0.2, lambda *_: entry_of(None, failure("bonds"), failure("futures")), interval_seconds=60)
    assert refreshes.minutes() == [0.0, 2.0, 6.0]


def test_a_run_with_one_failed_section_is_an_error_and_keeps_the_beat() -> None:
    refreshes, one = run_for(0.1, lambda *_: entry_of(None, failure("bonds"), outcome("spot")), interval_seconds=60)
    assert refreshes.minutes() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    state = one.state
    assert (state.status, state.last_error, state.failures) == ("error", "bonds: ValueError: no curve", 6)


def test_an_unexpected_exception_is_shown_and_the_warm_up_goes_on() -> None:
    def answer(clock: VirtualClock, number: int) -> Entry:
        raise RuntimeError("the disk is on fire")

    refreshes, one = run_for(0.2, answer, interval_seconds=60)
    assert len(refreshes.starts) == 3
    assert one.state.last_error == "RuntimeError: the disk is on fire"


def test_runs_are_counted_in_the_metrics_by_outcome() -> None:
    metrics, clock = Metrics.create(), VirtualClock(MIDNIGHT, MIDNIGHT + timedelta(minutes=9))
    answers = iter([entry_of(), entry_of(None, failure("bonds"), outcome("spot"))])
    warm_up(clock, Refreshes(clock, lambda _: next(answers)), metrics).run(threading.Event())
    counted = [
        metrics.registry.get_sample_value("position_server_warmup_runs_total", {"warmup": "LIVE_MAIN", "outcome": how})
        for how in ("ok", "error")
    ]
    assert counted == [1.0, 1.0]


# --- relative dates --------------------------------------------------------------------------------------------------


def test_relative_dates_roll_over_at_the_desks_midnight_and_the_new_key_is_pinned() -> None:
    refreshes, _ = run_for(2, takes(1), start=MIDNIGHT + timedelta(hours=23), interval_seconds=1800)
    dates = [(base.env_date.day, base.pos_date.day) for base in refreshes.bases]
    assert dates == [(30, 29), (30, 29), (31, 30), (31, 30)]
    assert refreshes.pins == [("LIVE_MAIN", base.to_cache_key()) for base in refreshes.bases]


def test_over_a_weekend_the_dates_stay_fridays() -> None:
    friday_evening = MIDNIGHT + timedelta(days=1, hours=18)
    refreshes, _ = run_for(72, takes(1), start=friday_evening, interval_seconds=21_600)
    for start, base in zip(refreshes.starts, refreshes.bases, strict=True):
        is_monday = start.astimezone(NEW_YORK).date() == date(2025, 11, 3)
        assert base.env_date == (date(2025, 11, 3) if is_monday else date(2025, 10, 31))


# --- states ----------------------------------------------------------------------------------------------------------


def test_before_its_first_run_a_warm_up_is_starting() -> None:
    clock = VirtualClock(MIDNIGHT)
    assert warm_up(clock, Refreshes(clock)).state.to_dict() == {
        "status": "starting",
        "in_time_window": True,
        "last_run": None,
        "next_run": None,
        "last_duration_ms": None,
        "last_error": None,
        "runs": 0,
        "failures": 0,
    }


def test_while_it_runs_a_warm_up_says_so() -> None:
    clock = VirtualClock(MIDNIGHT, MIDNIGHT + timedelta(minutes=1))
    seen: list[str] = []

    def answer(_: BaseParams) -> Entry:
        seen.append(one.state.status)
        return entry_of()

    one = warm_up(clock, Refreshes(clock, answer))
    one.run(threading.Event())
    assert seen == ["running"]


def test_between_runs_a_warm_up_is_idle_and_knows_the_last_and_the_next() -> None:
    _, one = run_for(0.1, takes(2.5))
    state = one.state.to_dict()
    assert state["status"] == "idle"
    assert state["last_run"] == "2025-10-30T04:05:00.000+00:00"
    assert state["next_run"] == "2025-10-30T04:10:00.000+00:00"
    assert state["last_duration_ms"] == 2500


def test_outside_its_window_a_warm_up_says_so_and_when_it_opens() -> None:
    refreshes, one = run_for(1, takes(1), start_time="09:30", end_time="16:15")
    state = one.state
    assert refreshes.starts == []
    assert (state.status, state.in_time_window) == ("outside_window", False)
    assert state.next_run == MIDNIGHT + timedelta(hours=9.5)


def test_a_window_that_never_opens_waits_for_ever_without_a_next_run() -> None:
    refreshes, one = run_for(1, takes(1), days=[])
    assert refreshes.starts == []
    assert (one.state.status, one.state.next_run) == ("outside_window", None)


def test_the_server_is_warm_when_every_warm_up_inside_its_window_has_run_once() -> None:
    clock = VirtualClock(MIDNIGHT, MIDNIGHT + timedelta(minutes=1))
    refreshes = Refreshes(clock)
    daytime = {**ALL_DAY, "name": "DAYTIME", "start_time": "09:30", "end_time": "16:15"}
    all_of_them = warm_ups(clock, refreshes, ALL_DAY, daytime)
    assert all_of_them.server_status == "warming_up"
    all_of_them._warm_ups["LIVE_MAIN"].run(threading.Event())
    assert all_of_them.server_status == "warmed_up"
    clock.advance(10 * 3600)
    assert all_of_them.server_status == "warming_up"


def test_a_first_run_that_failed_is_a_run() -> None:
    clock = VirtualClock(MIDNIGHT, MIDNIGHT + timedelta(minutes=1))
    refreshes = Refreshes(clock, lambda _: entry_of(None, failure("bonds")))
    all_of_them = warm_ups(clock, refreshes, ALL_DAY)
    all_of_them._warm_ups["LIVE_MAIN"].run(threading.Event())
    assert all_of_them.server_status == "warmed_up"


def test_a_server_without_warm_ups_is_warm() -> None:
    clock = VirtualClock()
    assert warm_ups(clock, Refreshes(clock)).server_status == "warmed_up"


# --- bad entries -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("expected_errors")
@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"start_time": "25:00"}, "start_time: time data '25:00'"),
        ({"start_time": 930}, "start_time"),
        ({"end_time": None}, "end_time"),
        ({"interval_seconds": 0}, "interval_seconds"),
        ({"interval_seconds": -5}, "interval_seconds"),
        ({"interval_seconds": float("nan")}, "interval_seconds"),
        ({"interval_seconds": 1e300}, "interval_seconds"),
        ({"interval_seconds": 1e-9}, "interval_seconds"),
        ({"interval_seconds": "often"}, "interval_seconds"),
        ({"timezone": "Mars/Olympus"}, "timezone: no time zone is known by the name 'Mars/Olympus'"),
        ({"timezone": "../etc/passwd"}, "timezone: no time zone"),
        ({"days": "sometimes"}, "days"),
        ({"days": ["MONDAY"]}, "days"),
        ({"colour": "red"}, "colour"),
        ({"params": {**PARAMS, "env_date": "tomorrow"}}, "env_date"),
        ({"params": {**PARAMS, "books": []}}, "books"),
        ({"params": {**PARAMS, "books": {"CUPS"}}}, "set"),
        ({"params": {**PARAMS, "time_of_day": "NOON"}}, "time_of_day"),
        ({"params": {**PARAMS, "region": "EMEA"}}, "region"),
        ({"params": 5}, "params"),
    ],
)
def test_a_bad_entry_says_what_is_wrong_and_harms_no_other(change: dict[str, Any], what: str) -> None:
    clock = VirtualClock(MIDNIGHT)
    all_of_them = warm_ups(clock, Refreshes(clock), {**ALL_DAY, **change, "name": "BAD"}, ALL_DAY)
    states = all_of_them.stats()
    assert states["BAD"]["status"] == "config_error"
    assert what in states["BAD"]["last_error"]
    assert states["LIVE_MAIN"]["status"] == "starting"


@pytest.mark.usefixtures("expected_errors")
@pytest.mark.parametrize("entry", [{}, {**ALL_DAY, "name": ""}, {**ALL_DAY, "name": None}])
def test_an_entry_without_a_name_is_shown_by_its_number(entry: dict[str, Any]) -> None:
    clock = VirtualClock(MIDNIGHT)
    states = warm_ups(clock, Refreshes(clock), ALL_DAY, entry).stats()
    assert states["WARMUP_CONFIGS[1]"]["status"] == "config_error"


@pytest.mark.usefixtures("expected_errors")
def test_of_two_entries_with_one_name_the_first_works() -> None:
    clock = VirtualClock(MIDNIGHT)
    states = warm_ups(clock, Refreshes(clock), ALL_DAY, ALL_DAY).stats()
    assert {name: state["status"] for name, state in states.items()} == {
        "LIVE_MAIN": "starting",
        "LIVE_MAIN (entry 1: the name is taken)": "config_error",
    }


@pytest.mark.usefixtures("expected_errors")
def test_a_bad_entry_does_not_keep_the_server_from_being_warm() -> None:
    clock = VirtualClock(MIDNIGHT)
    assert warm_ups(clock, Refreshes(clock), {"name": "BAD"}).server_status == "warmed_up"


# --- real threads ----------------------------------------------------------------------------------------------------


def running(names: Sequence[str]) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in names]


def test_real_threads_run_at_once_are_named_and_end_at_once_when_told() -> None:
    clock, has_run = SystemClock(), threading.Semaphore(0)

    def answer(_: BaseParams) -> Entry:
        has_run.release()
        return entry_of()

    names = ["warmup-ONE", "warmup-OTHER"]
    entries = [{**ALL_DAY, "name": name, "interval_seconds": 86_400} for name in ("ONE", "OTHER")]
    all_of_them = warm_ups(clock, Refreshes(clock, answer), *entries)
    all_of_them.start()
    try:
        assert has_run.acquire(timeout=JOIN_SECONDS)
        assert has_run.acquire(timeout=JOIN_SECONDS)
        assert sorted(running(names)) == names
    finally:
        all_of_them.stop()
        all_of_them.join()
    assert running(names) == []


def test_warm_ups_that_were_never_started_can_be_joined() -> None:
    clock = VirtualClock()
    never_started = warm_ups(clock, Refreshes(clock), ALL_DAY)
    never_started.stop()
    never_started.join()
    assert never_started.stats()["LIVE_MAIN"]["runs"] == 0


def test_a_thread_that_does_not_end_in_time_is_named_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler, "JOIN_SECONDS", 0.01)
    runs, release = threading.Event(), threading.Event()

    def answer(_: BaseParams) -> Entry:
        runs.set()
        release.wait(JOIN_SECONDS)
        return entry_of()

    stuck = warm_ups(SystemClock(), Refreshes(SystemClock(), answer), ALL_DAY)
    stuck.start()
    assert runs.wait(JOIN_SECONDS)
    stuck.stop()
    stuck.join()
    release.set()
    assert [record.__dict__["name_of_thread"] for record in caplog.records] == ["warmup-LIVE_MAIN"]
