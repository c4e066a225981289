"""What all handlers share: request ids, JSON, errors to statuses, bounded bodies, the access log.

Every error answer is JSON, also Tornado's own. Handlers know no SQL and encode no payload.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

import orjson
from tornado.web import HTTPError, RequestHandler, stream_request_body

from position_server import errors, logs
from position_server.access import Guard, Role
from position_server.clock import Clock
from position_server.environment.envelope import iso
from position_server.logs import AccessLog
from position_server.metrics import Metrics
from position_server.web.admission import CHALLENGE, GuardedHandler

log = logging.getLogger(__name__)
T = TypeVar("T")

REQUEST_ID = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # a token of RFC 9110
LARGE_BODY_BYTES = 32_768  # parsing more than this takes long enough to be a thread's work
STATUS_BY_CODE = {
    errors.BadRequest.code: 400,
    errors.InvalidConfig.code: 400,
    errors.InvalidDate.code: 400,
    errors.Unauthorized.code: 401,
    errors.Forbidden.code: 403,
    errors.NotFound.code: 404,
    errors.NoData.code: 404,
    errors.Conflict.code: 409,
    errors.MarketDataDisabled.code: 409,
    errors.PayloadTooLarge.code: 413,
    errors.Busy.code: 503,
    errors.NoPrices.code: 503,
    errors.NotFresh.code: 503,
    errors.Starting.code: 503,
    errors.StoreUnavailable.code: 503,
}
METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


class InFlight:
    """How many requests are being answered. Belongs to the event loop."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    def begin(self) -> None:
        """One more."""
        self._count += 1
        self._none.clear()

    def end(self) -> None:
        """One less."""
        self._count -= 1
        if not self._count:
            self._none.set()

    async def none(self) -> None:
        """Waits until there is none."""
        await self._none.wait()


@dataclass(frozen=True, slots=True)
class WebContext:
    """What every handler is given beside the services it uses."""

    clock: Clock
    metrics: Metrics
    threads: Executor
    in_flight: InFlight
    access: AccessLog
    random_bits: Callable[[int], int]  # for request ids, which are no secrets
    max_body_bytes: int
    expose_tracebacks: bool
    guard: Guard


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as an answer: status, stable code, one line, the problems of a bad request, and the traceback.

    `fields` are what the error has to say beside them.
    """

    status: int
    code: str
    message: str
    problems: list[dict[str, str]]
    error_stack: str
    retry_after_seconds: int | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


@stream_request_body
class JsonHandler(GuardedHandler):
    """A handler that answers JSON. Bodies are taken up to the limit; the rest is read and thrown away, then refused."""

    docs: ClassVar[Mapping[str, Any]] = {}  # OpenAPI operations by method; web/openapi.py reads them

    def initialize(self, context: WebContext, route: str) -> None:
        self.context = context
        self.guard = context.guard
        self.route = route
        self._chunks: list[bytes] = []
        self._received = 0
        self._answered = False
        self.started = context.clock.monotonic()
        self.received_at = context.clock.now()
        context.in_flight.begin()
        self.set_header("X-Request-Id", self.request_id)

    def prepare(self) -> Awaitable[None] | None:
        logs.REQUEST_ID.set(self.request_id)
        return self.admit()

    @property
    def request_id(self) -> str:
        """The caller's X-Request-ID where it is a plain token, else one of our own."""
        known: str | None = getattr(self, "_request_id", None)
        if known is None:
            offered = self.request.headers.get("X-Request-Id")
            known = self._request_id = request_id_of(offered, self.context.random_bits)
        return known

    def set_default_headers(self) -> None:
        self.clear_header("Server")  # Tornado has set Content-Type and Date
        self.set_header("Content-Type", "application/json")
        self.set_header("X-Content-Type-Options", "nosniff")
        if hasattr(self, "context"):  # not yet, the first time
            self.set_header("X-Request-Id", self.request_id)

    def data_received(self, chunk: bytes) -> None:
        self._received += len(chunk)
        if self._received <= self.context.max_body_bytes and self.refusal is None:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def body(self) -> bytes:
        """The whole body. Raises PayloadTooLarge where it passed the limit."""
        if self._received > self.context.max_body_bytes:
            raise errors.PayloadTooLarge(f"The body is larger than {self.context.max_body_bytes / 1e6:g} MB.")
        return b"".join(self._chunks)

    async def parsed(self, body: bytes, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of the body; a large one is read on a thread."""
        if len(body) <= LARGE_BODY_BYTES:
            return parse(body)
        return await asyncio.get_running_loop().run_in_executor(self.context.threads, parse, body)

    async def head(self, *args: str) -> None:
        """As GET; Tornado leaves the body out."""
        answered = self.get(*args)
        if answered is not None:
            await answered

    def write_json(self, value: object, status: int = 200) -> None:
        """Finishes with a small JSON value."""
        self.set_status(status)
        self.finish(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))

    def who(self, said: str | None = None) -> str:
        """Who is asking: the key's id; without keys whoever they say they are."""
        key_id = self.caller.key_id if self.caller else None
        return key_id or said or "anonymous"

    def audit(self, action: str, **details: Any) -> None:
        """Logs one line for an admin's action: who did what, by which request. `details` hold no secrets."""
        key_id = self.caller.key_id if self.caller else None
        who = {"key_id": key_id, "remote": self.request.remote_ip, "request_id": self.request_id}
        log.info("audit", extra={"action": action, **who, "details": details})

    def compute_etag(self) -> str | None:
        """None: Tornado would hash every body. Who has an ETag sets it."""
        return None

    # --- errors ------------------------------------------------------------------------------------------------

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        failure = self.failure(status_code, kwargs.get("exc_info"))
        self.set_status(failure.status)
        self.set_header("Cache-Control", "no-store")
        if failure.retry_after_seconds is not None:
            self.set_header("Retry-After", str(failure.retry_after_seconds))
        if failure.status == 401:
            self.set_header("WWW-Authenticate", CHALLENGE)
        if failure.status == 405:
            self.set_header("Allow", ", ".join(allowed_methods(type(self))))
        self.finish(orjson.dumps(self.error_body(failure)))

    def error_body(self, failure: Failure) -> dict[str, Any]:
        """The JSON of an error; the environment's route has an envelope of its own."""
        details = {"details": failure.problems} if failure.problems else {}
        told = {"error": failure.code, "message": failure.message, **details, **failure.fields}
        return {**told, "request_id": self.request_id}

    def failure(self, status_code: int, exc_info: Any) -> Failure:
        """The answer to an exception: ours by their code, Tornado's by their status, anything else 500."""
        error = exc_info[1] if exc_info else None
        shown = bool(error) and self.context.expose_tracebacks and self.sees_tracebacks
        stack = "".join(traceback.format_exception(error)) if shown and error else ""
        if isinstance(error, errors.PositionServerError):
            problems = [{"field": p.field, "message": p.message} for p in getattr(error, "problems", ())]
            status = STATUS_BY_CODE.get(error.code, 500)
            retry = getattr(error, "retry_after_seconds", None)
            fields = getattr(error, "fields", {})
            return Failure(status, error.code, error.message.splitlines()[0], problems, stack, retry, fields)
        phrase = HTTPStatus(status_code).phrase if status_code in HTTPStatus._value2member_map_ else "Error"
        code = phrase.lower().replace(" ", "_") if status_code != 500 else "internal_error"
        return Failure(status_code, code, _tornado_message(error, phrase), [], stack)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        expected = isinstance(value, HTTPError) or (
            isinstance(value, errors.PositionServerError) and value.code in STATUS_BY_CODE
        )
        if not expected and typ is not None and value is not None:
            log.error("request failed", extra={"uri": self.request.uri}, exc_info=(typ, value, tb))

    def on_connection_close(self) -> None:
        """The caller hung up while waiting; what was computed for it stays in the cache.

        Tornado says so, too, where an answer was given before the body was read, and closes the connection itself.
        """
        if not self._answered:
            log.info("caller hung up", extra={"uri": self.request.uri})

    def on_finish(self) -> None:
        self._answered = True
        self.context.in_flight.end()
        seconds = self.context.clock.monotonic() - self.started
        method, status = self.request.method or "", str(self.get_status())
        self.context.metrics.requests.record(self.route, method, status, seconds)
        remote, uri, at = self.request.remote_ip, self.request.uri or "", iso(self.received_at)
        self.context.access.record(at, method, uri, status, seconds, remote, self.request_id)


class NotFoundHandler(JsonHandler):
    """Every path that is no route, by every method (after the body, so that the answer is read)."""

    roles: ClassVar[Mapping[str, Role]] = {method.upper(): Role.READER for method in METHODS}

    async def get(self) -> None:
        raise errors.NotFound(f"There is nothing at {self.request.path!r}; /openapi.json says what is where.")

    head = post = put = patch = delete = options = get  # type: ignore[assignment]


def request_id_of(offered: str | None, bits: Callable[[int], int]) -> str:
    """The id that a caller offered where it is a plain token, else a new one: a random UUID (RFC 9562, version 4).

    `bits(n)` gives n random bits. Written out here: the standard library's takes six times as long.
    """
    if offered and REQUEST_ID.fullmatch(offered):
        return offered
    digits = f"{bits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def allowed_methods(handler: type[JsonHandler]) -> list[str]:
    """The methods that a handler implements."""
    own = [m for m in METHODS if getattr(handler, m) is not getattr(RequestHandler, m) and m != "head"]
    return sorted([m.upper() for m in own] + (["HEAD"] if "get" in own else []))


def _tornado_message(error: BaseException | None, phrase: str) -> str:
    if isinstance(error, HTTPError) and error.log_message:
        return error.log_message % error.args if error.args else error.log_message
    return (
        phrase if error is None or isinstance(error, HTTPError) else f"{type(error).__name__}: {error}".splitlines()[0]
    )
