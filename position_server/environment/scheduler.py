"""The warm-ups: one named thread per entry of WARMUP_CONFIGS, which keeps one environment computed.

When to run is schedule.py's decision; this file waits and runs. A bad entry is reported and harms no other.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from position_server import threads
from position_server.business_days import Calendar, resolve_relative_date
from position_server.clock import Clock
from position_server.environment.cache import Entry
from position_server.environment.envelope import iso
from position_server.environment.schedule import LastRun, Window, next_run
from position_server.errors import PositionServerError
from position_server.metrics import Metrics
from position_server.params import BaseParams, ParamReader
from position_server.settings import known_zone

log = logging.getLogger(__name__)
LONGEST_WAIT_SECONDS = 30.0  # then the wall clock is read again: it may have been set
LONGEST_INTERVAL_SECONDS = 86_400.0  # a window opens anew every day, and that is a beat
JOIN_SECONDS = 5.0
WARM_FOR_SECONDS = 0.25  # between two looks at the windows, once all are warm
DAY_NAMES = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


def _clock_time(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a text HH:MM")
    return datetime.strptime(value, "%H:%M").time()  # noqa: DTZ007 a time of day has no zone of its own


class WarmUpConfig(BaseModel):
    """One entry of WARMUP_CONFIGS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="Its name in `/status`, the log and the thread list.")
    params: dict[str, Any] = Field(description="The environment: as in a POST, but dates may be relative.")
    start_time: Annotated[time, BeforeValidator(_clock_time)] = Field(description="HH:MM, included.")
    end_time: Annotated[time, BeforeValidator(_clock_time)] = Field(description="HH:MM, included.")
    interval_seconds: float = Field(ge=0.1, le=LONGEST_INTERVAL_SECONDS, description="Seconds from beat to beat.")
    timezone: Annotated[str, AfterValidator(known_zone)] | None = Field(
        None, description="Time zone of the window; default TIMEZONE."
    )
    days: Literal["business", "all"] | tuple[Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"], ...] = Field(
        "business", description="Days on which the window opens: `business`, `all`, or a list of MON..SUN."
    )

    def window(self, calendar: Calendar, default_zone: str) -> Window:
        """The window this entry describes."""
        zone = ZoneInfo(self.timezone or default_zone)
        days: dict[str, Callable[[date], bool]] = {"business": calendar.is_business_day, "all": lambda _: True}
        opens = days[self.days] if isinstance(self.days, str) else lambda day: DAY_NAMES[day.weekday()] in self.days
        return Window(self.start_time, self.end_time, zone, opens)


@dataclass(frozen=True, slots=True)
class WarmUpState:
    """What `/status` says of one warm-up."""

    status: str = "starting"
    in_time_window: bool = False
    last_run: datetime | None = None
    next_run: datetime | None = None
    last_duration_ms: int | None = None
    last_error: str | None = None
    runs: int = 0
    failures: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "status": self.status,
            "in_time_window": self.in_time_window,
            "last_run": iso(self.last_run) if self.last_run else None,
            "next_run": iso(self.next_run) if self.next_run else None,
            "last_duration_ms": self.last_duration_ms,
            "last_error": self.last_error,
            "runs": self.runs,
            "failures": self.failures,
        }


@dataclass(frozen=True, slots=True)
class Desk:
    """What every warm-up needs to know of the desk: its calendar, time zone, parameters, and today."""

    calendar: Calendar
    timezone: str
    reader: ParamReader
    business_date: Callable[[], date]

    def params(self, given: Mapping[str, Any]) -> BaseParams:
        """The parameters with relative dates as of today. Raises BadRequest."""
        today = self.business_date()
        return self.reader.build_from_dict(given, lambda text: resolve_relative_date(text, today, self.calendar))


class WarmUp:
    """One warm-up: the loop that its thread runs."""

    def __init__(
        self,
        config: WarmUpConfig,
        window: Window,
        desk: Desk,
        *,
        refresh: Callable[[BaseParams], Entry],
        pin: Callable[[str, Any], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.name = config.name
        self._config = config
        self._window = window
        self._desk = desk
        self._refresh = refresh
        self._pin = pin
        self._clock = clock
        self._metrics = metrics
        self._interval = timedelta(seconds=config.interval_seconds)
        self._last: LastRun | None = None
        self._state = WarmUpState()  # replaced whole by the thread, read whole by others: no lock needed

    @property
    def state(self) -> WarmUpState:
        """The state as of now; the window is looked at afresh."""
        return replace(self._state, in_time_window=self._window.opening(self._clock.now()) is not None)

    def run(self, stop: threading.Event) -> None:
        """Waits for each due run and does it, until `stop`."""
        while not stop.is_set():
            now = self._clock.now()
            due = next_run(self._window, self._interval, now, self._last)
            if due is not None and due <= now:
                self._run_once(stop)
                continue
            self._rest(due)
            seconds = (due - now).total_seconds() if due else LONGEST_WAIT_SECONDS
            self._clock.wait(stop, min(seconds, LONGEST_WAIT_SECONDS))

    def _rest(self, due: datetime | None) -> None:
        in_window = self._window.opening(self._clock.now()) is not None
        failed = self._last is not None and self._last.failures > 0
        status = "outside_window" if not in_window else "error" if failed or self._state.last_error else "idle"
        self._state = replace(self._state, status=status, next_run=due)

    def _run_once(self, stop: threading.Event) -> None:
        started, since = self._clock.now(), self._clock.monotonic()
        self._state = replace(self._state, status="running", last_run=started, next_run=None)
        problem, nothing_good = self._compute(stop)
        row = (self._last.failures + 1 if self._last else 1) if nothing_good else 0
        self._last = LastRun(started, self._clock.now(), row)
        self._state = replace(
            self._state,
            last_duration_ms=round((self._clock.monotonic() - since) * 1000),
            last_error=problem,
            runs=self._state.runs + 1,
            failures=self._state.failures + (problem is not None),
        )
        self._metrics.warmup_runs.labels(self.name, "ok" if problem is None else "error").inc()

    def _compute(self, stop: threading.Event) -> tuple[str | None, bool]:
        """What went wrong, if anything, and whether nothing good came of the run (which backs off)."""
        try:
            base = self._desk.params(self._config.params)
            self._pin(self.name, base.to_cache_key())
            entry = self._refresh(base)
        except Exception as error:
            message = error.message if isinstance(error, PositionServerError) else f"{type(error).__name__}: {error}"
            if not stop.is_set():  # what fails then, fails because the server stops
                log.warning("warm-up failed", extra={"warmup": self.name, "error": message}, exc_info=error)
            return message, True
        bad = {name: state for name, state in entry.states.items() if state.status != "ok"}
        problem = "; ".join(f"{name}: {(s.failure or s.outcome).error_line}" for name, s in bad.items())
        return problem or None, len(bad) == len(entry.states) and bool(bad)


class WarmUps:
    """All warm-ups of the server: their threads and the states of the entries that could not become one."""

    def __init__(
        self,
        configs: Sequence[Mapping[str, Any]],
        desk: Desk,
        build: Callable[[WarmUpConfig, Window], WarmUp],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._warm_until = float("-inf")
        self._stop = threading.Event()
        self._warm_ups: dict[str, WarmUp] = {}
        self._broken: dict[str, WarmUpState] = {}
        for number, entry in enumerate(configs):
            self._add(number, entry, desk, build)
        self._threads = [
            threading.Thread(target=w.run, args=(self._stop,), name=f"warmup-{w.name}", daemon=True)
            for w in self._warm_ups.values()
        ]

    def start(self) -> None:
        """Starts every thread."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Asks every thread to end."""
        self._stop.set()

    def join(self) -> None:
        """Waits for every thread's end, and says which did not."""
        for thread in self._threads:
            threads.join(thread, JOIN_SECONDS)

    @property
    def server_status(self) -> str:
        """`warmed_up` when every warm-up that is inside its window has finished a first run.

        Every answer carries it, so being warm is looked at anew only now and then.
        """
        now = self._clock.monotonic()
        if now < self._warm_until:
            return "warmed_up"
        states = [warm_up.state for warm_up in self._warm_ups.values()]
        if any(s.in_time_window and not s.runs for s in states):
            return "warming_up"
        self._warm_until = now + WARM_FOR_SECONDS
        return "warmed_up"

    def stats(self) -> dict[str, Any]:
        """`{name: state}` as `/status` shows it."""
        working = {name: warm_up.state for name, warm_up in self._warm_ups.items()}
        return {name: state.to_dict() for name, state in {**working, **self._broken}.items()}

    def _add(
        self, number: int, entry: Mapping[str, Any], desk: Desk, build: Callable[[WarmUpConfig, Window], WarmUp]
    ) -> None:
        name = str(entry.get("name") or f"WARMUP_CONFIGS[{number}]")
        if name in self._warm_ups or name in self._broken:
            name = f"{name} (entry {number}: the name is taken)"
            problem: str | None = "the name is taken"
        else:
            problem = None
        try:
            if problem:
                raise ValueError(problem)
            config = WarmUpConfig.model_validate(entry)
            window = config.window(desk.calendar, desk.timezone)
            desk.params(config.params)
            self._warm_ups[name] = build(config, window)
        except Exception as error:  # noqa: BLE001 whatever is wrong with one entry must not stop the others
            problem = _one_line(error)
            self._broken[name] = WarmUpState(status="config_error", last_error=problem)
            log.error("bad warm-up entry", extra={"warmup": name, "error": problem})


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        found = [(".".join(map(str, d["loc"])), d["msg"].removeprefix("Value error, ")) for d in error.errors()]
        return "; ".join(f"{key}: {message}" for key, message in found)
    return error.message if isinstance(error, PositionServerError) else str(error)
