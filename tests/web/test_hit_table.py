"""The table of URIs: bounded in every direction, and it forgets with the cache."""

from __future__ import annotations

from dataclasses import replace

import pytest

from position_server.environment.cache import Entry, EnvironmentCache
from position_server.environment.envelope import encode_sections
from position_server.environment.freshness import merge
from position_server.settings import CacheSettings
from position_server.web.answers import Question
from position_server.web.hits import LONGEST_URI, MOST_ANSWERS, HitTable
from tests.environment.examples import base_params
from tests.fakes import outcome


def entry_of(book: str) -> Entry:
    base, states = base_params((book,)), merge(None, [outcome("bonds")], 0.0)
    return Entry(base.to_cache_key(), base, 1, states, encode_sections(states, expose_tracebacks=True), 0.0)


def asked(spelling: object) -> Question:
    return Question.of(f"curl {spelling}", {"request_params": None, "section_params": None}, None)


@pytest.fixture
def cache() -> EnvironmentCache:
    return EnvironmentCache(CacheSettings(max_entries=1))


def test_a_uri_is_forgotten_when_its_entry_has_left_the_cache(cache: EnvironmentCache) -> None:
    table, entry = HitTable(cache), entry_of("CUPS")
    cache.put(entry)
    table.remember("desk", "/a", entry.key, asked("a"))
    assert table.find("desk", "/a", 1.0) is not None
    cache.put(entry_of("YCSO"))
    assert table.find("desk", "/a", 1.0) is None
    assert len(table) == 0


def test_an_entry_past_its_time_is_no_hit(cache: EnvironmentCache) -> None:
    table, entry = HitTable(cache), entry_of("CUPS")
    cache.put(entry)
    table.remember("desk", "/a", entry.key, asked("a"))
    assert table.find("desk", "/a", cache.fresh_until(entry)) is None


def test_a_new_entry_gives_a_new_answer(cache: EnvironmentCache) -> None:
    table, entry = HitTable(cache), entry_of("CUPS")
    cache.put(entry)
    table.remember("desk", "/a", entry.key, asked("a"))
    first = table.find("desk", "/a", 1.0)
    assert table.find("desk", "/a", 1.0) is first
    cache.put(replace(entry, version=2, answers={}))
    assert table.find("desk", "/a", 1.0) is not first


def test_the_least_recently_used_uri_goes_first(cache: EnvironmentCache) -> None:
    table, entry = HitTable(cache, most=2), entry_of("CUPS")
    cache.put(entry)
    for uri in ("/a", "/b"):
        table.remember("desk", uri, entry.key, asked(uri))
    table.find("desk", "/a", 1.0)
    table.remember("desk", "/c", entry.key, asked("c"))
    assert [table.find("desk", uri, 1.0) is not None for uri in ("/a", "/b", "/c")] == [True, False, True]


@pytest.mark.parametrize(("host", "uri"), [("desk", "/" * LONGEST_URI), ("d" * LONGEST_URI, "/a")])
def test_long_names_are_not_remembered(cache: EnvironmentCache, host: str, uri: str) -> None:
    table = HitTable(cache)
    table.remember(host, uri, entry_of("CUPS").key, asked("a"))
    assert len(table) == 0


def test_one_entry_asked_in_many_spellings_keeps_few_answers(cache: EnvironmentCache) -> None:
    table, entry = HitTable(cache), entry_of("CUPS")
    cache.put(entry)
    for number in range(3 * MOST_ANSWERS):
        table.remember(f"host-{number}", "/a", entry.key, asked(number))
        assert table.find(f"host-{number}", "/a", 1.0) is not None
        assert len(entry.answers) <= MOST_ANSWERS
