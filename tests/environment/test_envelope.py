"""The bytes of an answer."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, combinations
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.environment.envelope import Body, EncodedSections, encode_sections, iso, share_bytes
from position_server.environment.freshness import merge
from position_server.environment.splice import ended, gzip_member
from position_server.outcomes import SectionOutcome
from position_server.sections.base.compression import deflate
from tests.fakes import NOON, failure, outcome

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(["bonds", "futures", "spot", 'a "quoted" one', "öffnung"])
outcomes_by_name = st.dictionaries(names, st.none() | st.dictionaries(st.text(), json_values, max_size=3), max_size=4)


def encoded(*outcomes: SectionOutcome, expose_tracebacks: bool = True) -> EncodedSections:
    return encode_sections(merge(None, outcomes, 1.0), expose_tracebacks=expose_tracebacks)


def made_of(data_by_name: dict[str, Any]) -> EncodedSections:
    """The sections with these data; None is a failure."""
    return encoded(
        *(failure(name) if data is None else outcome(name, orjson.dumps(data)) for name, data in data_by_name.items())
    )


def plain(body: Body) -> bytes:
    """The JSON in one."""
    return b"".join(body.parts)


def unpacked(body: Body) -> bytes:
    """What a client makes of the deflate blocks."""
    return gzip.decompress(b"".join(gzip_member(b"", ended(body.deflated, b""))))


def read(sections: EncodedSections, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The JSON of the sections, which must be the same compressed."""
    body = sections.body(names)
    assert unpacked(body) == plain(body)
    found: dict[str, Any] = json.loads(plain(body))
    return found


def compressed(name: str, size: int) -> SectionOutcome:
    """A section's outcome as a worker hands it back."""
    data = orjson.dumps({"text": "position " * size})
    return replace(outcome(name, data), deflated=deflate(data), crc=zlib.crc32(data))


@given(outcomes_by_name)
def test_the_body_is_json_with_the_data_of_every_section(data_by_name: dict[str, Any]) -> None:
    found = read(made_of(data_by_name))
    assert {name: section["data"] for name, section in found.items()} == data_by_name


@given(outcomes_by_name)
def test_narrowed_to_any_choice_the_body_is_json_with_just_those(data_by_name: dict[str, Any]) -> None:
    whole = made_of(data_by_name)
    found = read(whole)
    for chosen in chain.from_iterable(combinations(found, size) for size in range(len(found) + 1)):
        assert read(whole, chosen) == {name: found[name] for name in chosen}


def test_narrowing_keeps_the_environments_order_and_ignores_repetition() -> None:
    whole = encoded(outcome("bonds"), outcome("futures"), outcome("spot"))
    assert whole.body(["spot", "bonds", "spot"]) == whole.body(["bonds", "spot"])
    assert list(read(whole, ["spot", "bonds"])) == ["bonds", "spot"]


@given(outcomes_by_name, outcomes_by_name)
def test_equal_ids_mean_equal_bytes_and_the_other_way_round(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = made_of(one), made_of(other)
    assert (first.environment_id == second.environment_id) == (first.whole == second.whole)


def test_the_same_states_have_the_same_id() -> None:
    assert encoded(outcome("bonds")).environment_id == encoded(outcome("bonds")).environment_id


def test_an_etag_is_weak_and_tells_narrowings_apart_but_not_their_order() -> None:
    whole = encoded(outcome("bonds"), outcome("futures"))
    assert whole.etag() == f'W/"{whole.environment_id}"'
    assert len({whole.etag(), whole.etag(["bonds"]), whole.etag(["futures"]), whole.etag(["bonds", "futures"])}) == 4
    assert whole.etag(["futures", "bonds"]) == whole.etag(["bonds", "futures"])


def test_the_receipt_of_a_good_section() -> None:
    done = outcome(
        "bonds",
        market_data_as_of="2025-10-30T16:00:00+00:00",
        positions_as_of="2025-10-29",
        oldest_price_date="2025-10-28",
    )
    section = read(encoded(done))["bonds"]
    assert section["error_stack"] == ""
    assert section["metadata"] == {
        "last_updated": "2025-10-30T16:00:00.000+00:00",
        "status": "ok",
        "refresh_duration_ms": 5,
        "version": 1,
        "market_data_as_of": "2025-10-30T16:00:00+00:00",
        "positions_as_of": "2025-10-29",
        "oldest_price_date": "2025-10-28",
        "stale_since": None,
        "stale_reason": None,
    }


def test_the_receipt_of_a_stale_section_has_the_good_datas_time_and_the_failures_reason() -> None:
    later = NOON + timedelta(minutes=5)
    states = merge(merge(None, [outcome("bonds")], 1.0), [failure("bonds", "no curve", at=later)], 2.0)
    section = read(encode_sections(states, expose_tracebacks=True))["bonds"]
    assert section["data"] == {"positions": []}
    assert section["error_stack"].startswith("Traceback")
    receipt = section["metadata"]
    assert receipt["status"] == "stale"
    assert receipt["last_updated"] == iso(NOON)
    assert receipt["stale_since"] == iso(later)
    assert receipt["stale_reason"] == "ValueError: no curve"


def test_a_section_that_never_had_data_has_no_last_update() -> None:
    section = read(encoded(failure("bonds")))["bonds"]
    assert section["data"] is None
    assert section["metadata"]["status"] == "error"
    assert section["metadata"]["last_updated"] is None


def test_tracebacks_are_left_out_where_they_are_not_exposed() -> None:
    section = read(encoded(failure("bonds"), expose_tracebacks=False))["bonds"]
    assert section["error_stack"] == ""


def test_data_that_were_not_compressed_are_sent_stored() -> None:
    whole = encoded(outcome("bonds", b'{"n":1}'))
    assert unpacked(whole.whole) == plain(whole.whole)


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=4))
def test_states_share_the_bytes_of_the_answer_and_give_the_same_again(sizes: list[int]) -> None:
    states = merge(None, [compressed(f"s{n}", size) for n, size in enumerate(sizes)], 1.0)
    first = encode_sections(states, expose_tracebacks=True)
    shared = share_bytes(states, first)
    for name, state in shared.items():
        assert isinstance(state.outcome.data, memoryview)
        assert state.outcome.data.obj is first.whole.parts[0]
        assert bytes(state.outcome.data) == states[name].outcome.data
        assert bytes(state.outcome.deflated) == bytes(states[name].outcome.deflated)
    again = encode_sections(shared, expose_tracebacks=True)
    assert again == first


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2025, 10, 30, 16, 0, tzinfo=UTC), "2025-10-30T16:00:00.000+00:00"),
        (datetime(2025, 10, 30, 16, 0, 0, 999_999, tzinfo=UTC), "2025-10-30T16:00:00.999+00:00"),
    ],
)
def test_moments_are_written_in_utc_with_their_offset(moment: datetime, text: str) -> None:
    assert iso(moment) == text
