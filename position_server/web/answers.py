"""An environment as an HTTP answer: headers, head and body, the same whoever writes them.

The ordinary handler and the fast path for hits both write what is prepared here, so that they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from position_server.environment.cache import Entry
from position_server.environment.envelope import Body
from position_server.environment.splice import ended, gzip_member

END = b"}"  # of the envelope, after the sections
SMALL_BYTES = 10_000  # a few packets: sending them takes less than splicing and unpacking
Chunks = Sequence[bytes | memoryview]
Headers = tuple[tuple[str, str], ...]
GZIPPED: Headers = (("Content-Encoding", "gzip"),)
BEFORE_SECTIONS = b',"error":false,"error_stack":"","sections":'


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller asks, as far as it is echoed: the sections wanted, and the echo as encoded JSON fields."""

    names: tuple[str, ...] | None
    echo: bytes

    @classmethod
    def of(cls, curl_command: str, echo: Mapping[str, Any], names: tuple[str, ...] | None) -> Question:
        """The question of a request; `echo` is request_params and section_params."""
        return cls(names, orjson.dumps({"curl_command": curl_command, **echo})[1:-1])


class PreparedAnswer:
    """One environment in answer to one question: all that two answers share, made once."""

    __slots__ = (
        "_before_age",
        "_before_status",
        "_body",
        "_deflated",
        "_lines",
        "_lines_of_gzip",
        "_obtained",
        "etag",
        "fresh_until",
        "headers",
        "shows_tracebacks",
    )

    def __init__(self, entry: Entry, question: Question, *, hit: bool, fresh_until: float = 0.0) -> None:
        self.fresh_until = fresh_until
        self.shows_tracebacks = any(state.error_stack for state in entry.chosen(question.names))
        self.etag = entry.encoded.etag(question.names)
        self.headers: Headers = (("Vary", "Accept-Encoding"), ("Etag", self.etag), ("Cache-Control", "no-cache"))
        self._lines, self._lines_of_gzip = lines(self.headers), lines((*self.headers, *GZIPPED))
        self._body: Body = entry.encoded.body(question.names)
        self._deflated = ended(self._body.deflated, END) if self._body.length > SMALL_BYTES else None
        self._obtained = entry.oldest_obtained(question.names)
        flag = b"true" if hit else b"false"
        self._before_status = b',%b,"cache_hit":%b,"server_status":"' % (question.echo, flag)
        self._before_age = b'","environment_id":"%b","age_seconds":' % entry.encoded.environment_id.encode()

    def head(self, request_id: str, timestamp: str, duration_ms: int, server_status: str, monotonic: float) -> bytes:
        """The envelope up to the value of `sections`: what differs from one answer to the next.

        `timestamp` is when the request came, as `iso` writes it; `monotonic` is now, for the age.
        """
        return b'{"request_id":"%b","request_timestamp":"%b","duration_ms":%d%b%b%b%.3f%b' % (
            request_id.encode(),
            timestamp.encode(),
            duration_ms,
            self._before_status,
            server_status.encode(),
            self._before_age,
            max(0.0, monotonic - self._obtained) if self._obtained is not None else 0.0,
            BEFORE_SECTIONS,
        )

    def ok(self, date: bytes, request_id: str, coding: Headers, length: int) -> bytes:
        """Status line and headers, as a handler has them written."""
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: %b\r\nX-Content-Type-Options: nosniff\r\n"
            b"X-Request-Id: %b\r\n%bContent-Length: %d\r\n\r\n"
            % (date, request_id.encode(), self._lines_of_gzip if coding else self._lines, length)
        )

    def not_modified(self, date: bytes, request_id: str) -> bytes:
        """The same for a caller whose tag is current: no Content-Type, as there is no content."""
        return (
            b"HTTP/1.1 304 Not Modified\r\nDate: %b\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: %b\r\n%b\r\n"
            % (date, request_id.encode(), self._lines)
        )

    def content(self, head: bytes, accept_encoding: str | None) -> tuple[int, Headers, Chunks]:
        """Content-Length, the header of the coding, and the body in pieces to be sent one after another; no copies."""
        if self._deflated is not None and accept_encoding is not None and accepts_gzip(accept_encoding):
            parts = gzip_member(head, self._deflated)
            return sum(map(len, parts)), GZIPPED, parts
        return len(head) + self._body.length + len(END), (), (head, *self._body.parts, END)


def lines(headers: Headers) -> bytes:
    """The headers as they go over the wire."""
    return b"".join([f"{name}: {value}\r\n".encode("latin-1") for name, value in headers])


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is acceptable: named, or by `*`, and not with weight zero (RFC 9110, 12.5.3)."""
    if ";" not in accept_encoding:  # what nearly every client sends
        return "gzip" in accept_encoding or "*" in accept_encoding
    weights = dict(_weighted(part) for part in accept_encoding.lower().split(","))
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weighted(part: str) -> tuple[str, float]:
    coding, _, parameters = part.partition(";")
    name, _, value = parameters.strip().partition("=")
    try:
        return coding.strip(), float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return coding.strip(), 0.0
