"""The documented JSON shapes of the provider, and what they say: snapshots of v2 and v3, chains, daily bars.

Times are milliseconds in v2 forex and crypto and in bars, nanoseconds in v3. An answer that is wrong as a whole raises
MalformedBody; one wrong item of a list is its own failure, under its ticker. No HTTP here.

What of an item counts: the provider dates quote and trade of their own, and either may be left from days ago. The
newest of the two dates the answer; what is over OLD_SECONDS older than that is left out. last_price is then the
trade's, else the middle of bid and ask, else the price that the day's session names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from position_server.market_data.provider.answers import DailyBar, ProviderQuote
from position_server.market_data.provider.errors import (
    MalformedBody,
    NotAuthorised,
    ProviderError,
    ServerError,
    TickerNotFound,
)
from position_server.market_data.provider.fields import Fields, Unit, shown

GOOD_STATUSES = ("OK", "DELAYED")  # the second on plans with delayed data
OLD_SECONDS = 900.0
OPTION, ROUND_THE_CLOCK = "O:", ("C:", "X:")  # how tickers begin; currencies and coins have UTC days
MARKET_ZONE = ZoneInfo("America/New_York")  # whose days bars of stocks, options and indices are
TRADE_TIMES = ("sip_timestamp", "last_updated", "participant_timestamp")  # whichever the asset class has, v3
Answers = dict[str, ProviderQuote | ProviderError]
Day = tuple[float | None, float | None, float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Something observed at a time: the two sides of a quote, or a trade."""

    time: datetime | None
    bid: float | None = None
    ask: float | None = None
    price: float | None = None

    def counts(self, newest: datetime) -> bool:
        return self.time is not None and newest - self.time <= timedelta(seconds=OLD_SECONDS)

    @property
    def middle(self) -> float | None:
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


def checked(body: Any) -> Fields:
    """The answer as fields. Raises MalformedBody where it is no object, or says itself that it is no good one."""
    fields = Fields.of("answer", body)
    status = fields.text("status")
    if status is not None and status not in GOOD_STATUSES:
        raise fields.wrong("status", "no good answer")
    return fields


def next_page(answer: Fields) -> str | None:
    """The address of the next page, None on the last one."""
    return answer.text("next_url") or None


def universal_quotes(answer: Fields) -> Answers:
    """`/v3/snapshot`: by ticker, its quote or why there is none."""
    return _by_ticker(_named_items(answer, "results", "ticker"), _universal_quote)


def market_quotes(answer: Fields) -> Answers:
    """The v2 snapshot of a market, `?tickers=...`."""
    return _by_ticker(_named_items(answer, "tickers", "ticker"), _market_quote)


def chain_quotes(answer: Fields) -> Answers:
    """`/v3/snapshot/options/{underlying}`: by contract."""
    items = [Fields.of(f"results[{n}]", value) for n, value in enumerate(answer.many("results"))]
    return _by_ticker(((_ticker(item.below("details"), "ticker"), item) for item in items), _universal_quote)


def bars_of(answer: Fields, ticker: str) -> list[DailyBar]:
    """`/v2/aggs/ticker/{ticker}/range/1/day/...`: one page of its bars, as they came."""
    _refuse_lost_results(answer)
    zone = UTC if ticker.startswith(ROUND_THE_CLOCK) else MARKET_ZONE
    items = enumerate(answer.many("results"))
    return [_bar(Fields.of(f"{ticker}[{n}]", value), ticker, zone) for n, value in items]


def grouped_bars(answer: Fields, day: date) -> dict[str, DailyBar | ProviderError]:
    """`/v2/aggs/grouped/.../{day}`: by ticker, its bar of that day."""
    _refuse_lost_results(answer)
    bars: dict[str, DailyBar | ProviderError] = {}
    for ticker, item in _named_items(answer, "results", "T"):
        try:
            bar = _bar(item, ticker, MARKET_ZONE)
            if bar.day != day:
                raise MalformedBody(f"{ticker}: a bar of {bar.day} in an answer for {day}", 200)
            if bars.setdefault(ticker, bar) != bar:
                raise MalformedBody(f"{ticker}: two different bars of {day}", 200)
        except MalformedBody as error:
            bars[ticker] = error
    return bars


def _named_items(answer: Fields, name: str, key: str) -> Iterator[tuple[str, Fields]]:
    for number, value in enumerate(answer.many(name)):
        item = Fields.of(f"{name}[{number}]", value)
        yield _ticker(item, key), item


def _ticker(item: Fields, key: str) -> str:
    """An item that does not say whose it is makes the whole answer doubtful."""
    ticker = item.text(key)
    if not ticker:
        raise item.wrong(key, "no ticker")
    return ticker


def _by_ticker(items: Iterable[tuple[str, Fields]], read: Callable[[str, Fields], ProviderQuote]) -> Answers:
    """One answer a ticker. Of several the newest counts; two of the same time that differ are a failure."""
    answers: Answers = {}
    for ticker, item in items:
        try:
            found: ProviderQuote | ProviderError = read(ticker, Fields(ticker, item.values))
        except ProviderError as error:
            found = error
        answers[ticker] = found if ticker not in answers else better(answers[ticker], found)
    return answers


class Contradiction(MalformedBody):
    """Two different quotes of one ticker and one time: neither is believed, nor a third."""


def better(
    first: ProviderQuote | ProviderError, second: ProviderQuote | ProviderError
) -> ProviderQuote | ProviderError:
    """Which of two answers for one ticker counts; `first` may be what earlier ones came to."""
    if isinstance(first, Contradiction):
        return first
    if isinstance(first, ProviderError):
        return second
    if isinstance(second, ProviderError) or first == second or second.timestamp < first.timestamp:
        return first
    if second.timestamp > first.timestamp:
        return second
    return Contradiction(f"{first.ticker}: two different quotes of {first.timestamp.isoformat()}", 200)


def _universal_quote(ticker: str, item: Fields) -> ProviderQuote:
    """An item of v3; an options chain has `day` where the others have `session`."""
    _refuse_failed(ticker, item)
    quoted, traded = item.below("last_quote"), item.below("last_trade")
    session = item.below("session" if "session" in item.values else "day")
    quote = _Seen(
        quoted.time("last_updated", Unit.NANOSECONDS),
        *_sides(quoted, "bid", "ask", is_option=ticker.startswith(OPTION)),
    )
    times = [time for name in TRADE_TIMES if (time := traded.time(name, Unit.NANOSECONDS)) is not None]
    trade = _Seen(times[0] if times else None, price=traded.price("price"))
    value = _Seen(item.time("last_updated", Unit.NANOSECONDS), price=item.price("value"))  # of an index
    named = _Seen(
        session.time("last_updated", Unit.NANOSECONDS), price=session.price("price") or session.price("close")
    )
    names = ("open", "high", "low", "close", "volume")
    return _quote(ticker, quote, [trade, value], named, _day(session, names))


def _market_quote(ticker: str, item: Fields) -> ProviderQuote:
    """An item of v2: forex has `lastQuote`, crypto `lastTrade`."""
    quoted, traded, day = item.below("lastQuote"), item.below("lastTrade"), item.below("day")
    updated = item.time("updated", Unit.MILLISECONDS)
    quote = _Seen(quoted.time("t", Unit.MILLISECONDS) or updated, *_sides(quoted, "b", "a"))
    trade = _Seen(traded.time("t", Unit.MILLISECONDS) or updated, price=traded.price("p"))
    named = _Seen(updated, price=day.price("c"))
    return _quote(ticker, quote, [trade], named, _day(day, ("o", "h", "l", "c", "v")))


def _refuse_failed(ticker: str, item: Fields) -> None:
    """Raises what an item with an `error` says."""
    error = item.text("error")
    if error is None:
        return
    kinds: Mapping[str, type[ProviderError]] = {"NOT_FOUND": TickerNotFound, "NOT_ENTITLED": NotAuthorised}
    raise kinds.get(error, ServerError)(f"{ticker}: the provider says {shown(error)}", 200)


def _sides(quoted: Fields, bid: str, ask: str, *, is_option: bool = False) -> tuple[float | None, float | None]:
    """Bid and ask. Nobody bids for a worthless option: there a bid of 0 beside an ask is a bid."""
    bids, asks = quoted.price(bid), quoted.price(ask)
    if is_option and asks is not None and quoted.number(bid) == 0:
        bids = 0.0
    return bids, asks


def _day(day: Fields, names: tuple[str, str, str, str, str]) -> Day:
    """Open, high, low, close and volume; before the day's first trade they are 0, that is, not there."""
    first, high, low, last, traded = names
    volume = day.number(traded)
    if volume is not None and volume < 0:
        raise day.wrong(traded, "below zero")
    return day.price(first), day.price(high), day.price(low), day.price(last), volume


def _quote(ticker: str, quote: _Seen, trades: list[_Seen], named: _Seen, day: Day) -> ProviderQuote:
    """The quote that follows from what was seen. Raises MalformedBody where nothing of it has both price and time."""
    trade = next((trade for trade in trades if trade.price is not None), _Seen(None))
    is_quoted = quote.bid is not None or quote.ask is not None
    times = [seen.time for seen, known in ((quote, is_quoted), (trade, trade.price is not None)) if known and seen.time]
    newest = max(times, default=named.time if named.price is not None else None)
    if newest is None:
        raise MalformedBody(f"{ticker}: no price with a time", 200)
    if not (is_quoted and quote.counts(newest)):
        quote = _Seen(None)
    last = trade.price if trade.counts(newest) else None
    last = quote.middle if last is None else last
    if last is None and named.counts(newest):
        last = named.price
    return ProviderQuote(ticker, quote.bid, quote.ask, last, *day, newest)


def _refuse_lost_results(answer: Fields) -> None:
    count = answer.number("resultsCount")
    if count and not answer.many("results"):
        raise MalformedBody(f"answer.results: empty, though there are {count:g}", 200)


def _bar(item: Fields, ticker: str, zone: tzinfo) -> DailyBar:
    time, volume = item.time("t", Unit.MILLISECONDS), item.number("v")
    first, high, low, last = (item.price(name) for name in ("o", "h", "l", "c"))
    if time is None or first is None or high is None or low is None or last is None:
        raise MalformedBody(f"{ticker}: a bar without its time or a price: {shown(dict(item.values))}", 200)
    if min(first, high, low, last, volume or 0.0) < 0:
        raise MalformedBody(f"{ticker}: a bar with a number below zero: {shown(dict(item.values))}", 200)
    return DailyBar(ticker, time.astimezone(zone).date(), first, high, low, last, volume)
