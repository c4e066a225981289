"""Triggers and queries as clients write them: defaults, every problem at once, and dates by a code of their own."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from position_server.errors import BadRequest, InvalidDate
from position_server.simulation.requests import ResultsQuery, TriggerRequest

ONE, TWO = date(2025, 9, 2), date(2025, 9, 3)


def test_an_empty_body_asks_for_what_is_due() -> None:
    assert TriggerRequest.from_body({}) == TriggerRequest()


def test_a_whole_body_is_read() -> None:
    body = {
        "config_path": "configs/a.json",
        "start_date": "2025-09-02",
        "end_date": "2025-09-03",
        "models": ["a"],
        "replace_existing": True,
    }
    assert TriggerRequest.from_body(body, "desk") == TriggerRequest("configs/a.json", ONE, TWO, ("a",), True, "desk")


def test_null_is_as_good_as_absent() -> None:
    body = dict.fromkeys(("config_path", "start_date", "end_date", "models"))
    assert TriggerRequest.from_body(body) == TriggerRequest()


@pytest.mark.parametrize("text", ["2025-02-30", "20250902", "2025-W36-2", "2025-9-2", "", "today", 20250902, ["x"]])
def test_what_is_no_date_is_an_invalid_date(text: object) -> None:
    with pytest.raises(InvalidDate, match="start_date: is not a date"):
        TriggerRequest.from_body({"start_date": text})


def test_a_range_that_ends_before_it_begins_is_an_invalid_date() -> None:
    with pytest.raises(InvalidDate, match="is after end_date"):
        TriggerRequest.from_body({"start_date": "2025-09-03", "end_date": "2025-09-02"})


def test_every_problem_is_named_at_once() -> None:
    body: dict[str, Any] = {"models": [], "replace_existing": "yes", "config_path": 1, "start": "x", "end_date": "x"}
    with pytest.raises(BadRequest) as refused:
        TriggerRequest.from_body(body)
    assert type(refused.value) is BadRequest
    fields = {problem.field for problem in refused.value.problems}
    assert fields == {"models", "replace_existing", "config_path", "start", "end_date"}


@pytest.mark.parametrize("models", ["a", [1], [""], {"a": 1}, [["a"]]])
def test_models_are_a_list_of_names(models: object) -> None:
    with pytest.raises(BadRequest, match="models"):
        TriggerRequest.from_body({"models": models})


def test_a_query_is_of_a_day_a_range_or_a_job() -> None:
    assert ResultsQuery.from_arguments({"date": "2025-09-02"}) == ResultsQuery(ONE, ONE, False)
    asked = {"start_date": "2025-09-02", "end_date": "2025-09-03", "model": "a", "detail": "full"}
    assert ResultsQuery.from_arguments(asked) == ResultsQuery(ONE, TWO, True, "a", None, True)
    assert ResultsQuery.from_arguments({"job_id": "1"}) == ResultsQuery(None, None, True, None, "1")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, InvalidDate),
        ({"model": "a"}, InvalidDate),
        ({"date": "2025-02-30"}, InvalidDate),
        ({"date": "2025-09-02", "start_date": "2025-09-02"}, InvalidDate),
        ({"start_date": "2025-09-02"}, InvalidDate),
        ({"start_date": "2025-09-03", "end_date": "2025-09-02"}, InvalidDate),
        ({"date": "2025-09-02", "detail": "some"}, BadRequest),
        ({"date": "2025-09-02", "day": "x"}, BadRequest),
    ],
)
def test_a_query_that_is_wrong_says_so(arguments: dict[str, str], error: type[BadRequest]) -> None:
    with pytest.raises(BadRequest) as refused:
        ResultsQuery.from_arguments(arguments)
    assert type(refused.value) is error
