"""The news file: what is found in it, in which order, and that a wrong line is named."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from position_server.errors import AgentFailed
from position_server.simulation.agents.news import search_file
from tests.simulation.agents.stand_in import Reply, answering, calls, decided, finish, toolbox

OPENING = datetime(2025, 6, 9, 9, 30, tzinfo=ZoneInfo("America/New_York"))


def written(folder: Path, *entries: dict[str, Any] | str) -> Path:
    file = folder / "configs" / "news.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join((e if isinstance(e, str) else json.dumps(e)) + "\n" for e in entries))
    return file


def titles(file: Path, query: str, most: int = 5) -> list[str]:
    return [one["title"] for one in search_file(file, "configs/news.jsonl", query, OPENING, most)]


def test_what_has_most_words_of_the_query_comes_first_then_the_newest(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {"time": "2025-06-02", "title": "Chips: old", "text": "rates"},
        {"time": "2025-06-05", "title": "chips, new"},
        {"time": "2025-06-03T10:00:00+00:00", "title": "Rates and CHIPS of NVDA", "symbols": ["NVDA"]},
        {"time": "2025-06-05", "title": "weather"},
        "",
    )
    assert titles(file, "chips rates nvda") == ["Rates and CHIPS of NVDA", "Chips: old", "chips, new"]
    assert titles(file, "NVDA") == ["Rates and CHIPS of NVDA"]
    assert titles(file, "chips", 2) == ["chips, new", "Rates and CHIPS of NVDA"]
    assert titles(file, "?!") == []


def test_nothing_after_the_opening_is_found(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {"time": "2025-06-09T09:30:00-04:00", "title": "just news"},
        {"time": "2025-06-09T13:30:01Z", "title": "later news"},
        {"time": "2025-06-09", "title": "news of the day"},
        {"time": "2025-06-08", "title": "news of the day before"},
        {"time": "2026-01-01", "title": "news of next year"},
    )
    assert titles(file, "news") == ["just news", "news of the day before"]


def test_an_entry_is_shown_with_what_it_has(tmp_path: Path) -> None:
    entry = {"time": "2025-06-05", "title": "T", "text": "x" * 3000, "source": "S", "symbols": ["A"]}
    found = search_file(written(tmp_path, entry), "n", "t", OPENING, 5)
    assert found == [{**entry, "text": "x" * 2000}]
    assert search_file(written(tmp_path, {"time": "2025-06-05", "title": "T"}), "n", "t", OPENING, 5) == [
        {"time": "2025-06-05", "title": "T"}
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2: the line: Invalid JSON"),
        ("[]", "line 2: the line: "),
        ('{"title": "x"}', "line 2: time: Field required"),
        ('{"time": "2025-06-05"}', "line 2: title: Field required"),
        ('{"time": "June", "title": "x"}', "line 2: time: is neither a moment nor a day"),
        ('{"time": "2025-06-05T10:00:00", "title": "x"}', "line 2: time: has no offset from UTC"),
        ('{"time": "2025-06-05", "title": "x", "titel": "x"}', "line 2: titel: Extra inputs"),
    ],
)
def test_a_wrong_line_is_named_even_where_it_would_not_be_found(line: str, problem: str, tmp_path: Path) -> None:
    file = written(tmp_path, {"time": "2025-06-05", "title": "fine"}, line)
    with pytest.raises(AgentFailed) as failed:
        titles(file, "nothing")
    assert failed.value.message.startswith(f"news_file: configs/news.jsonl, {problem}")


SEARCH: list[Reply] = [calls(("search", {"query": "chips"})), finish()]


def test_an_agent_searches_the_file_of_its_configuration(tmp_path: Path) -> None:
    written(tmp_path, {"time": "2025-06-05", "title": "chips"}, {"time": "2025-06-10", "title": "chips later"})
    with answering(SEARCH) as endpoint:
        tools = decided(toolbox(tmp_path, endpoint.environment), news_file="configs/news.jsonl")
    assert [json.loads(said) for said in endpoint.told()] == [{"results": [{"time": "2025-06-05", "title": "chips"}]}]
    assert (tools.calls["search"], tools.errors["search"]) == (1, 0)


def test_without_a_file_an_agent_is_told_that_there_is_no_news(tmp_path: Path) -> None:
    with answering(SEARCH) as endpoint:
        decided(toolbox(tmp_path, endpoint.environment))
    (said,) = map(json.loads, endpoint.told())
    assert said["results"] == []
    assert "no news" in said["note"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("configs/gone.jsonl", "news_file: configs/gone.jsonl cannot be read: No such file"),
        ("configs", "news_file: configs cannot be read: Is a directory"),
        ("../secret.jsonl", "news_file: must be inside configs/"),
        ("/etc/passwd", "news_file: must be inside configs/"),
        ("configs/\0", "news_file: is no path"),
    ],
)
def test_a_file_that_cannot_be_read_ends_the_day(name: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    with answering(SEARCH) as endpoint:
        tools = toolbox(tmp_path, endpoint.environment)
        with pytest.raises(AgentFailed) as failed:
            decided(tools, news_file=name)
    assert failed.value.message.startswith(problem)
