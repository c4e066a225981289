"""One GET of the provider: a permit, the key, a deadline, and each way it fails as its own error.

No retries, no redirects, no second host: the key goes to the configured base URL alone, in the Authorization header,
and into no message. Synchronous; may be used by several threads.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import orjson

from position_server import __version__
from position_server.clock import Clock
from position_server.errors import ConfigError
from position_server.market_data.provider import wire
from position_server.market_data.provider.errors import (
    MalformedBody,
    NotAuthorised,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    ServerError,
    TickerNotFound,
    UnexpectedStatus,
    Unreachable,
)
from position_server.market_data.provider.fields import Fields, shown

log = logging.getLogger(__name__)
MOST_BODY_BYTES = 64 * 2**20  # all stocks of a day are some 2 MB
DEFAULT_RETRY_AFTER_SECONDS = 60.0  # where a 429 does not say, or says something odd: the usual window
LEAST_RETRY_AFTER_SECONDS, MOST_RETRY_AFTER_SECONDS = 1.0, 3600.0
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")  # never through the machine's proxy
KEY_PARAMETER = "apikey"


class Permits(Protocol):
    """Who grants calls: the rate limiter."""

    def acquire(self, stop: threading.Event) -> float:
        """Waits for one call's turn; returns the seconds waited. Raises its own exception where `stop` is set."""
        ...

    def pause(self, seconds: float) -> None:
        """The provider wants no calls for so long."""
        ...


class Transport:
    """The connection to one provider."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        permits: Permits,
        clock: Clock,
        *,
        timeout_seconds: float,
        connect_seconds: float,
    ) -> None:
        """Raises ConfigError where the address or the key cannot be used; nothing is sent yet."""
        _refuse_address_or_key(base_url, api_key)
        self._permits, self._clock, self._key = permits, clock, api_key
        self._timeout_seconds = timeout_seconds
        self._prefix = httpx.URL(base_url).path.rstrip("/")
        self._lock = threading.Lock()  # guards the counter
        self._calls_made = 0
        self._http = httpx.Client(
            base_url=base_url,
            headers={
                "Accept": "application/json",
                "User-Agent": f"position-server/{__version__}",
                **({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            },
            timeout=httpx.Timeout(timeout_seconds, connect=connect_seconds),
            verify=httpx.URL(base_url).scheme != "http",  # http has no certificates, and loading ours takes 20 ms
            mounts={f"all://{host}": None for host in LOCAL_HOSTS},
        )

    @property
    def calls_made(self) -> int:
        """The requests sent so far."""
        return self._calls_made

    def get(self, path: str, parameters: Mapping[str, str], stop: threading.Event) -> Fields:
        """The good answer of a GET. Raises a ProviderError, or what the permits raise where `stop` is set.

        A call under way is not cut short by `stop`; it ends within about twice the timeout.
        """
        self._permits.acquire(stop)
        with self._lock:
            self._calls_made += 1
        body = self._sent(path, f"{path}?{urlencode(parameters)}" if parameters else path)
        if not body.strip():
            raise MalformedBody(f"{path}: the body is empty", 200)
        try:
            return wire.checked(orjson.loads(body))
        except orjson.JSONDecodeError as error:
            raise MalformedBody(f"{path}: the body is no JSON: {error}", 200) from error

    def follow(self, next_url: str, stop: threading.Event) -> Fields:
        """The next page. Of its address path and query count: whatever host it names, our own is asked."""
        try:
            parts = urlsplit(next_url)
        except ValueError as error:
            raise MalformedBody(f"answer.next_url: no address: {self._without_key(shown(next_url))}", 200) from error
        query = [(name, value) for name, value in parse_qsl(parts.query) if name.lower() != KEY_PARAMETER]
        path = "/" + parts.path.removeprefix(self._prefix).lstrip("/")
        return self.get(path, dict(query), stop)

    def close(self) -> None:
        """Closes the connections. No call may be under way."""
        self._http.close()

    def _sent(self, path: str, address: str) -> bytes:
        """The body of a 200."""
        answering = False
        try:
            with self._http.stream("GET", address) as response:
                answering = response.status_code == httpx.codes.OK
                if not answering:
                    raise self._refusal(path, response)
                return self._whole_body(path, response)
        except httpx.TimeoutException as error:
            raise ProviderTimeout(f"{path}: no answer within {self._timeout_seconds:g} s") from error
        except httpx.DecodingError as error:
            raise MalformedBody(f"{path}: the body cannot be unpacked", 200) from error
        except httpx.InvalidURL as error:
            raise MalformedBody(f"{path}: no address can be made of it") from error
        except httpx.TransportError as error:
            if answering:
                raise MalformedBody(f"{path}: the answer is cut off", 200) from error
            raise Unreachable(f"{path}: {type(error).__name__}: {self._without_key(str(error))}") from error

    def _whole_body(self, path: str, response: httpx.Response) -> bytes:
        """The body. A server that keeps sending a little now and then has one timeout for all of it."""
        until, parts, size = self._clock.monotonic() + self._timeout_seconds, [], 0
        for part in response.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > MOST_BODY_BYTES:
                raise MalformedBody(f"{path}: a body of over {MOST_BODY_BYTES} bytes", 200)
            if self._clock.monotonic() > until:
                raise ProviderTimeout(f"{path}: no whole answer within {self._timeout_seconds:g} s", 200)
        return b"".join(parts)

    def _refusal(self, path: str, response: httpx.Response) -> ProviderError:
        """The error of a status that is not 200. A 429 pauses everybody at once, before its body is read."""
        status, seconds = response.status_code, 0.0
        if status == httpx.codes.TOO_MANY_REQUESTS:
            seconds = retry_after_seconds(response.headers, self._clock.now())
            self._permits.pause(seconds)
            log.warning("the provider asks for a pause", extra={"seconds": seconds, "path": path})
        message = f"{path}: {status}{self._reason(response)}"
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return RateLimited(message, seconds)
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.PAYMENT_REQUIRED, httpx.codes.FORBIDDEN):
            return NotAuthorised(message, status)
        if status == httpx.codes.NOT_FOUND:
            return TickerNotFound(message, status)
        return (ServerError if status >= httpx.codes.INTERNAL_SERVER_ERROR else UnexpectedStatus)(message, status)

    def _reason(self, response: httpx.Response) -> str:
        """What the body of a refusal says, where it can be read: it is for people, and the status is enough."""
        try:
            body = orjson.loads(self._whole_body("", response))
        except (httpx.HTTPError, ProviderError, orjson.JSONDecodeError):
            return ""
        said = [body[name] for name in ("error", "message") if name in body] if isinstance(body, dict) else []
        return "".join(f": {shown(self._without_key(text))}" for text in said if isinstance(text, str))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float:
    """How long a 429 wants no calls: its Retry-After in seconds or as an HTTP date, else a default.

    A date is counted from the server's own Date header where there is one, so that it does not matter whose clock is
    right. What is negative, past or no number is odd; what is told is kept within 1 s and 1 h (RFC 9110, 10.2.3).
    """
    told = headers.get("retry-after", "").strip()
    seconds = _number(told)
    if seconds is None:
        until, since = _http_date(told), _http_date(headers.get("date", "")) or now
        seconds = None if until is None else (until - since).total_seconds()
        seconds = None if seconds is not None and seconds <= 0 else seconds
    if seconds is None or seconds < 0:
        return DEFAULT_RETRY_AFTER_SECONDS
    return min(max(seconds, LEAST_RETRY_AFTER_SECONDS), MOST_RETRY_AFTER_SECONDS)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _refuse_address_or_key(base_url: str, api_key: str) -> None:
    try:
        address = urlsplit(base_url)
        is_good = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
        httpx.URL(base_url)
    except (ValueError, httpx.InvalidURL) as error:
        raise ConfigError('MARKET_DATA["base_url"]', f"not an address: {base_url!r}: {error}") from error
    if not is_good:
        raise ConfigError('MARKET_DATA["base_url"]', f"not an http or https address: {base_url!r}")
    if not all("!" <= letter <= "~" for letter in api_key):
        raise ConfigError('MARKET_DATA["api_key"]', "has a blank or a character that no header can carry")
