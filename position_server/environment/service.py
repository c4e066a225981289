"""The environment service: answers from the cache, computes what is missing once, and never lets good data go.

The face of this room: handlers, warm-ups and the application object call it. It prices and encodes nothing itself.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from position_server.clock import Clock
from position_server.compute import tasks
from position_server.compute.pool import ComputePool, Kind, Task
from position_server.environment.cache import Entry, EnvironmentCache, Key, State
from position_server.environment.catalogue import Catalogue
from position_server.environment.demands import is_served, may_stand_in, refuse_what_is_not_fresh
from position_server.environment.envelope import encode_sections, share_bytes
from position_server.environment.freshness import merge
from position_server.environment.orchestrator import Orchestrator, Outcomes
from position_server.environment.section_statistics import SectionStatistics
from position_server.errors import Busy, Starting
from position_server.metrics import Metrics
from position_server.params import BaseParams, ReadOptions, RequestParams
from position_server.settings import Settings

LIST_SECTIONS_SECONDS = 60.0  # a worker's first import of numpy and all sections, on a slow disk


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send: the entry (one that is in no cache, for a what-if), and whether it was there already."""

    entry: Entry
    hit: bool


class EnvironmentService:
    """Environments by parameters. `read` and `what_if` belong to the event loop, `refresh` to threads that may wait."""

    def __init__(
        self,
        *,
        pool: ComputePool,
        threads: Executor,
        clock: Clock,
        settings: Settings,
        business_date: Callable[[], date],
        metrics: Metrics,
    ) -> None:
        self._pool = pool
        self._threads = threads
        self._clock = clock
        self._expose_tracebacks = settings.expose_tracebacks
        self._max_wait_seconds = settings.server.max_wait_seconds
        self._metrics = metrics
        self._hits = metrics.environment_answers.labels("hit")
        self._misses = metrics.environment_answers.labels("miss")
        self.cache = EnvironmentCache(settings.cache)
        self.statistics = SectionStatistics(metrics)
        self.catalogue: Future[Catalogue] = Future()
        self._restored: Future[None] = Future()
        self._orchestrator = Orchestrator(
            pool=pool,
            threads=threads,
            clock=clock,
            timeout_of=settings.timeout_of,
            business_date=business_date,
            statistics=self.statistics,
        )
        self._lock = threading.Lock()  # guards _flights
        self._flights: dict[Key, Future[Entry]] = {}

    def start(self, restored: Future[None] | None = None) -> None:
        """Has every worker import the sections; the first one's list becomes the catalogue, or its error does.

        It is not known before `restored` is done: what was kept on the disk comes first, then what is computed over it.
        """
        if restored is None:
            self._restored.set_result(None)
        else:
            self._restored = restored
        listing = Task(tasks.LIST_SECTIONS, (), LIST_SECTIONS_SECONDS)
        first, *_ = self._pool.submit(Kind.MISS, [listing] * self._pool.workers)
        first.add_done_callback(lambda done: self._restored.add_done_callback(lambda _: self._learn(done)))

    async def read(self, base: BaseParams, options: ReadOptions) -> Answer:
        """The environment from the cache if it is fresh enough, else computed once for all who ask.

        Raises BadRequest for an unknown section, Busy, and NotFresh where `options` ask for more than can be had.
        """
        if not self.catalogue.done():
            restored = await self._read_restored(base, options)
            if restored is not None:
                return restored
        catalogue = await self.known_catalogue()
        catalogue.check_names(options.sections)
        entry, state, now = self._kept(base)
        if entry is not None and is_served(entry, state, options, now):
            if state is State.GRACE:
                self._refresh_behind(base, entry)
            return self._answer(entry, hit=True)
        return await self._read_through(base, options, entry)

    async def what_if(self, request: RequestParams) -> Answer:
        """The environment with overrides: always computed, never kept. Raises BadRequest, Busy and Starting."""
        if not self.catalogue.done():
            raise Starting
        catalogue = self.catalogue.result()
        catalogue.check_overrides(request.section_params)
        base = request.base.canonical()
        flight = self._orchestrator.fetch_all_sections(catalogue, base, request.section_params, Kind.WHAT_IF)
        outcomes = await self._bounded(flight)
        self._metrics.environment_answers.labels("what_if").inc()
        loop = asyncio.get_running_loop()
        entry = await loop.run_in_executor(self._threads, self._entry, base, None, outcomes)
        return Answer(entry, hit=False)

    def refresh(self, base: BaseParams) -> Entry:
        """Computes the environment anew (or joins who is doing so) and waits for it; for warm-up threads."""
        self.catalogue.result(LIST_SECTIONS_SECONDS)
        return self._fly(base, Kind.WARMUP).result()

    def begin_refresh(self, base: BaseParams) -> Future[Entry]:
        """Starts computing the environment anew (or joins who is doing so), behind what is served; waits for nothing.

        Raises Busy and Starting.
        """
        if not self.catalogue.done():
            raise Starting
        return self._fly(base, Kind.REFRESH, anew=True)

    def under_way(self) -> dict[Key, Future[Entry]]:
        """What is being computed now. An entry is in the cache before its computation leaves this list."""
        with self._lock:
            return dict(self._flights)

    def stats(self) -> dict[str, Any]:
        """`{cache, sections, compute}` as `/status` shows them."""
        stats = self.cache.stats(self._clock.monotonic())
        return {"cache": stats, "sections": self.statistics.stats(), "compute": self._pool.stats()}

    async def known_catalogue(self) -> Catalogue:
        """The catalogue, waited for in the server's first second. Raises Busy and what broke a section."""
        if self.catalogue.done():
            return self.catalogue.result()
        catalogue: Catalogue = await self._bounded(self.catalogue)
        return catalogue

    @property
    def sections_now(self) -> Catalogue | None:
        """The catalogue where it is known already; None before, and where a section is broken."""
        known = self.catalogue.done() and self.catalogue.exception() is None
        return self.catalogue.result() if known else None

    def observe(self) -> None:
        """Brings the gauges of the metrics up to date."""
        metrics, compute = self._metrics, self._pool.stats()
        metrics.cache_entries.set(self.cache.count_entries())
        metrics.cache_bytes.set(self.cache.count_bytes())
        metrics.workers_busy.set(compute["busy"])
        for kind, length in compute["queue"].items():
            metrics.queue_length.labels(kind).set(length)

    # --- reading through ---------------------------------------------------------------------------------------

    def _kept(self, base: BaseParams) -> tuple[Entry | None, State, float]:
        now = self._clock.monotonic()
        entry = self.cache.get(base.to_cache_key())
        return entry, State.EXPIRED if entry is None else self.cache.state(entry, now), now

    async def _read_restored(self, base: BaseParams, options: ReadOptions) -> Answer | None:
        """What a restart found on the disk: the answer while sections are unknown, so that nothing can be refreshed."""
        await self._bounded(self._restored)
        entry, state, now = self._kept(base)
        if entry is None or not entry.states.keys() >= set(options.sections or ()):
            return None
        return self._answer(entry, hit=True) if is_served(entry, state, options, now) else None

    async def _read_through(self, base: BaseParams, options: ReadOptions, old: Entry | None) -> Answer:
        try:
            entry = await self._bounded(self._fly(base, Kind.MISS, seen=old))
        except Busy as busy:
            if old is None or not may_stand_in(old, options, self._clock.monotonic()):
                raise
            # Overload is a failure like any other: the last good data go on, marked stale.
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._stale, old, busy)
        refuse_what_is_not_fresh(entry, options, self._clock.monotonic())
        return self._answer(entry, hit=False)

    def _answer(self, entry: Entry, *, hit: bool) -> Answer:
        if hit:
            self.count_hit()
        else:
            self.cache.count(hit=False)
            self._misses.inc()
        return Answer(entry, hit)

    def count_hit(self) -> None:
        """Counts an answer from the cache, given here or by the fast path."""
        self.cache.count(hit=True)
        self._hits.inc()

    def _stale(self, old: Entry, error: Exception) -> Answer:
        self.cache.count(hit=False)
        self._metrics.environment_answers.labels("stale").inc()
        outcomes = {name: self._orchestrator.failure(name, error) for name in old.states}
        states = merge(old.states, outcomes.values(), self._clock.monotonic())
        encoded = encode_sections(states, expose_tracebacks=self._expose_tracebacks)
        return Answer(replace(old, states=states, encoded=encoded), hit=False)

    # --- one computation per key -------------------------------------------------------------------------------

    def _fly(self, base: BaseParams, kind: Kind, *, seen: Entry | None = None, anew: bool = False) -> Future[Entry]:
        """The computation of this environment that is under way, or a new one. Raises Busy.

        A reader says which entry it has `seen`: where another landed since, that one is the answer, unless `anew`.
        """
        canonical = base.canonical()
        key = canonical.to_cache_key()
        # Under the lock: decide who computes.
        with self._lock:
            flight = self._flights.get(key)
            if flight is None and not anew and kind is not Kind.WARMUP:
                flight = self._landed_since(key, seen)
            if flight is not None:
                return flight
            flight = self._flights[key] = Future()
        try:
            outcomes = self._orchestrator.fetch_all_sections(self.catalogue.result(), canonical, None, kind)
        except BaseException as error:
            self._end_flight(key)
            flight.set_exception(error)  # whoever joined in the meantime
            raise
        outcomes.add_done_callback(lambda done: self._land(canonical, flight, done))
        return flight

    def _landed_since(self, key: Key, seen: Entry | None) -> Future[Entry] | None:
        entry = self.cache.get(key)
        if entry is None or entry is seen:
            return None
        landed: Future[Entry] = Future()
        landed.set_result(entry)
        return landed

    def _land(self, base: BaseParams, flight: Future[Entry], done: Future[Outcomes]) -> None:
        """Swaps the new entry in and wakes all who wait. Runs on the orchestrator's threads."""
        key = base.to_cache_key()
        try:
            entry = self._entry(base, self.cache.get(key), done.result())
            self.cache.put(entry)
        except BaseException as error:
            self._end_flight(key)
            flight.set_exception(error)
            raise
        self._end_flight(key)
        flight.set_result(entry)

    def _end_flight(self, key: Key) -> None:
        with self._lock:
            del self._flights[key]

    def _refresh_behind(self, base: BaseParams, seen: Entry) -> None:
        try:
            self._fly(base, Kind.REFRESH, seen=seen)
        except Busy:
            self._metrics.refused.labels("refresh").inc()  # the next reader tries again

    def _entry(self, base: BaseParams, old: Entry | None, outcomes: Outcomes) -> Entry:
        now = self._clock.monotonic()
        states = merge(old.states if old else None, outcomes.values(), now)
        encoded = encode_sections(states, expose_tracebacks=self._expose_tracebacks)
        version = old.version + 1 if old else 1
        return Entry(base.to_cache_key(), base, version, share_bytes(states, encoded), encoded, now)

    # --- waiting -----------------------------------------------------------------------------------------------

    async def _bounded(self, future: Future[Any]) -> Any:
        """Waits for what other askers may share: giving up here cancels nothing."""
        waiting = asyncio.shield(asyncio.wrap_future(future))
        try:
            return await asyncio.wait_for(waiting, self._max_wait_seconds)
        except TimeoutError as error:
            raise Busy(f"It was not computed within {self._max_wait_seconds:g} s.") from error

    def _learn(self, done: Future[Any]) -> None:
        error = done.exception()
        if error is not None:
            self.catalogue.set_exception(error)
            return
        catalogue = Catalogue.of(done.result())
        self.cache.forget_restored(catalogue.sections)
        self.statistics.know(list(catalogue.sections))
        self.catalogue.set_result(catalogue)
