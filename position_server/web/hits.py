"""The fast path: a GET whose URI was answered before, and whose entry is fresh, is answered without a RequestHandler.

Stands in front of the Tornado application as a connection delegate. Everything it does not recognise goes the ordinary
way, which is complete by itself; the bytes are those of web/answers.py either way. Belongs to the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
    format_timestamp,
)
from tornado.iostream import IOStream

from position_server.access import Caller, Role, Unknown
from position_server.environment.cache import EnvironmentCache, Key
from position_server.environment.envelope import iso
from position_server.environment.scheduler import WarmUps
from position_server.web.answers import Chunks, PreparedAnswer, Question
from position_server.web.base import WebContext, request_id_of
from position_server.web.idle import IdleConnections

MOST_URIS = 10_000
MOST_ANSWERS = 100  # prepared from one entry
KEEP_ALIVE = "keep-alive"
LONGEST_URI = 4_096  # with its host: the bound on memory; a longer one is answered the ordinary way


class HitTable:
    """What URIs ask that were answered before, by host and URI as they came; the least recently used go first.

    The answers prepared for them are kept by their entry, and go when it leaves the cache.
    """

    def __init__(self, cache: EnvironmentCache, most: int = MOST_URIS) -> None:
        self._cache = cache
        self._most = most
        self._known: OrderedDict[tuple[str, str], tuple[Key, Question]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def clear(self) -> None:
        """Forgets every URI."""
        self._known.clear()

    def remember(self, host: str, uri: str, key: Key, question: Question) -> None:
        """This URI, asked of this host, asks this question of this environment."""
        if len(host) + len(uri) <= LONGEST_URI and (host, uri) not in self._known:
            self._known[host, uri] = (key, question)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def find(self, host: str, uri: str, now: float) -> PreparedAnswer | None:
        """The answer for the URI from a fresh entry; a URI whose entry has left the cache is forgotten."""
        known = self._known.get((host, uri))
        if known is None:
            return None
        key, question = known
        entry = self._cache.get(key)
        if entry is None:
            del self._known[host, uri]
            return None
        answer: PreparedAnswer | None = entry.answers.get(question)
        if answer is None:
            if len(entry.answers) >= MOST_ANSWERS:  # one environment asked in very many spellings
                entry.answers.clear()
            fresh_until = self._cache.fresh_until(entry)
            answer = entry.answers[question] = PreparedAnswer(entry, question, hit=True, fresh_until=fresh_until)
        if now >= answer.fresh_until:
            return None
        self._known.move_to_end((host, uri))
        return answer


class FastPath(HTTPServerConnectionDelegate):
    """Answers hits itself and hands every other request to the application."""

    def __init__(
        self,
        application: HTTPServerConnectionDelegate,
        *,
        table: HitTable,
        context: WebContext,
        warm_ups: WarmUps,
        count_hit: Callable[[], None],
        idle: IdleConnections,
        route: str,
    ) -> None:
        self.application = application
        self.idle = idle
        self.table = table
        self.context = context
        self.warm_ups = warm_ups
        self.count_hit = count_hit
        self.route = route
        self._keys_needed = False
        self._second = 0
        self._texts = (b"", "")

    def caller_of(self, headers: HTTPHeaders) -> Caller | Unknown | None:
        """Who asks, as the guard says. What was remembered before the first key shows commands without one."""
        guard = self.context.guard
        if guard.on is not self._keys_needed:
            self._keys_needed = guard.on
            self.table.clear()
        return guard.caller_of(headers)

    def texts_of(self, now: datetime) -> tuple[bytes, str]:
        """The Date header, and what `iso` writes up to the milliseconds; made once a second."""
        second = int(now.timestamp())
        if second != self._second:
            self._second = second
            self._texts = (format_timestamp(second).encode(), iso(now)[: len("2025-10-30T16:00:00.")])
        return self._texts

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        connection = cast("HTTP1Connection", request_conn)
        self.idle.begin(server_conn, connection)
        return _Message(self, server_conn, connection)

    def on_close(self, server_conn: object) -> None:
        self.idle.end(server_conn)
        self.application.on_close(server_conn)


class _Message(HTTPMessageDelegate):
    """One request: recognised as a hit when its headers are there, else the application's from then on."""

    def __init__(self, path: FastPath, server: object, connection: HTTP1Connection) -> None:
        self._path = path
        self._server = server
        self._connection = connection
        self._ordinary: HTTPMessageDelegate | None = None

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self._path.idle.end(self._server)
        start = cast("RequestStartLine", start_line)
        if start.method == "GET" and start.version == "HTTP/1.1" and self._recognised(start.path, headers):
            return None
        self._ordinary = self._path.application.start_request(self._server, self._connection)
        return self._ordinary.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._ordinary.data_received(chunk) if self._ordinary else None  # the body of a GET means nothing

    def finish(self) -> None:
        if self._ordinary is not None:
            self._ordinary.finish()
        else:
            self._write()

    def on_connection_close(self) -> None:
        if self._ordinary is not None:
            self._ordinary.on_connection_close()

    def _recognised(self, uri: str, headers: HTTPHeaders) -> bool:
        """Whether the fast path answers. The guard is asked before the table: what is cached shows to nobody else."""
        self._started = self._path.context.clock.monotonic()
        caller = self._path.caller_of(headers)
        if not isinstance(caller, Caller):
            return False
        answer = self._path.table.find(_value(headers, "Host") or "", uri, self._started)
        if answer is None or (answer.shows_tracebacks and caller.role is not Role.ADMIN):
            return False
        wanted = _value(headers, "If-None-Match")
        if wanted is not None and wanted != answer.etag:
            return False  # a list, `*` or an old tag is rare enough for the ordinary way
        connection = _value(headers, "Connection")
        if (connection is not None and connection.lower() != KEEP_ALIVE) or self._connection.stream.writing():
            return False  # the ordinary way knows when to close, and waits for who reads slowly
        self._uri, self._headers, self._answer, self._is_current = uri, headers, answer, wanted is not None
        return True

    def _write(self) -> None:
        """Answers by itself: a handler's way through headers costs as much as all the rest."""
        path, answer, asked, connection = self._path, self._answer, self._headers, self._connection
        clock = path.context.clock
        now, received_at = clock.monotonic(), clock.now()
        request_id = request_id_of(_value(asked, "X-Request-Id"), path.context.random_bits)
        date, prefix = path.texts_of(received_at)
        timestamp = f"{prefix}{received_at.microsecond // 1000:03d}+00:00"
        if self._is_current:
            status = "304"
            self._send((answer.not_modified(date, request_id),))
        else:
            status = "200"
            duration_ms = round((now - self._started) * 1000)
            head = answer.head(request_id, timestamp, duration_ms, path.warm_ups.server_status, now)
            length, coding, chunks = answer.content(head, _value(asked, "Accept-Encoding"))
            self._send((answer.ok(date, request_id, coding, length), *chunks))
        connection.finish()
        path.count_hit()
        seconds = clock.monotonic() - self._started
        path.context.metrics.requests.record(path.route, "GET", status, seconds)
        remote = getattr(connection.context, "remote_ip", None)
        path.context.access.record(timestamp, "GET", self._uri, status, seconds, remote, request_id)

    def _send(self, parts: Chunks) -> None:
        """By one call of the kernel, straight from where the parts are; the stream sends what that did not take."""
        stream = self._connection.stream
        taken = _taken_at_once(stream, parts)
        waiting = None
        for part in parts:
            if taken >= len(part):
                taken -= len(part)
            else:
                waiting = stream.write(memoryview(part)[taken:])
                taken = 0
        if waiting is not None:
            in_flight = self._path.context.in_flight  # a stopping server lets it end
            in_flight.begin()
            waiting.add_done_callback(lambda _: in_flight.end())


def _taken_at_once(stream: IOStream, parts: Chunks) -> int:
    """How many bytes of the parts the kernel took, by one `sendmsg`; 0 where that is not for us to call."""
    if type(stream) is not IOStream or stream.writing():  # TLS stands between, or something else goes first
        return 0
    try:
        return stream.socket.sendmsg(parts)
    except OSError:
        return 0  # nothing fits now, or the connection is broken: the stream finds out which


def _value(headers: HTTPHeaders, name: str) -> str | None:
    """The header's value. `get` would raise and catch an error for each one that is not there."""
    values = headers.get_list(name)
    if not values:
        return None
    return values[0] if len(values) == 1 else ",".join(values)
