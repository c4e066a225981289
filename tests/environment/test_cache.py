"""The cache: what goes first, what stays, how long an entry is what; and against a small model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from position_server.environment.cache import Entry, EnvironmentCache, State
from position_server.outcomes import SectionOutcome
from position_server.params import BaseParams
from position_server.settings import CacheSettings
from tests.environment.examples import base_params, entry_of
from tests.fakes import failure, outcome

TTL, GRACE, ERROR_TTL = 15.0, 60.0, 5.0  # of LIVE, by default
OK, BAD = outcome("bonds"), failure("bonds")


def cache_of(**settings: Any) -> EnvironmentCache:
    return EnvironmentCache(CacheSettings(**settings))


def book(name: str, *outcomes: SectionOutcome) -> Entry:
    """An entry of the book of that name."""
    return entry_of(base_params((name,)), *outcomes)


def kept(cache: EnvironmentCache) -> list[str]:
    """The books kept, least recently used first."""
    return [key["key"]["books"][0] for key in cache.stats(0.0)["keys"]]


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_an_entry_is_found_by_its_key_whatever_the_order_of_books() -> None:
    cache, entry = cache_of(), entry_of(base_params(("A", "B")))
    cache.put(entry)
    assert cache.get(base_params(("B", "A", "B")).to_cache_key()) is entry
    assert cache.get(base_params(("A",)).to_cache_key()) is None


def test_a_new_entry_replaces_the_old_one_of_its_key() -> None:
    cache, newer = cache_of(), book("A", outcome("bonds", b'{"longer": "than before"}'))
    cache.put(book("A"))
    cache.put(newer)
    assert cache.get(newer.key) is newer
    assert (cache.count_entries(), cache.count_bytes()) == (1, newer.size)


def test_the_least_recently_used_goes_first() -> None:
    cache = cache_of(max_entries=2)
    cache.put(book("A"))
    cache.put(book("B"))
    cache.get(book("A").key)
    cache.put(book("C"))
    assert kept(cache) == ["A", "C"]
    assert cache.stats(0.0)["evictions"] == 1


def test_to_be_computed_anew_or_looked_at_is_no_use() -> None:
    cache = cache_of(max_entries=2)
    cache.put(book("A"))
    cache.put(book("B"))
    cache.put(book("A"))
    assert cache.peek(book("A").key) in cache.entries()
    cache.put(book("C"))
    assert kept(cache) == ["B", "C"]


def test_bytes_are_bounded() -> None:
    size = book("A").size
    cache = cache_of(max_mb=size * 2.5 / 1e6)
    for name in "ABCD":
        cache.put(book(name))
    assert kept(cache) == ["C", "D"]
    assert cache.count_bytes() == 2 * size


def test_an_entry_counts_its_body_and_the_data_kept_beside_it() -> None:
    """Of a million bytes of data there are two copies: one to send, one to go on with after a failure."""
    data = b'{"x":"' + b"x" * 1_000_000 + b'"}'
    assert 2_000_000 <= book("A", outcome("bonds", data)).size <= 2_010_000


def test_one_entry_above_the_bound_is_kept_alone() -> None:
    cache = cache_of(max_mb=0.000001)
    cache.put(book("A"))
    cache.put(book("B"))
    assert kept(cache) == ["B"]


def test_a_pinned_entry_stays_however_long_it_was_not_used() -> None:
    cache = cache_of(max_entries=2)
    cache.pin("SOD_MAIN", book("A").key)
    for name in "ABCD":
        cache.put(book(name))
    assert kept(cache) == ["A", "D"]


def test_pinning_another_key_lets_the_first_go() -> None:
    cache = cache_of(max_entries=1)
    cache.put(book("A"))
    cache.pin("SOD_MAIN", book("A").key)
    cache.pin("SOD_MAIN", book("B").key)
    cache.put(book("B"))
    assert kept(cache) == ["B"]


def test_a_key_that_two_warm_ups_pin_stays_while_one_of_them_does() -> None:
    cache = cache_of(max_entries=1)
    cache.pin("ONE", book("A").key)
    cache.pin("OTHER", book("A").key)
    cache.pin("ONE", book("Z").key)
    cache.put(book("A"))
    cache.put(book("B"))
    assert kept(cache) == ["A", "B"]


# --- how long an entry is what ---------------------------------------------------------------------------------------


def after_good(*outcomes: SectionOutcome) -> Entry:
    """The entry of these outcomes, computed at 1000 over one that was all good."""
    old = entry_of(None, OK, outcome("futures"), created=900.0)
    return entry_of(None, *outcomes, created=1000.0, old=old)


@pytest.mark.parametrize(
    ("entry", "age", "expected"),
    [
        (entry_of(None, OK), 0.0, State.FRESH),
        (entry_of(None, OK), TTL - 0.01, State.FRESH),
        (entry_of(None, OK), TTL, State.GRACE),
        (entry_of(None, OK), TTL + GRACE - 0.01, State.GRACE),
        (entry_of(None, OK), TTL + GRACE, State.EXPIRED),
        (after_good(BAD, outcome("futures")), ERROR_TTL - 0.01, State.FRESH),
        (after_good(BAD, outcome("futures")), ERROR_TTL, State.GRACE),
        (after_good(BAD, failure("futures")), ERROR_TTL, State.GRACE),  # stale data are data
        (entry_of(None, OK, failure("futures")), ERROR_TTL, State.GRACE),
        (entry_of(None, BAD), ERROR_TTL - 0.01, State.FRESH),
        (entry_of(None, BAD), ERROR_TTL, State.EXPIRED),  # nothing good to serve
    ],
)
def test_an_entry_is_fresh_then_in_grace_then_expired(entry: Entry, age: float, expected: State) -> None:
    assert cache_of().state(entry, entry.created + age) is expected


@pytest.mark.parametrize(("time_of_day", "ttl"), [("SOD", 3600.0), ("EOD", 900.0), ("LIVE", 15.0)])
def test_each_time_of_day_has_its_own_ttl(time_of_day: str, ttl: float) -> None:
    entry = entry_of(base_params(time_of_day=time_of_day))
    assert cache_of().state(entry, 1000.0 + ttl - 0.01) is State.FRESH
    assert cache_of().state(entry, 1000.0 + ttl) is State.GRACE


def test_an_error_is_not_fresh_for_longer_than_good_data_would_be() -> None:
    cache = cache_of(ttl_seconds={"SOD": 1, "EOD": 1, "LIVE": 1})
    assert cache.state(entry_of(None, BAD), 1001.0) is State.EXPIRED


def test_the_age_is_that_of_the_oldest_data_among_the_sections_asked_for() -> None:
    entry = after_good(BAD, outcome("futures"))
    assert entry.age(1010.0) == 110.0
    assert entry.age(1010.0, ["futures"]) == 10.0


# --- what operators see ----------------------------------------------------------------------------------------------


def test_hits_and_misses_make_a_ratio_and_nothing_asked_has_none() -> None:
    cache = cache_of()
    assert cache.stats(0.0)["hit_ratio"] is None
    for hit in (True, True, False):
        cache.count(hit=hit)
    stats = cache.stats(0.0)
    assert (stats["hits"], stats["misses"], stats["hit_ratio"]) == (2, 1, 0.6667)


def test_every_key_is_described() -> None:
    cache = cache_of()
    cache.put(after_good(BAD, outcome("futures")))
    assert cache.stats(1020.0)["keys"] == [
        {
            "key": base_params().to_dict(),
            "sections": {"bonds": "stale", "futures": "ok"},
            "version": 2,
            "age_seconds": 120.0,
            "state": "grace",
        }
    ]


# --- against a model -------------------------------------------------------------------------------------------------

BOOKS = st.sampled_from("ABCDEF")
OWNERS = st.sampled_from(["ONE", "OTHER"])


def base_of(name: str) -> BaseParams:
    return base_params((name,))


class CacheMachine(RuleBasedStateMachine):
    """The cache beside a list of (book, size) in the order of use."""

    @initialize(entries=st.integers(1, 4), kilobytes=st.integers(3, 30))
    def start(self, entries: int, kilobytes: int) -> None:
        self.bounds = (entries, kilobytes * 1000)
        self.cache = cache_of(max_entries=entries, max_mb=kilobytes / 1000)
        self.model: list[tuple[str, int]] = []
        self.pinned: dict[str, str] = {}
        self.evictions = 0

    @rule(name=BOOKS, length=st.integers(0, 4000))
    def put(self, name: str, length: int) -> None:
        entry = book(name, outcome("bonds", b'"' + b"x" * length + b'"'))
        self.cache.put(entry)
        names = [item[0] for item in self.model]
        at = names.index(name) if name in names else len(names)  # what is computed anew keeps its place
        self.model[at : at + 1] = [(name, entry.size)]
        for item in list(self.model):
            if item[0] not in {name, *self.pinned.values()} and self.is_too_much():
                self.model.remove(item)
                self.evictions += 1

    @rule(name=BOOKS)
    def get(self, name: str) -> None:
        found = self.cache.get(base_of(name).to_cache_key())
        item = next((item for item in self.model if item[0] == name), None)
        assert (found and found.size) == (item and item[1])
        if item:
            self.model.remove(item)
            self.model.append(item)

    @rule(owner=OWNERS, name=BOOKS)
    def pin(self, owner: str, name: str) -> None:
        self.cache.pin(owner, base_of(name).to_cache_key())
        self.pinned[owner] = name

    def is_too_much(self) -> bool:
        return len(self.model) > self.bounds[0] or sum(size for _, size in self.model) > self.bounds[1]

    @invariant()
    def keeps_what_the_model_keeps(self) -> None:
        assert kept(self.cache) == [name for name, _ in self.model]
        assert self.cache.count_bytes() == sum(size for _, size in self.model)
        assert self.cache.stats(0.0)["evictions"] == self.evictions


TestCacheAgainstAModel = CacheMachine.TestCase
TestCacheAgainstAModel.settings = hypothesis_settings(max_examples=40, stateful_step_count=25, deadline=None)
