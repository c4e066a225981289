"""What the provider answers, freed of its wire formats. Numbers are finite; None is what the provider did not say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class ProviderQuote:
    """The newest quote of one ticker, in the ticker's price units; open to volume are the day's so far.

    At least one of bid, ask and last_price is there. Prices may be crossed or negative, the time in the future: this
    says what the provider said. `timestamp` is aware, UTC; what is much older than it is left out (`wire`).
    """

    ticker: str
    bid: float | None
    ask: float | None
    last_price: float | None
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class DailyBar:
    """One day of one ticker. Prices are above zero; an index has no volume. `day` is the market's date."""

    ticker: str
    day: date
    open: float
    high: float
    low: float
    close: float
    volume: float | None
