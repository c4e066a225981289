"""The exceptions of position-server: one tree, each with a stable code.

::

    PositionServerError                 internal_error
    ├── ConfigError                     config_invalid        a setting is wrong or missing
    ├── BadRequest          ValueError  bad_request           every problem of one request
    │   ├── InvalidConfig               invalid_config        a simulation's configuration is wrong
    │   └── InvalidDate                 invalid_date          a date or a range of dates is wrong
    ├── Unauthorized                    unauthorized          no API key, or none that is good
    ├── Forbidden                       forbidden             the key's role does not suffice
    ├── NotFound            LookupError not_found             no such thing here
    │   └── NoData                      no_data               nothing was simulated then
    ├── Conflict                        conflict              another simulation is in the way
    ├── PayloadTooLarge                 payload_too_large     a body above the limit
    ├── Retryable                       (carries retry_after_seconds)
    │   ├── Busy                        busy                  the compute queue is full
    │   ├── NotFresh                    not_fresh             data as fresh as asked for cannot be had now
    │   ├── Starting                    starting              the sections are not known yet
    │   └── NoPrices                    no_prices             the store has no prices for what is to be simulated
    ├── LoadError           ValueError  load_failed           a file refused whole, every bad line named
    ├── StoreUnavailable                store_unavailable     the store is down, locked or not migrated
    ├── MarketDataDisabled              market_data_disabled  a batch was asked for where nothing is fetched
    ├── BatchFailed                     batch_failed          a market-data batch broke; single symbols may fail without
    ├── BatchAborted                    batch_aborted         what a nightly batch waits for did not come true
    ├── BatchStopped                    batch_stopped         a nightly batch was told to end
    ├── RunSuperseded                   run_superseded        another process has taken the place of this run
    ├── TooManyGaps                     too_many_gaps         prices of too many symbols are missing
    ├── SnapshotFailed                  snapshot_failed       a book could not be valued
    ├── SectionTimeout      TimeoutError section_timeout      a section's work was killed past its timeout
    ├── BrokenSection                   broken_section        a section's file cannot be used
    ├── BrokenModel                     broken_model          a model's file cannot be used
    ├── AgentFailed                     agent_failed          an agent cannot decide: endpoint, key, tools or news
    └── WorkerDied                      worker_died           a worker process ended in the middle of its work

A class's docstring is its message unless one is given. Raise at the floor that knows the word; only `web/base.py`
translates codes into HTTP statuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class PositionServerError(Exception):
    """Something went wrong inside the server."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or self.code).splitlines()[0])

    @property
    def message(self) -> str:
        """The one line for people."""
        return str(self.args[0])


class ConfigError(PositionServerError):
    """A setting is wrong."""

    code = "config_invalid"

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a request: the field's name as the user wrote it, and what is wrong with it."""

    field: str
    message: str


class BadRequest(PositionServerError, ValueError):
    """The request is wrong."""

    code = "bad_request"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in problems))
        self.problems = tuple(problems)


class InvalidConfig(BadRequest):
    """The configuration of the simulation is wrong."""

    code = "invalid_config"


class InvalidDate(BadRequest):
    """A date, or a range of dates, is wrong."""

    code = "invalid_date"


class Unauthorized(PositionServerError):
    """An API key is needed, by X-API-Key or Authorization: Bearer; none was sent, or one that is not valid."""

    code = "unauthorized"


class Forbidden(PositionServerError):
    """The API key's role does not suffice."""

    code = "forbidden"


class NotFound(PositionServerError, LookupError):
    """There is nothing here by that name."""

    code = "not_found"


class NoData(NotFound):
    """Nothing was simulated for what was asked."""

    code = "no_data"


class Conflict(PositionServerError):
    """Another simulation is in the way: one that runs, or one whose results would have to be replaced."""

    code = "conflict"

    def __init__(self, message: str, *, job_id: str, date_range: Sequence[str]) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.date_range = list(date_range)

    @property
    def fields(self) -> dict[str, object]:
        """What an answer says beside code and message."""
        return {"current_job_id": self.job_id, "current_date_range": self.date_range}


class PayloadTooLarge(PositionServerError):
    """The body is larger than the server accepts."""

    code = "payload_too_large"


class Retryable(PositionServerError):
    """Not now: try again after `retry_after_seconds`."""

    def __init__(self, message: str | None = None, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Busy(Retryable):
    """The compute queue is full."""

    code = "busy"


class NotFresh(Retryable):
    """Data as fresh as asked for cannot be had now."""

    code = "not_fresh"


class Starting(Retryable):
    """The server has just started and does not know its sections yet."""

    code = "starting"


class NoPrices(Retryable):
    """The store has no prices for the days that are to be simulated."""

    code = "no_prices"


class LoadError(PositionServerError, ValueError):
    """The file was refused: nothing was loaded."""

    code = "load_failed"

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        lines = "\n".join(f"line {line}: {message}" for line, message in problems)
        super().__init__(f"{type(self).__doc__}\n{lines}")
        self.problems = tuple(problems)


class StoreUnavailable(PositionServerError):
    """The store cannot be read or written now."""

    code = "store_unavailable"
    retry_after_seconds: ClassVar[int] = 5


class MarketDataDisabled(PositionServerError):
    """Nothing is fetched here: MARKET_DATA["enabled"] is False, or it names no assets."""

    code = "market_data_disabled"


class BatchFailed(PositionServerError):
    """The batch itself broke, not only single symbols of it; the log has the traceback."""

    code = "batch_failed"


class BatchAborted(PositionServerError):
    """The run that this batch waits for failed, or did not complete in time."""

    code = "batch_aborted"


class BatchStopped(PositionServerError):
    """The batch was told to end before it was done."""

    code = "batch_stopped"


class RunSuperseded(PositionServerError):
    """Another process has taken the place of this run, which therefore writes nothing more."""

    code = "run_superseded"


class TooManyGaps(PositionServerError):
    """Prices of too many symbols are missing."""

    code = "too_many_gaps"


class SnapshotFailed(PositionServerError):
    """A book could not be valued."""

    code = "snapshot_failed"


class SectionTimeout(PositionServerError, TimeoutError):
    """The section did not finish within its timeout; its worker was replaced."""

    code = "section_timeout"


class WorkerDied(PositionServerError):
    """The worker process ended in the middle of the section; it was replaced."""

    code = "worker_died"


class BrokenSection(PositionServerError):
    """A section's file cannot be used."""

    code = "broken_section"


class BrokenModel(PositionServerError):
    """A model's file cannot be used."""

    code = "broken_model"


class AgentFailed(PositionServerError):
    """The agent cannot decide, and trying again will not help."""

    code = "agent_failed"
