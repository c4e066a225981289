"""What a quote must be like to be stored: the provider's word is not taken for everything. Pure: no clock, no store."""

from __future__ import annotations

from datetime import datetime, timedelta

from position_server.market_data.provider import ProviderQuote

PRICES = ("bid", "ask", "last_price", "open", "high", "low", "close")
TOLERANCE = timedelta(seconds=60)  # two clocks may differ by so much before a timestamp counts as wrong


def problem_of(quote: ProviderQuote, now: datetime, *, is_option: bool = False) -> str | None:
    """Why the quote cannot be stored, in one line that begins with a code; None where it can.

    A bid without an ask can (and the other way round); a bid above its ask cannot, nor any price that is not above
    zero, but for the bid of an option that nobody wants.

    A timestamp ahead of `now` by more than TOLERANCE cannot either: nothing then tells how old the quote really is.
    Stored under its own time it would keep every later quote out, and under ours it would pass for fresh.
    """
    prices = {name: value for name in PRICES if (value := getattr(quote, name)) is not None}
    for name, value in prices.items():
        if value <= 0 and not (is_option and name == "bid" and value == 0):
            return f"price_not_positive: {name} is {value:g}"
    if quote.bid is not None and quote.ask is not None and quote.bid > quote.ask:
        return f"crossed: the bid {quote.bid:g} is above the ask {quote.ask:g}"
    if quote.volume is not None and quote.volume < 0:
        return f"volume_negative: volume is {quote.volume:g}"
    if not prices.keys() & {"bid", "ask", "last_price"}:
        return "no_price: neither bid, ask nor last price"
    if quote.timestamp - now > TOLERANCE:
        ahead = (quote.timestamp - now).total_seconds()
        return f"timestamp_ahead: {quote.timestamp.isoformat()} is {ahead:,.0f} s ahead of this clock"
    return None


def time_of(quote: ProviderQuote, now: datetime) -> datetime:
    """The quote's time; now where its clock is a little ahead of ours, so that it cannot outrank the next one."""
    return min(quote.timestamp, now)
