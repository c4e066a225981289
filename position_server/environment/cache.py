"""The cache: a lock-protected dictionary of immutable, versioned entries, bounded by entries and bytes.

Computes nothing and waits for nothing: the lock covers the dictionary only. How long an entry is fresh is a function of
its time_of_day and of its sections; what a caller does with one that is not is the service's decision.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from position_server.environment.envelope import EncodedSections
from position_server.environment.freshness import SectionState, States
from position_server.params import BaseParams
from position_server.settings import CacheSettings

Key = tuple[Hashable, ...]
ENTRY_OVERHEAD = 2_000  # bytes beside the body: key, states, dictionary slots; measured on CPython 3.11


class State(Enum):
    """What may be done with an entry of this age."""

    FRESH = "fresh"  # a hit
    GRACE = "grace"  # served at once while one refresh starts behind it
    EXPIRED = "expired"  # a miss; its data stay the last good ones


@dataclass(frozen=True, slots=True)
class Entry:
    """One environment as it was computed: its sections, their bytes, and when (monotonic) the server had it.

    For a restored one that is when it was restored; its sections know how old their data are.
    """

    key: Key
    base: BaseParams
    version: int
    states: States
    encoded: EncodedSections
    created: float
    restored: bool = False  # from the disk, by this process; nothing has been computed over it yet
    # What the web has prepared from this entry, by question; the event loop's. Here, so that it goes with the entry.
    answers: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Bytes that this entry holds; the data of its states are views into them."""
        return self.encoded.size + ENTRY_OVERHEAD

    @property
    def all_ok(self) -> bool:
        """Whether every section is good and new."""
        return all(state.status == "ok" for state in self.states.values())

    @property
    def has_data(self) -> bool:
        """Whether any section has something to show."""
        return any(state.has_data for state in self.states.values())

    def chosen(self, names: Sequence[str] | None) -> list[SectionState]:
        """The sections named, all where None."""
        return [state for name, state in self.states.items() if names is None or name in names]

    def oldest_obtained(self, names: Sequence[str] | None = None) -> float | None:
        """The monotonic time of the oldest data among the sections named (all where None); None without any."""
        return min((state.obtained for state in self.chosen(names) if state.has_data), default=None)

    def age(self, now: float, names: Sequence[str] | None = None) -> float:
        """Seconds since the oldest data among the sections named (all where None) were computed; 0 without any."""
        oldest = self.oldest_obtained(names)
        return 0.0 if oldest is None else max(0.0, now - oldest)


class EnvironmentCache:
    """Entries by key; the least recently used goes first, and pinned keys (warm-ups) stay."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()  # guards everything below
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._pinned: dict[str, Key] = {}
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._evictions = 0

    def get(self, key: Key) -> Entry | None:
        """The entry of any age, now the most recently used."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def peek(self, key: Key) -> Entry | None:
        """The entry of any age; this is no use of it."""
        with self._lock:
            return self._entries.get(key)

    def entries(self) -> list[Entry]:
        """All entries as of now; this is no use of them."""
        with self._lock:
            return list(self._entries.values())

    def most_wanted(self) -> list[Entry]:
        """All entries as of now: the pinned ones, then the most recently used first."""
        with self._lock:
            newest_first, pinned = [*reversed(self._entries.values())], set(self._pinned.values())
        return sorted(newest_first, key=lambda entry: entry.key not in pinned)

    def forget_restored(self, sections: Collection[str]) -> int:
        """Lets restored entries go that are not of exactly these sections; how many did."""
        with self._lock:
            others = [e for e in self._entries.values() if e.restored and e.states.keys() != set(sections)]
            for entry in others:
                self._bytes -= self._entries.pop(entry.key).size
        return len(others)

    def put(self, entry: Entry) -> None:
        """Replaces the key's entry, and lets others go where a bound is passed. To be computed anew is no use."""
        with self._lock:
            old = self._entries.get(entry.key)
            self._entries[entry.key] = entry
            self._bytes += entry.size - (old.size if old else 0)
            self._evict(keep=entry.key)

    def pin(self, owner: str, key: Key) -> None:
        """Keeps the key's entry from being evicted, until the owner (a warm-up) pins another."""
        with self._lock:
            self._pinned[owner] = key

    def count(self, *, hit: bool) -> None:
        """Counts an answer given from the cache, or one that had to be computed."""
        with self._lock:
            if hit:
                self._hits += 1
            else:
                self._misses += 1

    def count_entries(self) -> int:
        """Environments kept now."""
        return len(self._entries)

    def count_bytes(self) -> int:
        """Bytes kept now."""
        return self._bytes

    def state(self, entry: Entry, now: float) -> State:
        """Fresh within ttl, grace after it, else expired. Nothing good to show is never served twice past its time."""
        if now < self.fresh_until(entry):
            return State.FRESH
        ttl = self._settings.ttl_seconds[entry.base.time_of_day]  # type: ignore[index]  # checked by ParamReader
        grace = self._settings.grace_seconds[entry.base.time_of_day]  # type: ignore[index]
        return State.GRACE if entry.has_data and now < entry.created + ttl + grace else State.EXPIRED

    def fresh_until(self, entry: Entry) -> float:
        """The monotonic time at which the entry stops being a hit. A restored one never is: grace begins at once."""
        if entry.restored:
            return entry.created
        ttl = self._settings.ttl_seconds[entry.base.time_of_day]  # type: ignore[index]
        return entry.created + (ttl if entry.all_ok else min(ttl, self._settings.error_ttl_seconds))

    def stats(self, now: float) -> dict[str, Any]:
        """What `/status` shows of the cache."""
        with self._lock:
            entries = list(self._entries.values())
            asked = self._hits + self._misses
            counts = {
                "size": len(entries),
                "bytes": self._bytes,
                "hits": self._hits,
                "misses": self._misses,
                "hit_ratio": round(self._hits / asked, 4) if asked else None,
                "evictions": self._evictions,
            }
        return {**counts, "keys": [self._describe(entry, now) for entry in entries]}

    def _describe(self, entry: Entry, now: float) -> Mapping[str, Any]:
        return {
            "key": entry.base.to_dict(),
            "sections": {name: state.status for name, state in entry.states.items()},
            "version": entry.version,
            "age_seconds": round(entry.age(now), 3),
            "state": self.state(entry, now).value,
        }

    def _evict(self, keep: Key) -> None:
        """Under the lock. The newest and the pinned stay, even where they alone pass the bound."""
        protected = {keep, *self._pinned.values()}
        for key in [key for key in self._entries if key not in protected]:
            if len(self._entries) <= self._settings.max_entries and self._bytes <= self._settings.max_mb * 1e6:
                return
            self._bytes -= self._entries.pop(key).size
            self._evictions += 1
