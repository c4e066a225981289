"""The bytes of an answer: the sections encoded once, and the small head that differs per request.

Never decodes, re-encodes or compresses a section's data: that came encoded and compressed from a worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from position_server.environment.freshness import SectionState, States
from position_server.environment.splice import Deflated, joined, stored
from position_server.outcomes import SectionOutcome

ID_BYTES = 12
OPEN, COMMA, CLOSE = b"{", b",", b"}"


@dataclass(frozen=True, slots=True)
class Body:
    """JSON ready to send, plain and as deflate blocks: each in parts to be sent one after another."""

    parts: tuple[bytes | memoryview, ...]
    deflated: Deflated

    @property
    def length(self) -> int:
        """Bytes of the JSON."""
        return self.deflated.length


@dataclass(frozen=True, slots=True)
class EncodedSections:
    """The `sections` of an environment, ready to send: the whole object, and each section as a view into it."""

    whole: Body
    pieces: Mapping[str, Body]
    environment_id: str

    def body(self, names: Sequence[str] | None = None) -> Body:
        """The JSON object of the sections named (all where None), in the environment's order; nothing is copied."""
        if names is None:
            return self.whole
        return _object([piece for name, piece in self.pieces.items() if name in names])

    def etag(self, names: Sequence[str] | None = None) -> str:
        """A weak entity tag of the environment and the narrowing; weak because the head differs per request."""
        narrowing = "" if names is None else "." + "+".join(name for name in self.pieces if name in names)
        return f'W/"{self.environment_id}{narrowing}"'

    @property
    def size(self) -> int:
        """Bytes held."""
        return sum(map(len, (*self.whole.parts, *self.whole.deflated.parts)))


def encode_sections(states: States, *, expose_tracebacks: bool) -> EncodedSections:
    """Encodes every section; equal ids mean equal bytes."""
    pieces = {name: _piece(name, state, expose_tracebacks) for name, state in states.items()}
    scattered = _object(list(pieces.values()))
    plain, blocks = b"".join(scattered.parts), b"".join(scattered.deflated.parts)
    whole = Body((plain,), replace(scattered.deflated, parts=(blocks,)))
    identity = hashlib.blake2b(plain, digest_size=ID_BYTES).hexdigest()
    return EncodedSections(whole, _views(plain, blocks, pieces), identity)


def share_bytes(states: States, encoded: EncodedSections) -> dict[str, SectionState]:
    """The same states, their data now views into the encoded sections: kept once, not twice."""
    return {name: _sharing(state, name, encoded.pieces[name]) for name, state in states.items()}


def _object(pieces: Sequence[Body]) -> Body:
    parts: list[bytes | memoryview] = [OPEN]
    deflated = [stored(OPEN)]
    for number, piece in enumerate(pieces):
        if number:
            parts.append(COMMA)
            deflated.append(stored(COMMA))
        parts += piece.parts
        deflated.append(piece.deflated)
    return Body((*parts, CLOSE), joined([*deflated, stored(CLOSE)]))


def _piece(name: str, state: SectionState, expose_tracebacks: bool) -> Body:
    rest = {"metadata": metadata(state), "error_stack": state.error_stack if expose_tracebacks else ""}
    start, end = _start(name), COMMA + orjson.dumps(rest)[1:]
    data = state.outcome.data or b"null"
    return Body((start, data, end), joined((stored(start), _deflated(state.outcome), stored(end))))


def _start(name: str) -> bytes:
    return orjson.dumps(name) + b':{"data":'


def _deflated(outcome: SectionOutcome) -> Deflated:
    """The data as the worker compressed it; stored where it did not."""
    data = outcome.data or b"null"
    return Deflated((outcome.deflated,), outcome.crc, len(data)) if outcome.deflated else stored(bytes(data))


def _views(plain: bytes, blocks: bytes, pieces: Mapping[str, Body]) -> dict[str, Body]:
    seen, seen_blocks = memoryview(plain), memoryview(blocks)
    stored_mark = _size(stored(COMMA).parts)  # before every piece: "{" or ","
    at, deflated_at, views = 0, 0, {}
    for name, piece in pieces.items():
        at, deflated_at = at + len(OPEN), deflated_at + stored_mark
        end, deflated_end = at + piece.length, deflated_at + _size(piece.deflated.parts)
        views[name] = Body((seen[at:end],), replace(piece.deflated, parts=(seen_blocks[deflated_at:deflated_end],)))
        at, deflated_at = end, deflated_end
    return views


def _sharing(state: SectionState, name: str, piece: Body) -> SectionState:
    outcome = state.outcome
    if outcome.data is None:
        return state
    start, deflated_start = len(_start(name)), _size(stored(_start(name)).parts)
    size = len(outcome.deflated)
    data = memoryview(piece.parts[0])[start : start + len(outcome.data)]
    deflated = memoryview(piece.deflated.parts[0])[deflated_start : deflated_start + size] if size else b""
    return replace(state, outcome=replace(outcome, data=data, deflated=deflated))


def _size(parts: Sequence[bytes | memoryview]) -> int:
    return sum(map(len, parts))


def metadata(state: SectionState) -> dict[str, Any]:
    """The freshness receipt of one section; `last_updated` is the data's, null where there never was any."""
    outcome = state.outcome
    return {
        "last_updated": iso(outcome.computed_at) if state.has_data else None,
        "status": state.status,
        "refresh_duration_ms": outcome.duration_ms,
        "version": state.version,
        "market_data_as_of": outcome.market_data_as_of,
        "positions_as_of": outcome.positions_as_of,
        "oldest_price_date": outcome.oldest_price_date,
        "stale_since": iso(state.stale_since) if state.stale_since else None,
        "stale_reason": state.stale_reason,
    }


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with the offset written +00:00, to the millisecond."""
    return moment.isoformat(timespec="milliseconds")
