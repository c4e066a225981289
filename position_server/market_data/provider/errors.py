"""How asking the provider fails: one tree. None of it carries the key.

::

    ProviderError           a call failed, or one ticker of it has no quote
    ├── NotAuthorised       401, 402 or 403; or NOT_ENTITLED for one ticker
    ├── TickerNotFound      404; or NOT_FOUND for one ticker, or left out of the answer
    ├── RateLimited         429 (carries retry_after_seconds)
    ├── ServerError         5xx; or another error for one ticker
    ├── UnexpectedStatus    any other status but 200, redirects among them
    ├── ProviderTimeout     no whole answer in time
    ├── Unreachable         no connection, or it broke before an answer began
    └── MalformedBody       200, but not what is documented: empty, cut off, of wrong types

They are values as often as they are raised (one per ticker), and not the server's own errors: no HTTP answer has them.
"""

from __future__ import annotations

from typing import ClassVar


class ProviderError(Exception):
    """A call to the provider failed, or one ticker of it. `status` is the HTTP status, None where there was none."""

    code: ClassVar[str] = "provider_error"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def message(self) -> str:
        """The one line for people."""
        return str(self.args[0])


class NotAuthorised(ProviderError):
    """The provider does not accept the key, or its plan has not this ticker."""

    code = "not_authorised"


class TickerNotFound(ProviderError, LookupError):
    """The provider does not know the ticker, or has nothing for it."""

    code = "ticker_not_found"


class RateLimited(ProviderError):
    """The provider wants no calls for `retry_after_seconds`."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_seconds: float, status: int | None = 429) -> None:
        super().__init__(message, status)
        self.retry_after_seconds = retry_after_seconds


class ServerError(ProviderError):
    """The provider failed."""

    code = "server_error"


class UnexpectedStatus(ProviderError):
    """The provider answered with a status that its documentation does not have."""

    code = "unexpected_status"


class ProviderTimeout(ProviderError, TimeoutError):
    """The provider did not answer in time."""

    code = "provider_timeout"


class Unreachable(ProviderError, ConnectionError):
    """There was no connection to the provider."""

    code = "unreachable"


class MalformedBody(ProviderError, ValueError):
    """The provider's answer is not what is documented. The message names the field."""

    code = "malformed_body"
