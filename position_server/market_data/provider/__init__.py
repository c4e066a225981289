"""The client of the quote provider: Polygon-style REST (now Massive), synchronous, one permit a call.

::

    client      what can be asked: quotes, chains, daily bars        answers   what comes back
    transport   one GET: permit, key, deadline, status               errors    how it fails
    wire        the documented JSON shapes, checked field by field   fields    one JSON object

It retries nothing, keeps nothing and knows no symbols, only the provider's tickers: who asks decides what a failure
means.
"""

from position_server.market_data.provider.answers import DailyBar, ProviderQuote
from position_server.market_data.provider.client import ProviderClient
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
from position_server.market_data.provider.transport import Permits

__all__ = [
    "DailyBar",
    "MalformedBody",
    "NotAuthorised",
    "Permits",
    "ProviderClient",
    "ProviderError",
    "ProviderQuote",
    "ProviderTimeout",
    "RateLimited",
    "ServerError",
    "TickerNotFound",
    "UnexpectedStatus",
    "Unreachable",
]
