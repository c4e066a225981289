"""The bytes of the cache on disk: what is written comes back, and of what was damaged anywhere nothing does."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.environment.cache import Entry
from position_server.environment.disk_format import CHECKSUM_BYTES, FORMAT, LENGTH, MAGIC, NUMBER, Moment, dump, load
from position_server.environment.envelope import metadata
from position_server.environment.freshness import RESTORED
from position_server.outcomes import SectionOutcome
from position_server.sections.base.compression import deflate
from tests.environment.examples import base_params, entry_of
from tests.fakes import NOON, failure, outcome

IDENTITY = {"program": "1", "store": "ours"}
THEN, LATER = Moment(NOON, 1000.0), Moment(NOON + timedelta(hours=1), 20.0)  # another process: another monotonic clock
LARGE = b'{"positions":[' + b",".join(b'{"price":%d}' % n for n in range(100)) + b"]}"


def dumped(entries: Sequence[Entry], at: Moment = THEN, identity: dict[str, str] = IDENTITY) -> bytes:
    file = io.BytesIO()
    dump(entries, identity, at, file.write)
    return file.getvalue()


def loaded(data: bytes, at: Moment = LATER, identity: dict[str, str] = IDENTITY) -> list[Entry]:
    return load(io.BytesIO(data), identity, at, expose_tracebacks=True)


def refusal(data: bytes, **how: Any) -> str:
    """Why nothing of the bytes is used."""
    with pytest.raises(ValueError) as refused:
        loaded(data, **how)
    return str(refused.value)


def sealed(body: bytes) -> bytes:
    """A file whose checksum is right, whatever is in it."""
    content = MAGIC + NUMBER.pack(FORMAT) + body
    return content + hashlib.blake2b(content, digest_size=CHECKSUM_BYTES).digest()


def framed(text: bytes) -> bytes:
    return LENGTH.pack(len(text)) + text


def large_outcome(section: str = "bonds", **other: Any) -> SectionOutcome:
    """One that is compressed, as a worker does it."""
    return outcome(section, LARGE, deflated=deflate(LARGE), crc=zlib.crc32(LARGE), **other)


@pytest.fixture(scope="module")
def good() -> bytes:
    """A file of two environments; in one of them a section failed."""
    other = base_params(("EXO",), "SOD")
    return dumped([entry_of(None, large_outcome(symbols=frozenset({"A", "B"})), failure("spot")), entry_of(other)])


# --- there and back --------------------------------------------------------------------------------------------------

texts = st.text(max_size=20)
moments = st.datetimes(NOON.replace(year=2020, tzinfo=None), NOON.replace(tzinfo=None), timezones=st.just(UTC))
dates = st.none() | st.dates().map(str)
outcomes = st.builds(
    SectionOutcome,
    section=st.sampled_from(["bonds", "futures", "spot", 'a "b"', "ünï"]),
    computed_at=moments,
    duration_ms=st.integers(0, 10_000),
    data=st.none() | st.binary(max_size=300),
    error_line=texts,
    error_stack=texts,
    market_data_as_of=dates,
    positions_as_of=dates,
    oldest_price_date=dates,
    symbols=st.frozensets(texts, max_size=5),
    deflated=st.binary(max_size=50),
    crc=st.integers(0, 2**32 - 1),
)
bases = st.builds(
    base_params,
    books=st.lists(st.sampled_from(["CUPS", "EXO", "Bücher, alle"]), min_size=1, max_size=3).map(tuple),
    time_of_day=st.sampled_from(["SOD", "EOD", "LIVE"]),
)
environments = st.builds(lambda base, found: entry_of(base, *found), bases, st.lists(outcomes, min_size=1, max_size=3))


@settings(max_examples=60)
@given(st.lists(environments, max_size=3))
def test_what_is_written_comes_back(entries: list[Entry]) -> None:
    back = loaded(dumped(entries))
    assert [entry.base for entry in back] == [entry.base for entry in entries]
    assert [entry.key for entry in back] == [entry.key for entry in entries]
    assert [entry.version for entry in back] == [entry.version for entry in entries]
    for entry, old in zip(back, entries, strict=True):
        assert {name: state.outcome for name, state in entry.states.items()} == {
            name: state.outcome for name, state in old.states.items()
        }
        assert {s.version for s in entry.states.values()} == {s.version for s in old.states.values()}


def test_a_restored_section_is_stale_with_the_good_data_s_times_and_no_error(good: bytes) -> None:
    state = loaded(good)[0].states["bonds"]
    assert (state.status, state.error_stack, state.outcome.data) == ("stale", "", LARGE)
    receipt = metadata(state)
    assert receipt["last_updated"] == "2025-10-30T16:00:00.000+00:00"
    assert receipt["stale_since"] == "2025-10-30T17:00:00.000+00:00"
    assert receipt["stale_reason"] == RESTORED


def test_a_section_that_never_had_data_is_still_an_error_and_says_why(good: bytes) -> None:
    state = loaded(good)[0].states["spot"]
    assert (state.status, metadata(state)["stale_reason"]) == ("error", None)
    assert "no curve" in state.error_stack


def test_what_was_stale_before_stays_so_since_then_and_without_its_failure() -> None:
    fresh = entry_of(None, outcome("bonds"))
    failed = entry_of(None, failure("bonds", at=NOON - timedelta(minutes=5)), old=fresh)
    state = loaded(dumped([failed]))[0].states["bonds"]
    assert state.stale_since == NOON - timedelta(minutes=5)
    assert (state.error_stack, metadata(state)["stale_reason"]) == ("", RESTORED)


def test_the_bytes_that_are_served_are_those_that_a_worker_made(good: bytes) -> None:
    entry = loaded(good)[0]
    state = entry.states["bonds"]
    assert LARGE in entry.encoded.whole.parts[0]
    assert bytes(state.outcome.deflated) == deflate(LARGE)
    assert bytes(state.outcome.deflated) in entry.encoded.whole.deflated.parts[0]


# --- ages ------------------------------------------------------------------------------------------------------------


def test_the_age_counts_on_across_the_restart() -> None:
    entry = entry_of(created=THEN.monotonic - 30)
    (back,) = loaded(dumped([entry]))
    assert back.age(LATER.monotonic) == pytest.approx(3630)
    assert back.age(LATER.monotonic + 5) == pytest.approx(3635)


def test_sections_of_different_ages_keep_them() -> None:
    old = entry_of(None, outcome("bonds"), outcome("spot"), created=THEN.monotonic - 100)
    newer = entry_of(None, outcome("bonds"), failure("spot"), created=THEN.monotonic - 10, old=old)
    (back,) = loaded(dumped([newer]))
    ages = {name: back.age(LATER.monotonic, [name]) for name in ("bonds", "spot")}
    assert ages == {"bonds": pytest.approx(3610), "spot": pytest.approx(3700)}


def test_a_clock_that_was_set_back_makes_nothing_younger() -> None:
    data = dumped([entry_of(created=THEN.monotonic - 30)])
    (back,) = loaded(data, at=Moment(NOON - timedelta(seconds=3), 20.0))
    assert back.age(20.0) == pytest.approx(30)


def test_a_file_from_the_future_is_refused(good: bytes) -> None:
    assert "which is not yet" in refusal(good, at=Moment(NOON - timedelta(seconds=10), 20.0))


# --- what is not trusted ---------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(st.data())
def test_a_flipped_bit_anywhere_is_refused(good: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(0, 7))
    refusal(good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :])


@settings(max_examples=100)
@given(st.data())
def test_a_file_that_was_cut_off_anywhere_is_refused(good: bytes, data: st.DataObject) -> None:
    refusal(good[: data.draw(st.integers(0, len(good) - 1))])


@settings(max_examples=50)
@given(st.data())
def test_bytes_lost_added_or_replaced_in_the_middle_are_refused(good: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, len(good)))
    other = data.draw(st.binary(max_size=40).filter(lambda found: found != good[start:end]))
    refusal(good[:start] + other + good[end:])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\x80\x04\x95pickle", "no cache"),
        (b"SQLite format 3\x00" + bytes(200), "no cache"),
        (MAGIC[:9], "truncated"),
        (MAGIC + NUMBER.pack(FORMAT + 1) + bytes(100), f"format {FORMAT + 1}, and this program reads {FORMAT}"),
        (MAGIC + NUMBER.pack(0) + bytes(100), "format 0"),
        (MAGIC + NUMBER.pack(FORMAT) + bytes(100), "checksum"),
    ],
)
def test_the_reason_says_what_is_wrong(data: bytes, why: str) -> None:
    assert why in refusal(data)


def test_a_file_of_another_program_or_desk_is_refused(good: bytes) -> None:
    assert "another program: '1', here '2'" in refusal(good, identity={**IDENTITY, "program": "2"})
    assert "another store" in refusal(good, identity={**IDENTITY, "store": "theirs"})
    assert "another calendar" in refusal(good, identity={**IDENTITY, "calendar": "XNYS"})
    assert "another store" in refusal(good, identity={"program": "1"})


json_texts = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
HEAD = {"written_at": NOON, "identity": IDENTITY, "environments": 1}
SECTION: dict[str, Any] = {
    "outcome": {"section": "bonds", "computed_at": NOON, "duration_ms": 5, "symbols": []},
    "data_bytes": 2,
    "deflated_bytes": 0,
    "version": 1,
    "obtained_at": NOON,
    "stale_since": None,
}
ENTRY = {"params": base_params().to_dict(), "version": 1, "sections": [SECTION]}


def crafted(head: object = HEAD, entry: object = ENTRY, blobs: bytes = b"{}") -> bytes:
    """A file with a right checksum around whatever somebody likes."""
    option = orjson.OPT_NON_STR_KEYS
    return sealed(framed(orjson.dumps(head, option=option)) + framed(orjson.dumps(entry, option=option)) + blobs)


def test_a_crafted_file_reads_where_it_holds_what_it_should() -> None:
    (entry,) = loaded(crafted())
    assert entry.states["bonds"].outcome.data == b"{}"


@settings(max_examples=100)
@given(st.data())
def test_a_right_checksum_around_nonsense_is_refused_by_its_reason_and_by_nothing_else(data: st.DataObject) -> None:
    where = data.draw(st.sampled_from(["head", "entry", "section", "outcome"]))
    fields = {"head": HEAD, "entry": ENTRY, "section": SECTION, "outcome": SECTION["outcome"]}[where]
    wrong = {**fields, data.draw(st.sampled_from(sorted(fields))): data.draw(json_texts)}
    section = wrong if where == "section" else {**SECTION, "outcome": wrong} if where == "outcome" else SECTION
    head = wrong if where == "head" else HEAD
    entry = wrong if where == "entry" else {**ENTRY, "sections": [section]}
    try:
        loaded(crafted(head, entry))
    except ValueError:
        return


@settings(max_examples=60)
@given(st.binary(max_size=60))
def test_a_right_checksum_around_any_bytes_is_refused(body: bytes) -> None:
    refusal(sealed(body))


@pytest.mark.parametrize("size", [-1, 3, 2**62])
def test_a_size_that_is_not_there_is_never_read(size: int) -> None:
    section = {**SECTION, "data_bytes": size}
    assert "are left" in refusal(crafted(entry={**ENTRY, "sections": [section]}))
    assert "are left" in refusal(sealed(LENGTH.pack(size % 2**64)))


def test_bytes_behind_the_last_environment_are_refused() -> None:
    assert "1 bytes too many" in refusal(crafted(blobs=b"{}!"))
