"""Parts compressed apart are one gzip member together: any client's decompressor reads it."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st

from position_server.environment.splice import Deflated, ended, gzip_member, joined, stored
from position_server.sections.base.compression import deflate

parts = st.lists(st.tuples(st.booleans(), st.binary(max_size=2000).map(lambda data: data * 5)), max_size=6)


def piece(data: bytes, compress: bool) -> Deflated:
    blocks = deflate(data) if compress else b""
    return Deflated((blocks,), zlib.crc32(data), len(data)) if blocks else stored(data)


@given(st.binary(max_size=3000), parts, st.binary(max_size=300))
def test_the_member_holds_head_pieces_and_tail(head: bytes, parts: list[tuple[bool, bytes]], tail: bytes) -> None:
    body = joined(piece(data, compress) for compress, data in parts)
    member = b"".join(gzip_member(head, ended(body, tail)))
    assert gzip.decompress(member) == head + b"".join(data for _, data in parts) + tail
    reader = zlib.decompressobj(wbits=31)  # one member and nothing after it
    reader.decompress(member)
    assert reader.eof
    assert reader.unused_data == b""


def test_stored_data_may_be_longer_than_a_block() -> None:
    data = bytes(range(256)) * 1000
    assert gzip.decompress(b"".join(gzip_member(b"", ended(stored(data), b"}")))) == data + b"}"


def test_nothing_joined_is_nothing() -> None:
    assert joined([]) == Deflated((), 0, 0)
