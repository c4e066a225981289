"""The demo provider: a small HTTP server that answers as the real quote provider does, with the demo's moving prices.

It stands in for the provider alone: it imports nothing of the serving application, stores nothing, counts no calls and
takes any key, or none. Query parameters that it does not know are refused, so that nobody takes a filter for applied.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime

import orjson
from tornado.web import Application, RequestHandler

from position_server.clock import Clock
from position_server.demo.feed import Feed
from position_server.demo.snapshot import Json, Snapshot

SEED = 20251030
DEFAULT_LIMIT, MOST_LIMIT = 10, 250  # items of a page
MOST_TICKERS = 250
COMMON_PARAMETERS = frozenset({"apiKey"})


class Refused(Exception):
    """A request that the provider does not accept: status, and what it says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class ProviderHandler(RequestHandler):
    """What all answers share: JSON, a request id, refusals in the provider's shape."""

    PARAMETERS: frozenset[str] = frozenset()

    def initialize(self, feed: Feed, clock: Clock) -> None:
        self.feed, self.clock = feed, clock

    def prepare(self) -> None:
        unknown = self.request.arguments.keys() - self.PARAMETERS - COMMON_PARAMETERS
        if unknown:
            self._refuse(400, f"the demo provider does not know these parameters: {', '.join(sorted(unknown))}")

    def answer(self, make: Callable[[], Json]) -> None:
        """Answers with what `make` returns."""
        try:
            self._say({"request_id": self._request_id(), "status": "OK", **make()})
        except Refused as refused:
            self._refuse(refused.status, refused.message)

    def text(self, name: str) -> str:
        """A query parameter, empty where it is missing."""
        return self.get_query_argument(name, "")

    def _refuse(self, status: int, message: str) -> None:
        self.set_status(status)
        kind, field = ("NOT_FOUND", "message") if status == 404 else ("ERROR", "error")
        self._say({"status": kind, "request_id": self._request_id(), field: message})

    def _say(self, value: Json) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(value))

    def _request_id(self) -> str:
        named = f"{self.clock.now().isoformat()} {self.request.uri}"
        return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()


class MarketSnapshot(ProviderHandler):
    """`/v2/snapshot/locale/global/markets/{forex|crypto}/tickers`: those asked for, or all."""

    PARAMETERS = frozenset({"tickers"})

    def get(self, market: str) -> None:
        known, asked = self.feed.market_tickers(market), _list(self.text("tickers"))
        chosen = [ticker for ticker in known if ticker in asked] if asked else known
        moment = self.feed.at(self.clock.now())
        self.answer(lambda: {"tickers": [moment.v2_item(ticker) for ticker in chosen]})


class MarketTicker(ProviderHandler):
    """The same for one ticker."""

    def get(self, market: str, ticker: str) -> None:
        self.answer(lambda: {"ticker": self._item(market, ticker)})

    def _item(self, market: str, ticker: str) -> Json:
        if ticker not in self.feed.market_tickers(market):
            raise Refused(404, "Ticker not found.")
        return self.feed.at(self.clock.now()).v2_item(ticker)


class PagedHandler(ProviderHandler):
    """Lists that come in pages: `limit` items, and where the next ones are in `next_url`.

    A cursor is the query that began the list, and how far it got.
    """

    PARAMETERS = frozenset({"limit", "cursor", "order", "sort"})

    def page(self, names_of: Callable[[str], Sequence[str]], item: Callable[[Snapshot, str], Json]) -> Json:
        """The page that was asked for. `names_of(asked)` are all of the list, in its order."""
        asked, limit, first = self._place()
        names, last, moment = names_of(asked), first + limit, self.feed.at(self.clock.now())
        answer: Json = {"results": [item(moment, name) for name in names[first:last]]}
        if last < len(names):
            cursor = base64.urlsafe_b64encode(orjson.dumps([asked, limit, last])).decode()
            here = f"{self.request.protocol}://{self.request.host}{self.request.path}"
            answer["next_url"] = f"{here}?cursor={cursor}"
        return answer

    def _place(self) -> tuple[str, int, int]:
        if self.text("cursor"):
            return _place_of(self.text("cursor"))
        text = self.text("limit") or str(DEFAULT_LIMIT)
        if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_LIMIT:
            raise Refused(400, f"limit must be from 1 to {MOST_LIMIT}")
        return self.text("ticker.any_of"), int(text), 0


class UniversalSnapshot(PagedHandler):
    """`/v3/snapshot`: those asked for, or all."""

    PARAMETERS = PagedHandler.PARAMETERS | {"ticker.any_of"}

    def get(self) -> None:
        self.answer(lambda: self.page(self._names, Snapshot.v3_item))

    def _names(self, asked: str) -> list[str]:
        names = sorted(set(_list(asked)))
        if len(names) > MOST_TICKERS:
            raise Refused(400, f"ticker.any_of has over {MOST_TICKERS} tickers")
        return names or self.feed.tickers()


class OptionChain(PagedHandler):
    """`/v3/snapshot/options/{underlying}`. An underlying without options has an empty list."""

    def get(self, underlying: str) -> None:
        self.answer(lambda: self.page(lambda _: self.feed.contracts(underlying), Snapshot.chain_item))


class OptionContract(ProviderHandler):
    """`/v3/snapshot/options/{underlying}/{contract}`."""

    def get(self, underlying: str, contract: str) -> None:
        self.answer(lambda: {"results": self._item(underlying, contract)})

    def _item(self, underlying: str, contract: str) -> Json:
        if contract not in self.feed.contracts(underlying):
            raise Refused(404, "Options contract not found.")
        return self.feed.at(self.clock.now()).chain_item(contract)


class DailyRange(ProviderHandler):
    """`/v2/aggs/ticker/{ticker}/range/1/day/{from}/{to}`. An unknown ticker has no results, as one without trades."""

    PARAMETERS = frozenset({"adjusted", "sort", "limit"})

    def get(self, ticker: str, multiplier: str, timespan: str, start: str, end: str) -> None:
        def make() -> Json:
            if (multiplier, timespan) != ("1", "day"):
                raise Refused(400, "the demo provider has bars of one day only")
            is_adjusted = _is_adjusted(self.text("adjusted"))
            bars = self.feed.bars(ticker, _date(start), _date(end), is_adjusted=is_adjusted)
            if self.text("sort") == "desc":
                bars.reverse()
            return {"ticker": ticker, **_counted(bars, is_adjusted)}

        self.answer(make)


class GroupedDaily(ProviderHandler):
    """`/v2/aggs/grouped/locale/us/market/stocks/{date}`. A day without trading has no results."""

    PARAMETERS = frozenset({"adjusted", "include_otc"})

    def get(self, day: str) -> None:
        def make() -> Json:
            is_adjusted = _is_adjusted(self.text("adjusted"))
            return _counted(self.feed.grouped(_date(day), is_adjusted=is_adjusted), is_adjusted)

        self.answer(make)


class NoSuchPage(RequestHandler):
    """Everything else."""

    def prepare(self) -> None:
        self.set_status(404)
        self.set_header("Content-Type", "text/plain")
        self.finish("404 page not found\n")


def application(feed: Feed, clock: Clock) -> Application:
    """The routes of the provider that the demo answers."""
    given = {"feed": feed, "clock": clock}
    markets = r"/v2/snapshot/locale/global/markets/(forex|crypto)/tickers"
    return Application(
        [
            (markets, MarketSnapshot, given),
            (rf"{markets}/([^/]+)", MarketTicker, given),
            (r"/v3/snapshot", UniversalSnapshot, given),
            (r"/v3/snapshot/options/([^/]+)", OptionChain, given),
            (r"/v3/snapshot/options/([^/]+)/([^/]+)", OptionContract, given),
            (r"/v2/aggs/ticker/([^/]+)/range/(\d+)/(\w+)/([^/]+)/([^/]+)", DailyRange, given),
            (r"/v2/aggs/grouped/locale/us/market/stocks/([^/]+)", GroupedDaily, given),
        ],
        default_handler_class=NoSuchPage,
        log_function=lambda _: None,  # a line for every call would be the log of the server that started this
    )


def _place_of(cursor: str) -> tuple[str, int, int]:
    try:
        asked, limit, first = orjson.loads(base64.urlsafe_b64decode(cursor))
        if isinstance(asked, str) and 1 <= int(limit) <= MOST_LIMIT and int(first) >= 0:
            return asked, int(limit), int(first)
    except (ValueError, TypeError) as error:
        raise Refused(400, "cursor is none of this provider's") from error
    raise Refused(400, "cursor is none of this provider's")


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _is_adjusted(text: str) -> bool:
    return text.lower() != "false"


def _date(text: str) -> date:
    """A date as YYYY-MM-DD, or as milliseconds since 1970."""
    try:
        return datetime.fromtimestamp(int(text) / 1000, UTC).date() if text.isdigit() else date.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise Refused(400, f"Could not parse the time parameter: {text!r}. Use YYYY-MM-DD or Unix MS.") from error


def _counted(bars: list[Json], is_adjusted: bool) -> Json:
    counts: Json = {"adjusted": is_adjusted, "queryCount": len(bars), "resultsCount": len(bars), "count": len(bars)}
    return {**counts, "results": bars} if bars else counts
