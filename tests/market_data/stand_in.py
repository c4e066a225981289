"""A quote provider for tests: a real HTTP server on a free port that speaks the documented shapes.

Its answers meet the `faults` that a test asks for.

::

    with StandIn() as provider:
        provider.quote("C:EURUSD", 1.1, 1.2)
        provider.plan(rate_limited("7"), None, dropped())     # for the next three calls; None is a good answer
        ...
        assert len(provider.calls) == 3

Threads: each connection has one; what they share is guarded by the lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from datetime import time as clock_time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from zoneinfo import ZoneInfo

from tests.market_data.faults import Fault, Reply, refused

NEW_YORK = ZoneInfo("America/New_York")
KINDS = {"C:": "fx", "X:": "crypto", "O:": "options", "I:": "indices"}


@dataclass(frozen=True)
class Quoted:
    """What the stand-in says of one ticker; None is left out of the answer."""

    bid: float | None
    ask: float | None
    last: float | None
    at: datetime
    day: tuple[float, float, float, float, float] = (1.0, 3.0, 0.5, 2.0, 1000.0)


@dataclass(frozen=True)
class Call:
    """One request that arrived. `at` is monotonic seconds; the first has number 1."""

    number: int
    at: float
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def tickers(self) -> list[str]:
        """The tickers asked for in the query."""
        text = self.query.get("ticker.any_of") or self.query.get("tickers") or ""
        return [ticker for ticker in text.split(",") if ticker]


Schedule = Callable[[Call], Fault | None]


class StandIn:
    """The stand-in: `url` while it runs. What it knows and does may be changed at any time, from any thread."""

    def __init__(self, *, port: int = 0, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.page_size: int | None = None  # the most items of a page, whatever limit is asked for
        self.schedule: Schedule | None = None  # which fault a call meets, when the plan is at its end
        self._now, self._port = now, port
        self._quotes: dict[str, Quoted] = {}
        self._bars: dict[str, list[dict[str, Any]]] = {}
        self._calls: list[Call] = []
        self._plan: deque[Fault | None] = deque()
        self._lock = threading.Lock()  # guards all of the above
        self.ending = threading.Event()

    def __enter__(self) -> Self:
        stand_in = self

        class Handler(_Handler):
            owner = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="stand-in")
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    @property
    def calls(self) -> list[Call]:
        """Every request so far, in the order they came."""
        with self._lock:
            return list(self._calls)

    def quote(
        self,
        ticker: str,
        bid: float | None,
        ask: float | None,
        last: float | None = None,
        *,
        at: datetime | None = None,
        **other: Any,
    ) -> None:
        """From now on the ticker is quoted so; as of now unless `at` says otherwise."""
        with self._lock:
            self._quotes[ticker] = Quoted(bid, ask, last, at or self._now(), **other)

    def bar(self, ticker: str, day: date, close: float, **other: float) -> None:
        """From now on the ticker has a bar of that day, open and extremes at its close unless said otherwise."""
        zone = UTC if ticker.startswith(("C:", "X:")) else NEW_YORK
        start = datetime.combine(day, clock_time(), zone)
        bar = {"t": _units(start, 1000), "o": close, "h": close, "l": close, "c": close, "v": 10.0, "n": 1, **other}
        with self._lock:
            self._bars.setdefault(ticker, []).append(bar)

    def plan(self, *faults: Fault | None) -> None:
        """What the next calls meet, one each; None is a good answer."""
        with self._lock:
            self._plan.extend(faults)

    def answer(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """The answer to one request, with its fault."""
        with self._lock:
            call = Call(len(self._calls) + 1, time.monotonic(), path, query, headers)
            self._calls.append(call)
            reply = self._good(call)
            fault = self._plan.popleft() if self._plan else self.schedule(call) if self.schedule else None
        return fault(reply) if fault else reply

    def _good(self, call: Call) -> Reply:
        parts = call.path.strip("/").split("/")
        match parts:
            case ["v2", "snapshot", "locale", "global", "markets", "forex" | "crypto", "tickers"]:
                known = [ticker for ticker in call.tickers or self._quotes if ticker in self._quotes]
                return Reply({"status": "OK", "tickers": [_v2_item(t, self._quotes[t]) for t in known]})
            case ["v3", "snapshot"]:
                return self._page(call, [self._v3_item(ticker) for ticker in sorted(call.tickers)])
            case ["v3", "snapshot", "options", underlying]:
                of_it = [t for t in sorted(self._quotes) if t.startswith("O:") and t[2:-15] == underlying]
                return self._page(call, [_chain_item(t, self._quotes[t]) for t in of_it])
            case ["v2", "aggs", "ticker", ticker, "range", "1", "day", start, end]:
                bars = [bar for bar in self._bars.get(ticker, []) if start <= _day(ticker, bar) <= end]
                return self._page(call, bars, ticker=ticker, adjusted=True, resultsCount=len(bars))
            case ["v2", "aggs", "grouped", "locale", "us", "market", "stocks", day]:
                every = [{"T": t, **bar} for t, bars in self._bars.items() for bar in bars if _day(t, bar) == day]
                return Reply({"status": "OK", "adjusted": True, "resultsCount": len(every), "results": every})
        return refused(404, "404 page not found")(Reply())

    def _page(self, call: Call, items: list[Any], **other: Any) -> Reply:
        """A page of the items. Like the real one, it has 10 of a snapshot unless a limit is asked for."""
        size = self.page_size or int(call.query.get("limit", "10"))
        first = int(call.query.get("cursor", "0"))
        value = {"status": "OK", "request_id": "r", "results": items[first : first + size], **other}
        if first + size < len(items):
            query = {**call.query, "cursor": str(first + size), "apiKey": "of-the-provider"}
            value["next_url"] = f"https://api.massive.com{call.path}?{urlencode(query)}"
        return Reply(value)

    def _v3_item(self, ticker: str) -> dict[str, Any]:
        if ticker not in self._quotes:
            return {"ticker": ticker, "error": "NOT_FOUND", "message": "Ticker not found."}
        quoted = self._quotes[ticker]
        item = {"ticker": ticker, "type": KINDS.get(ticker[:2], "stocks"), "name": ticker, "market_status": "open"}
        return {**item, "session": _session(quoted), **_v3_prices(quoted)}


def _v2_item(ticker: str, quoted: Quoted) -> dict[str, Any]:
    day = dict(zip("ohlcv", quoted.day, strict=True))
    item: dict[str, Any] = {"ticker": ticker, "day": day, "updated": _units(quoted.at, 1000), "todaysChange": 0.1}
    if quoted.bid is not None or quoted.ask is not None:
        item["lastQuote"] = _said(b=quoted.bid, a=quoted.ask, t=_units(quoted.at, 1000), x=48)
    if quoted.last is not None:
        item["lastTrade"] = {"p": quoted.last, "s": 1, "c": [1], "i": "1", "t": _units(quoted.at, 1000), "x": 1}
    return item


def _chain_item(ticker: str, quoted: Quoted) -> dict[str, Any]:
    details = {"ticker": ticker, "contract_type": "call", "exercise_style": "american", "strike_price": 1.0}
    return {"details": details, "day": _session(quoted), "open_interest": 1, **_v3_prices(quoted)}


def _v3_prices(quoted: Quoted) -> dict[str, Any]:
    prices: dict[str, Any] = {}
    at = _units(quoted.at, 1_000_000_000)
    if quoted.bid is not None or quoted.ask is not None:
        prices["last_quote"] = _said(bid=quoted.bid, ask=quoted.ask, last_updated=at, timeframe="REAL-TIME")
    if quoted.last is not None:
        prices["last_trade"] = {"price": quoted.last, "size": 1, "sip_timestamp": at, "exchange": 1}
    return prices


def _session(quoted: Quoted) -> dict[str, Any]:
    return dict(zip(("open", "high", "low", "close", "volume"), quoted.day, strict=True))


def _said(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _units(moment: datetime, in_a_second: int) -> int:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * in_a_second + since.microseconds * in_a_second // 1_000_000


def _day(ticker: str, bar: Mapping[str, Any]) -> str:
    zone = UTC if ticker.startswith(("C:", "X:")) else NEW_YORK
    return datetime.fromtimestamp(bar["t"] / 1000, zone).date().isoformat()


class _Handler(BaseHTTPRequestHandler):
    """Sends what the owner answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every further request of a connection waits 40 ms for an acknowledgement
    owner: StandIn

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        reply = self.owner.answer(unquote(parts.path), dict(parse_qsl(parts.query)), dict(self.headers))
        if reply.delay_seconds and self.owner.ending.wait(reply.delay_seconds):
            reply = replace(reply, is_dropped=True)
        self.close_connection = reply.is_dropped or reply.sent_share < 1
        if reply.is_dropped:
            return
        try:
            self._send(reply)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # who asked has gone, as some tests want

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for name, value in {
            "Date": self.date_time_string(),
            "Content-Type": "application/json",
            **reply.headers,
        }.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        sent = reply.body[: round(len(reply.body) * reply.sent_share)]
        for part in [sent[n : n + 1] for n in range(len(sent))] if reply.drip_seconds else [sent]:
            self.wfile.write(part)
            if reply.drip_seconds and self.owner.ending.wait(reply.drip_seconds):
                self.close_connection = True
                return

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""
