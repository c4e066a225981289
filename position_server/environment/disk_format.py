"""Environments as the bytes of a file, and back.

::

    magic · format · head · per environment: description, then its sections' bytes as they are served · checksum

Head and descriptions are JSON, each behind its length. No pickle: what is read here may have been written by anybody,
and these bytes can at worst show wrong numbers, never run anything. Nothing of a file is used before the checksum of
the whole file is right. The sections' bytes are neither decoded nor encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from struct import Struct
from typing import Any, BinaryIO

import orjson

from position_server.environment.cache import Entry
from position_server.environment.envelope import encode_sections, share_bytes
from position_server.environment.freshness import SectionState
from position_server.outcomes import SectionOutcome
from position_server.params import BaseParams

MAGIC = b"position-server cache\n"
FORMAT = 1
NUMBER, LENGTH = Struct("<I"), Struct("<Q")
CHECKSUM_BYTES = 32
CHUNK_BYTES = 2**20
CLOCK_TOLERANCE_SECONDS = 5.0  # a file from further ahead tells nothing about ages
BLOBS = ("data", "deflated")  # the fields of an outcome that are not JSON
Write = Callable[[bytes | memoryview], object]


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment by both clocks: ages are measured by the monotonic one and outlive a process by the wall clock."""

    wall: datetime
    monotonic: float

    def wall_time_of(self, monotonic: float) -> datetime:
        """The wall-clock time of an earlier monotonic one."""
        return self.wall - timedelta(seconds=self.monotonic - monotonic)


def dump(entries: Iterable[Entry], identity: Mapping[str, str], at: Moment, write: Write) -> None:
    """Writes the entries. `identity` says what their numbers depend on beside their parameters."""
    checksum = hashlib.blake2b(digest_size=CHECKSUM_BYTES)

    def add(part: bytes | memoryview) -> None:
        checksum.update(part)
        write(part)

    add(MAGIC + NUMBER.pack(FORMAT))
    chosen = list(entries)
    add(_framed({"written_at": at.wall, "identity": identity, "environments": len(chosen)}))
    for entry in chosen:
        states = list(entry.states.values())
        described = [_described(state, at) for state in states]
        add(_framed({"params": entry.base.to_dict(), "version": entry.version, "sections": described}))
        for state in states:
            add(state.outcome.data or b"")
            add(state.outcome.deflated)
    write(checksum.digest())


def load(file: BinaryIO, identity: Mapping[str, str], at: Moment, *, expose_tracebacks: bool) -> list[Entry]:
    """The entries of a file, restored at `at`, in the order in which they were written.

    Raises ValueError that says why nothing of the file can be used, and OSError.
    """
    reader = _Reader(file, _checked_size(file))
    try:
        head = reader.json()
        written_at = datetime.fromisoformat(head["written_at"])
        _refuse_foreigners(head["identity"], identity)
        if (written_at - at.wall).total_seconds() > CLOCK_TOLERANCE_SECONDS:
            raise ValueError(f"it was written at {written_at.isoformat()}, which is not yet")
        restore = _Restore(at, max(at.wall, written_at), expose_tracebacks)
        entries = [restore.entry(reader) for _ in range(head["environments"])]
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it does not hold what it should: {type(error).__name__}: {error}") from error
    if reader.left:
        raise ValueError(f"{reader.left} bytes too many")
    return entries


def _framed(value: object) -> bytes:
    text = orjson.dumps(value)
    return LENGTH.pack(len(text)) + text


def _described(state: SectionState, at: Moment) -> dict[str, Any]:
    """A section but for its bytes, which are only counted. Of failures over good data a restart knows nothing."""
    outcome = state.outcome
    plain = {field.name: getattr(outcome, field.name) for field in fields(outcome) if field.name not in BLOBS}
    return {
        "outcome": {**plain, "symbols": list(outcome.symbols)},
        "data_bytes": None if outcome.data is None else len(outcome.data),
        "deflated_bytes": len(outcome.deflated),
        "version": state.version,
        "obtained_at": at.wall_time_of(state.obtained),
        "stale_since": state.stale_since,
    }


def _checked_size(file: BinaryIO) -> int:
    """The bytes between format and checksum, once that is right; leaves the file at their beginning."""
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(len(MAGIC) + NUMBER.size)
    if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
        raise ValueError("it is no cache of this program" if start else "it is empty")
    left = size - len(start) - CHECKSUM_BYTES
    if left < 0:
        raise ValueError("it is truncated")
    (number,) = NUMBER.unpack(start[len(MAGIC) :])
    if number != FORMAT:
        raise ValueError(f"it has format {number}, and this program reads {FORMAT}")
    checksum, begin, rest = hashlib.blake2b(start, digest_size=CHECKSUM_BYTES), file.tell(), left
    while rest and (chunk := file.read(min(rest, CHUNK_BYTES))):
        checksum.update(chunk)
        rest -= len(chunk)
    if file.read() != checksum.digest():
        raise ValueError("its checksum is wrong")
    file.seek(begin)
    return left


def _refuse_foreigners(theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    for name in [*ours, *theirs]:
        if theirs.get(name) != ours.get(name):
            raise ValueError(f"it was written with another {name}: {theirs.get(name)!r}, here {ours.get(name)!r}")


class _Reader:
    """Takes one piece of the file after another, and never more than is there."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file = file
        self.left = left

    def take(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise ValueError(f"a piece of {size} bytes, where {self.left} are left")
        self.left -= size
        return self._file.read(size)

    def json(self) -> Any:
        (size,) = LENGTH.unpack(self.take(LENGTH.size))
        return orjson.loads(self.take(size))


@dataclass(frozen=True, slots=True)
class _Restore:
    """Makes entries of what is read. Ages count from `now`: the wall clock, or when the file was written if later."""

    at: Moment
    now: datetime
    expose_tracebacks: bool

    def entry(self, reader: _Reader) -> Entry:
        described = reader.json()
        base = BaseParams.model_validate(described["params"])
        found = [self._state(reader, section) for section in described["sections"]]
        states = {state.outcome.section: state for state in found}
        encoded = encode_sections(states, expose_tracebacks=self.expose_tracebacks)
        shared = share_bytes(states, encoded)
        version = int(described["version"])
        return Entry(base.to_cache_key(), base, version, shared, encoded, self.at.monotonic, restored=True)

    def _state(self, reader: _Reader, described: Mapping[str, Any]) -> SectionState:
        size = described["data_bytes"]
        plain = described["outcome"]
        outcome = SectionOutcome(
            **{
                **plain,
                "computed_at": datetime.fromisoformat(plain["computed_at"]),
                "symbols": frozenset(plain["symbols"]),
                "data": None if size is None else reader.take(size),
                "deflated": reader.take(described["deflated_bytes"]),
            }
        )
        age = (self.now - datetime.fromisoformat(described["obtained_at"])).total_seconds()
        since = described["stale_since"]
        stale_since = self.at.wall if since is None else datetime.fromisoformat(since)
        return SectionState(
            outcome,
            int(described["version"]),
            self.at.monotonic - max(0.0, age),
            stale_since=None if outcome.failed else stale_since,
        )
