"""How each section has been doing."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.environment.section_statistics import REMEMBERED, SectionStatistics, percentile
from position_server.metrics import Metrics
from tests.fakes import failure, outcome

NOTHING = {"runs": 0, "failures": 0, "timeouts": 0, "p50_ms": None, "p99_ms": None, "last_error": None}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.create()


@pytest.fixture
def statistics(metrics: Metrics) -> SectionStatistics:
    return SectionStatistics(metrics)


def test_known_sections_are_shown_before_their_first_run(statistics: SectionStatistics) -> None:
    statistics.know(["futures", "bonds"])
    assert statistics.stats() == {"bonds": NOTHING, "futures": NOTHING}


def test_knowing_a_section_again_forgets_nothing(statistics: SectionStatistics) -> None:
    statistics.record(outcome("bonds"), timed_out=False)
    statistics.know(["bonds"])
    assert statistics.stats()["bonds"]["runs"] == 1


def test_runs_failures_and_timeouts_are_counted_apart(statistics: SectionStatistics) -> None:
    statistics.record(outcome("bonds"), timed_out=False)
    statistics.record(failure("bonds", "no curve"), timed_out=False)
    statistics.record(failure("bonds", "too slow"), timed_out=True)
    record = statistics.stats()["bonds"]
    assert (record["runs"], record["failures"], record["timeouts"]) == (3, 2, 1)


def test_a_wrong_value_of_a_post_is_no_failure_of_the_section(statistics: SectionStatistics, metrics: Metrics) -> None:
    statistics.know(["bonds"])
    statistics.record(replace(failure("bonds", "a wrong value"), refused=True), timed_out=False)
    assert statistics.stats() == {"bonds": NOTHING}
    assert b'section_runs_total{outcome="refused",section="bonds"} 1.0' in metrics.render()


def test_the_last_error_stays_after_a_success(statistics: SectionStatistics) -> None:
    statistics.record(failure("bonds", "no curve"), timed_out=False)
    statistics.record(outcome("bonds"), timed_out=False)
    assert statistics.stats()["bonds"]["last_error"] == "ValueError: no curve"


def test_percentiles_are_of_the_last_runs_only(statistics: SectionStatistics) -> None:
    for duration_ms in [9_999] * 10 + [7] * REMEMBERED:
        statistics.record(replace(outcome("bonds"), duration_ms=duration_ms), timed_out=False)
    record = statistics.stats()["bonds"]
    assert (record["p50_ms"], record["p99_ms"]) == (7, 7)


def test_a_failure_is_logged_with_its_traceback(
    statistics: SectionStatistics, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        statistics.record(failure("bonds", "no curve"), timed_out=False)
    (record,) = caplog.records
    assert record.__dict__["section"] == "bonds"
    assert record.__dict__["traceback"].endswith("ValueError: no curve\n")


def test_a_success_is_not_logged(statistics: SectionStatistics, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        statistics.record(outcome("bonds"), timed_out=False)
    assert caplog.records == []


def test_runs_are_counted_in_the_metrics_by_outcome(statistics: SectionStatistics, metrics: Metrics) -> None:
    statistics.record(outcome("bonds"), timed_out=False)
    statistics.record(failure("bonds"), timed_out=False)
    statistics.record(failure("bonds"), timed_out=True)
    runs = {
        how: metrics.registry.get_sample_value(
            "position_server_section_runs_total", {"section": "bonds", "outcome": how}
        )
        for how in ("ok", "error", "timeout")
    }
    assert runs == {"ok": 1.0, "error": 1.0, "timeout": 1.0}


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7], 0.99, 7), ([1, 2, 3, 4], 0.5, 2), ([4, 1, 3, 2], 0.99, 4), (range(1, 101), 0.99, 99)],
)
def test_percentiles_are_nearest_ranks(values: list[int], share: float, expected: int | None) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.integers(0, 1000), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[int], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
