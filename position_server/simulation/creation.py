"""Triggers: reads the configuration, finds what is due, and creates the job, in one transaction with the decision.

Two creators at once, in one process or in several, go one after the other: the second sees what the first one did.
Callable from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from position_server.business_days import ONE_DAY, Calendar
from position_server.clock import Clock
from position_server.errors import Conflict, InvalidConfig, InvalidDate, NoPrices, Problem
from position_server.settings import SimulationSettings
from position_server.simulation import decision
from position_server.simulation.config import DEFAULT_CONFIG, SimulationConfig, read_config
from position_server.simulation.decision import Blocked, Create, Facts, There, Wanted
from position_server.simulation.due import Due, due, whole_range
from position_server.simulation.ownership import LEASE
from position_server.simulation.records import jobs, prices
from position_server.simulation.records.jobs import Job, NewJob
from position_server.simulation.requests import TriggerRequest
from position_server.store.engine import Store

RETRY_SECONDS = 3600  # prices of a further day come once a day

ModelEntries = Sequence[tuple[str, str, Mapping[str, Any]]]
CheckModels = Callable[[ModelEntries], Sequence[Problem]]  # asks a worker, which knows the kinds of models


@dataclass(frozen=True, slots=True)
class Created:
    """The trigger made this job."""

    job: Job


@dataclass(frozen=True, slots=True)
class Existing:
    """This job is what was triggered: it runs, or it is over."""

    job: Job


@dataclass(frozen=True, slots=True)
class UpToDate:
    """Nothing is due."""

    last_simulation_date: date | None
    next_trading_day: date


@dataclass(frozen=True, slots=True)
class Creation:
    """How jobs come to be. `root` is the folder that `configs` is in; `new_id` makes an id that no other job has."""

    store: Store
    root: Path
    settings: SimulationSettings
    calendar: Calendar
    currency: str
    clock: Clock
    owner: str
    check_models: CheckModels
    new_id: Callable[[], str]

    def trigger(self, request: TriggerRequest) -> Created | Existing | UpToDate:
        """What becomes of the request. Raises InvalidConfig, InvalidDate, Conflict, NoPrices, StoreUnavailable."""
        config_path = request.config_path or DEFAULT_CONFIG
        config = read_config(self.root, config_path).chosen(request.models)
        self._check_parameters(config)
        priced = self._priced_days(config, request)

        def decided(connection: Connection) -> Created | Existing | UpToDate:
            jobs.one_at_a_time(connection)
            return self._decide(connection, request, config_path, config, priced)

        return self.store.write_retried(decided)

    def _decide(
        self,
        connection: Connection,
        request: TriggerRequest,
        config_path: str,
        config: SimulationConfig,
        priced: tuple[date, date],
    ) -> Created | Existing | UpToDate:
        """One transaction: looks, decides, creates."""
        names = [entry.name for entry in config.models]
        last_completed = jobs.last_completed(connection, names)
        days = self._due(request, names, {name: day for name, (day, _) in last_completed.items()}, priced)
        identity = decision.identity_of(days, config) if days else ""
        wanted = Wanted(days, identity, config_path, request.start_date, request.replace_existing)
        facts = Facts(jobs.active(connection), jobs.by_identity(connection, identity), last_completed)
        decided = decision.decide(wanted, facts, self.settings.max_concurrent_jobs)
        if isinstance(decided, There):
            return Existing(decided.job)
        if isinstance(decided, Blocked):
            raise _conflict(connection, decided)
        if isinstance(decided, Create):
            return Created(self._create(connection, request, wanted, config, decided))
        last = max((day for day, _ in last_completed.values()), default=None)
        return UpToDate(last, self.calendar.next(last or priced[1]))

    def _create(
        self, connection: Connection, request: TriggerRequest, wanted: Wanted, config: SimulationConfig, new: Create
    ) -> Job:
        now = self.clock.now()
        jobs.give_up_identity(connection, wanted.identity)
        if new.forget_from is not None:
            jobs.forget(connection, wanted.due.models, new.forget_from)
        job_id = self.new_id()
        created = NewJob(
            job_id=job_id,
            slot=new.slot,
            identity=wanted.identity,
            config_path=wanted.config_path,
            config=config.chosen(wanted.due.models).as_json(),
            due=wanted.due,
            triggered_by=request.user,
            owner=self.owner,
            lease_until=now + LEASE,
            now=now,
        )
        jobs.create(connection, created)
        job = jobs.by_id(connection, job_id)
        assert job is not None, "it was created in this transaction"
        return job

    def _check_parameters(self, config: SimulationConfig) -> None:
        entries = [(f"models.{entry.name}", entry.kind, entry.params) for entry in config.models]
        problems = self.check_models(entries)
        if problems:
            raise InvalidConfig(problems)

    def _priced_days(self, config: SimulationConfig, request: TriggerRequest) -> tuple[date, date]:
        """The first and the last business day with prices. Raises NoPrices where they do not reach far enough."""
        with self.store.read() as connection:
            found = prices.priced_days(connection, self.currency, config.universe)
        if found is None:
            raise NoPrices("The store has no opening prices of the universe.", retry_after_seconds=RETRY_SECONDS)
        first, last = found[0], self.calendar.on_or_before(found[1])
        start, end = request.start_date, request.end_date
        too_early = start is not None and self.calendar.next(start - ONE_DAY) < first
        too_late = any(day is not None and self.calendar.on_or_before(day) > last for day in (start, end))
        if too_early or too_late:
            raise NoPrices(f"The store's prices reach from {first} to {last}.", retry_after_seconds=RETRY_SECONDS)
        return first, last

    def _due(
        self,
        request: TriggerRequest,
        models: Sequence[str],
        last_completed: Mapping[str, date],
        priced: tuple[date, date],
    ) -> Due:
        end = request.end_date or priced[1]
        if request.start_date is None:
            first = max(self.settings.start_date or priced[0], priced[0])
            return due(models, last_completed, first=first, last=end, calendar=self.calendar)
        days = whole_range(models, start=request.start_date, end=end, calendar=self.calendar)
        if not days:
            raise InvalidDate([Problem("start_date", f"there is no business day from {request.start_date} to {end}")])
        return days


def _conflict(connection: Connection, blocked: Blocked) -> Conflict:
    job = jobs.by_id(connection, blocked.job_id)
    days = [day.isoformat() for day in job.date_range] if job is not None else []
    return Conflict(blocked.message, job_id=blocked.job_id, date_range=days)
