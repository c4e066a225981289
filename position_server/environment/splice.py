"""One gzip member out of parts that were compressed before: nothing is compressed here.

A deflate stream is a row of blocks (RFC 1951). Pieces whose blocks end on a byte boundary can be laid one after
another, with stored (uncompressed) blocks between them, and the checksum of the whole follows from those of the parts.
Two gzip members one after another would be as valid (RFC 1952), but several clients stop after the first.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from isal.isal_zlib import crc32_combine

GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, no time, unknown system
STORED_MOST = 65_535
LENGTH_MODULUS = 2**32
BLOCK_HEADER = Struct("<BHH")  # whether it is the last, its length, the complement of that
TRAILER = Struct("<II")  # CRC-32 and length of what was compressed


@dataclass(frozen=True, slots=True)
class Deflated:
    """Deflate blocks, none the last, that end on a byte boundary; and the CRC-32 and length of what they hold."""

    parts: tuple[bytes | memoryview, ...]
    crc: int
    length: int


def stored(data: bytes) -> Deflated:
    """`data` in stored blocks."""
    parts = [data[start : start + STORED_MOST] for start in range(0, len(data), STORED_MOST)]
    return Deflated((b"".join(_stored_block(part, last=False) for part in parts),), zlib.crc32(data), len(data))


def joined(pieces: Iterable[Deflated]) -> Deflated:
    """The pieces one after another; nothing is copied."""
    parts: list[bytes | memoryview] = []
    crc = length = 0
    for piece in pieces:
        parts += piece.parts
        crc = crc32_combine(crc, piece.crc, piece.length)
        length += piece.length
    return Deflated(tuple(parts), crc, length)


def ended(body: Deflated, tail: bytes) -> Deflated:
    """The body with `tail` (below 64 KiB) behind it in the last block of a stream."""
    crc = crc32_combine(body.crc, zlib.crc32(tail), len(tail))
    return Deflated((*body.parts, _stored_block(tail, last=True)), crc, body.length + len(tail))


def gzip_member(head: bytes, rest: Deflated) -> tuple[bytes | memoryview, ...]:
    """The gzip member of `head` and what `ended` gave, in parts to be sent one after another; copies nothing large."""
    size = len(head)
    crc = crc32_combine(zlib.crc32(head), rest.crc, rest.length)
    trailer = TRAILER.pack(crc, (size + rest.length) % LENGTH_MODULUS)
    blocks = _stored_block(head, last=False) if size <= STORED_MOST else stored(head).parts[0]
    return GZIP_HEADER + blocks, *rest.parts, trailer


def _stored_block(data: bytes, *, last: bool) -> bytes:
    size = len(data)
    return BLOCK_HEADER.pack(last, size, size ^ 0xFFFF) + data
