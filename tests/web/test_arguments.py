"""What query strings and bodies say, field by field."""

from __future__ import annotations

import pytest

from position_server.errors import BadRequest
from position_server.web.arguments import Arguments, Body


def limit_of(query: str) -> int:
    arguments = Arguments(query, ("limit",))
    limit = arguments.limit(20, 1000)
    arguments.check()
    return limit


@pytest.mark.parametrize(("query", "limit"), [("", 20), ("limit=1", 1), ("limit=007", 7), ("limit=1000", 1000)])
def test_limits_are_whole_numbers_within_bounds(query: str, limit: int) -> None:
    assert limit_of(query) == limit


@pytest.mark.parametrize("text", ["", "0", "1001", "-1", "+5", "5.0", "1e2", "%205", "%D9%A3", "9" * 5000])
def test_any_other_limit_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="limit: must be a whole number from 1 to 1000"):
        limit_of(f"limit={text}")


def test_everything_wrong_with_a_body_is_said_at_once() -> None:
    body = Body(b'{"value": true, "day": "2025-02-30", "name": " ", "names": ["a", 7], "colour": 1}', ("value", "day"))
    body.number("value")
    body.day("day")
    body.name("name")
    body.names("names", 10)
    with pytest.raises(BadRequest) as refused:
        body.check()
    assert {problem.field for problem in refused.value.problems} == {
        "name",
        "names",
        "colour",
        "value",
        "day",
        "names.1",
    }
