"""Invented quotes: the last one of each of the final days, and on the very last day one from the middle of the session.

The day's real open, high, low and close (the tape's band where there are none) bound them; spreads are plausible, not
observed. Some instruments have none on purpose, so that LIVE has closes to fall back on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from position_server.demo.desk import ONBOARDED, Instrument
from position_server.demo.dice import Dice
from position_server.demo.sources import Bar, Market
from position_server.demo.tape import Tape, rounded

SEED = 1730
QUOTED_DAYS = 5
LIVE_TIME, CLOSING_TIME = time(17, 30, tzinfo=UTC), time(19, 59, tzinfo=UTC)  # 13:30 and 15:59 in New York
UNQUOTED_SPOT = ("ADAUSD", "LTCUSD", "NZDUSD")
UNQUOTED_ROOTS = ("6M", "6N", "TN")
UNQUOTED_EVERY = 12  # one equity in so many has no quotes
QUOTED_MONTHS = ("Z25", "X25")  # quarterly contracts of December, coin futures of November
SPREAD_SHARE = {"EQUITY": 0.0002, "SPOT": 0.00008}  # of the price; futures are one tick wide
SOURCE = "invented"


@dataclass(frozen=True, slots=True)
class Quote:
    """One row of `quotes`: `open`, `high` and `low` are the day's so far."""

    instrument: str
    quote_date: date
    quote_time: datetime
    bid: float
    ask: float
    last_price: float
    open: float | None
    high: float | None
    low: float | None
    volume: float | None
    source: str = SOURCE


def quotes(desk: Sequence[Instrument], market: Market, tape: Tape, days: Sequence[date]) -> Iterator[Quote]:
    """The quotes of the last QUOTED_DAYS of `days`, by instrument and day."""
    dice = Dice(SEED)
    for row in _quoted(desk):
        for on in days[-QUOTED_DAYS:]:
            if tape.has(row.instrument, on):
                yield _quote(dice, row, market.bars.get(row.instrument, {}).get(on), tape, on, is_live=on == days[-1])


def _quoted(desk: Sequence[Instrument]) -> list[Instrument]:
    equities = [row for row in desk if row.kind == "EQUITY" and row.instrument != ONBOARDED]
    unquoted = {row.instrument for row in equities[UNQUOTED_EVERY // 2 :: UNQUOTED_EVERY]} | {*UNQUOTED_SPOT}
    futures = [row for row in desk if row.kind == "FUTURE" and _is_front(row) and row.root not in UNQUOTED_ROOTS]
    spot = [row for row in desk if row.kind == "SPOT"]
    return [*(row for row in (*equities, *spot) if row.instrument not in unquoted), *futures]


def _is_front(row: Instrument) -> bool:
    month = row.instrument.removeprefix(row.root)
    return month == QUOTED_MONTHS[row.root in ("MBT", "MET")]


def _quote(dice: Dice, row: Instrument, bar: Bar | None, tape: Tape, on: date, *, is_live: bool) -> Quote:
    tick = tape.ticks[row.instrument]
    moment = datetime.combine(on, LIVE_TIME if is_live else CLOSING_TIME) + timedelta(seconds=dice.between(0, 50))
    share = dice.share()
    last = bar.close if bar and not is_live else tape.price(row.instrument, on, 0.15 + 0.7 * share)
    spread = max(1, round(last * SPREAD_SHARE.get(row.kind, 0.0) / tick)) * tick
    bid = rounded(last - spread / 2, tick)
    ask = max(rounded(bid + spread, tick), last)
    so_far = _so_far(bar, last, 0.6 if is_live else 1.0)
    return Quote(row.instrument, on, moment, min(bid, last), ask, last, *so_far)


def _so_far(bar: Bar | None, last: float, part: float) -> tuple[float | None, float | None, float | None, float | None]:
    """Open, high, low and volume after `part` of the day: the extremes of open and last, that part of the way out."""
    if bar is None:
        return None, None, None, None
    top, bottom = max(bar.open, last), min(bar.open, last)
    high = round(top + part * max(bar.high - top, 0.0), 4)
    low = round(bottom - part * max(bottom - bar.low, 0.0), 4)
    return bar.open, high, low, round(part * bar.volume, 2)
