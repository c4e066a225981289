"""Counters and histograms of one server, in a registry of its own (two servers in one process share nothing)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

# A hit takes about a tenth of a millisecond and a computation up to its timeout of seconds.
REQUEST_SECONDS = (0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SECTION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LIVE_SECONDS = (0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
PREFIX = "position_server"


class RequestMetrics(Collector):
    """Requests answered and how long that took: plain numbers, made Prometheus' families when they are asked for.

    Recorded by the event loop alone, hence without the locks of a Counter, which cost a hit a tenth of its time.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def record(self, route: str, method: str, status: str, seconds: float) -> None:
        """One more request."""
        key = (route, method, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        buckets = self._buckets.get(route)
        if buckets is None:
            buckets = self._buckets[route] = [0] * (len(REQUEST_SECONDS) + 1)
        buckets[bisect_left(REQUEST_SECONDS, seconds)] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def collect(self) -> Iterator[Metric]:
        """Called by the registry, on any thread: works on copies."""
        requests = CounterMetricFamily(f"{PREFIX}_requests", "Requests answered.", labels=["route", "method", "status"])
        for labels, count in self._counts.copy().items():
            requests.add_metric(labels, count)
        yield requests
        times = HistogramMetricFamily(f"{PREFIX}_request_seconds", "Time to answer.", labels=["route"])
        bounds = [*map(floatToGoString, REQUEST_SECONDS), "+Inf"]
        for route, buckets in self._buckets.copy().items():
            below = zip(bounds, accumulate(buckets), strict=True)
            times.add_metric([route], [(bound, float(count)) for bound, count in below], self._seconds.get(route, 0.0))
        yield times


@dataclass(frozen=True, slots=True)
class Metrics:
    """What `GET /metrics` shows."""

    registry: CollectorRegistry
    requests: RequestMetrics
    environment_answers: Counter
    section_runs: Counter
    section_seconds: Histogram
    refused: Counter
    cache_entries: Gauge
    cache_bytes: Gauge
    queue_length: Gauge
    workers_busy: Gauge
    warmup_runs: Counter
    events: Counter
    live_events: Counter
    live_refreshes: Counter
    live_coalesced: Counter
    live_seconds: Histogram
    provider_calls: Counter
    provider_waits: Counter
    asset_updates: Counter
    assets_waiting: Gauge
    content_type: str = field(default="text/plain; version=0.0.4; charset=utf-8")

    @classmethod
    def create(cls) -> Metrics:
        """Fresh metrics in a registry of their own."""
        own = CollectorRegistry()
        ProcessCollector(registry=own)
        requests = RequestMetrics()
        own.register(requests)
        return cls(
            registry=own,
            requests=requests,
            environment_answers=Counter(
                f"{PREFIX}_environment_answers", "Environments answered, by how.", ["how"], registry=own
            ),
            section_runs=Counter(
                f"{PREFIX}_section_runs", "Computations of sections, by outcome.", ["section", "outcome"], registry=own
            ),
            section_seconds=Histogram(
                f"{PREFIX}_section_seconds", "Time to compute.", ["section"], buckets=SECTION_SECONDS, registry=own
            ),
            refused=Counter(
                f"{PREFIX}_refused", "Computations refused because the queue was full.", ["kind"], registry=own
            ),
            cache_entries=Gauge(f"{PREFIX}_cache_entries", "Environments in the cache.", registry=own),
            cache_bytes=Gauge(f"{PREFIX}_cache_bytes", "Bytes of the environments in the cache.", registry=own),
            queue_length=Gauge(f"{PREFIX}_compute_queue", "Computations that wait.", ["kind"], registry=own),
            workers_busy=Gauge(f"{PREFIX}_compute_busy", "Computations that run.", registry=own),
            warmup_runs=Counter(f"{PREFIX}_warmup_runs", "Runs of warm-ups.", ["warmup", "outcome"], registry=own),
            events=Counter(f"{PREFIX}_events", "Events on the bus, by what became of them.", ["what"], registry=own),
            live_events=Counter(f"{PREFIX}_live_events", "Events LIVE environments saw.", ["kind"], registry=own),
            live_refreshes=Counter(
                f"{PREFIX}_live_refreshes", "LIVE environments computed anew after events.", ["outcome"], registry=own
            ),
            live_coalesced=Counter(
                f"{PREFIX}_live_coalesced", "Events that a refresh already waiting takes along.", registry=own
            ),
            live_seconds=Histogram(
                f"{PREFIX}_live_seconds", "Time from an event to the new LIVE.", buckets=LIVE_SECONDS, registry=own
            ),
            provider_calls=Counter(f"{PREFIX}_provider_calls", "Calls of the updater of quotes.", registry=own),
            provider_waits=Counter(f"{PREFIX}_provider_waits", "Those that waited for the call budget.", registry=own),
            asset_updates=Counter(
                f"{PREFIX}_asset_updates", "Updates of assets, by outcome.", ["outcome"], registry=own
            ),
            assets_waiting=Gauge(f"{PREFIX}_assets_waiting", "Assets that wait to be fetched.", registry=own),
        )

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
