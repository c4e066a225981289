"""The service put together from the settings: what a server and a command have in common."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from position_server.business_days import Calendar
from position_server.clock import Clock
from position_server.compute import tasks
from position_server.compute.pool import ComputePool, Kind, Task
from position_server.errors import Problem
from position_server.settings import CONFIG_FILE, Settings
from position_server.simulation.creation import CheckModels, ModelEntries
from position_server.simulation.jobs import JobService, Parts
from position_server.store.engine import Store

CHECK_SECONDS = 30.0  # the first check imports the models


def job_service(settings: Settings, store: Store, clock: Clock, check_models: CheckModels) -> JobService:
    """The service on this store. Each job has worker processes of its own, which end with it."""

    def open_pool() -> ComputePool:
        compute = settings.compute
        return ComputePool(
            tasks.OPEN_SIMULATION,
            (settings.store_url, settings.base_currency),
            workers=compute.worker_count,
            queue=compute.queue,
            niceness=compute.nice,
            memory_mb=compute.memory_mb,
        )

    return JobService(
        Parts(
            store=store,
            settings=settings.simulation,
            calendar=Calendar.named(settings.calendar),
            currency=settings.base_currency,
            clock=clock,
            data_dir=settings.data_dir,
            root=CONFIG_FILE.parent,
            open_pool=open_pool,
            check_models=check_models,
            new_id=lambda: uuid.uuid4().hex,
        )
    )


def checked_by(pool: ComputePool) -> CheckModels:
    """Has a worker of `pool` check the kinds and parameters of models: importing them here would bring numpy."""

    def check(entries: ModelEntries) -> Sequence[Problem]:
        (future,) = pool.submit(Kind.WHAT_IF, [Task(tasks.CHECK_MODELS, (entries,), CHECK_SECONDS)])
        found: Sequence[Problem] = future.result()
        return found

    return check
