"""Keeping the last good data: what a new outcome makes of what was there."""

from __future__ import annotations

from datetime import timedelta

import pytest

from position_server.environment.freshness import SectionState, merge
from position_server.outcomes import SectionOutcome
from tests.fakes import NOON, failure, outcome

GOOD = outcome("bonds", b'{"n":1}')
NEWER = outcome("bonds", b'{"n":2}', at=NOON + timedelta(minutes=1))
BAD = failure("bonds", "no curve", at=NOON + timedelta(minutes=2))
WORSE = failure("bonds", "no store", at=NOON + timedelta(minutes=3))


def after(*outcomes: SectionOutcome) -> SectionState:
    """The state of `bonds` after these outcomes, one a second from 100 on."""
    states = None
    for second, one in enumerate(outcomes):
        states = merge(states, [one], 100.0 + second)
    assert states is not None
    return states["bonds"]


@pytest.mark.parametrize(
    ("outcomes", "status", "data", "error", "version"),
    [
        ([GOOD], "ok", GOOD.data, "", 1),
        ([BAD], "error", None, BAD.error_stack, 0),
        ([GOOD, NEWER], "ok", NEWER.data, "", 2),
        ([GOOD, BAD], "stale", GOOD.data, BAD.error_stack, 1),
        ([GOOD, BAD, WORSE], "stale", GOOD.data, WORSE.error_stack, 1),
        ([GOOD, BAD, NEWER], "ok", NEWER.data, "", 2),
        ([BAD, WORSE], "error", None, WORSE.error_stack, 0),
        ([BAD, GOOD], "ok", GOOD.data, "", 1),
        ([GOOD, BAD, NEWER, WORSE], "stale", NEWER.data, WORSE.error_stack, 2),
    ],
)
def test_each_outcome_leads_to_its_status_data_error_and_version(
    outcomes: list[SectionOutcome], status: str, data: bytes | None, error: str, version: int
) -> None:
    state = after(*outcomes)
    assert (state.status, state.outcome.data, state.error_stack, state.version) == (status, data, error, version)
    assert state.has_data is (data is not None)


def test_stale_since_is_the_first_failure_in_a_row() -> None:
    assert after(GOOD, BAD, WORSE).stale_since == BAD.computed_at
    assert after(GOOD, BAD, NEWER, WORSE).stale_since == WORSE.computed_at


def test_stale_data_keep_the_time_at_which_they_were_obtained() -> None:
    assert after(GOOD, BAD, WORSE).obtained == 100.0
    assert after(GOOD, BAD, NEWER).obtained == 102.0


def test_sections_fail_apart_and_are_sorted_by_name() -> None:
    before = merge(None, [outcome("spot"), outcome("bonds"), outcome("futures")], 1.0)
    states = merge(before, [failure("spot"), outcome("bonds"), outcome("futures")], 2.0)
    assert {name: state.status for name, state in states.items()} == {"bonds": "ok", "futures": "ok", "spot": "stale"}
    assert list(states) == ["bonds", "futures", "spot"]
