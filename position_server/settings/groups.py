"""The groups of settings: each is a dictionary of config.py, checked field by field. Reads nothing."""

from __future__ import annotations

import os
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

TimeOfDay = Literal["SOD", "EOD", "LIVE"]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ToolServerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
ToolServerUrl = Annotated[str, Field(pattern=r"^https?://[^/\s]")]


def _upper_keys(value: object) -> object:
    """Names of environment variables come in lower case (CACHE__TTL_SECONDS__LIVE); the later one wins."""
    return {str(name).upper(): item for name, item in value.items()} if isinstance(value, dict) else value


def blank_is_none(value: object) -> object:
    return None if value == "" else value


class _Group(BaseModel):
    """A dictionary of config.py: unknown keys are refused, and what is not given has its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerSettings(_Group):
    """SERVER: where the server listens and what a client may do to it."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8888, ge=0, le=65535, description="Port to listen on; 0 takes a free one and logs it.")
    fast_path: bool = Field(True, description="Answer hits in front of the handlers; off, every request takes them.")
    max_body_mb: float = Field(2.0, gt=0, le=100, description="Largest body of a POST, in MB; a larger one is 413.")
    idle_connection_seconds: Seconds = Field(75.0, description="An idle connection is closed after this.")
    body_timeout_seconds: Seconds = Field(30.0, description="A body must have arrived within this.")
    max_wait_seconds: Seconds = Field(60.0, description="Longest wait of a request for a computation; 503 after it.")
    ready_after_seconds: Seconds = Field(
        30.0, description="`/health/ready` says ready after this, even if the warm-ups have not run."
    )
    shutdown_grace_seconds: Seconds = Field(10.0, description="On SIGTERM running requests have this long to end.")


class StoreSettings(_Group):
    """STORE: where the desk's data are."""

    url: Annotated[str | None, BeforeValidator(blank_is_none)] = Field(
        None,
        pattern=r"^(sqlite:///|postgresql://)",
        description="None: SQLite in the data folder. Or `sqlite:////path`, or `postgresql://user@host:port/database`.",
    )
    demo: bool = Field(True, description="Build the demo desk at start when there is no SQLite store yet.")


class ComputeSettings(_Group):
    """COMPUTE: the worker processes."""

    workers: int | None = Field(None, ge=1, le=256, description="Worker processes; None is one per core, at least two.")
    nice: int = Field(10, ge=0, le=19, description="Niceness of the workers: they give way to the serving process.")
    memory_mb: int = Field(4096, ge=512, description="Address space of one worker, in MB.")
    queue: int = Field(256, ge=1, description="Section computations that may wait, per kind (miss, what-if, warm-up).")
    threads: int = Field(32, ge=1, le=1024, description="Threads that wait for workers.")

    @property
    def worker_count(self) -> int:
        """How many worker processes to run."""
        return self.workers or max(2, os.cpu_count() or 2)


class CacheSettings(_Group):
    """CACHE: how much is kept, and for how long it is fresh."""

    max_entries: int = Field(500, ge=1, description="Environments kept; the least recently used goes first.")
    max_mb: float = Field(512.0, gt=0, description="Bytes of environments kept, in MB.")
    error_ttl_seconds: Seconds = Field(5.0, description="An environment with a failed section is fresh only this long.")
    ttl_seconds: Annotated[dict[TimeOfDay, Seconds], BeforeValidator(_upper_keys)] = Field(
        default={"SOD": 3600.0, "EOD": 900.0, "LIVE": 15.0},
        min_length=3,
        description="An environment is a hit for this long, by time_of_day.",
    )
    grace_seconds: Annotated[dict[TimeOfDay, Annotated[float, Field(ge=0)]], BeforeValidator(_upper_keys)] = Field(
        default={"SOD": 86400.0, "EOD": 3600.0, "LIVE": 60.0},
        min_length=3,
        description="For this long after its ttl it is served at once, while one refresh starts behind it.",
    )
    snapshot_seconds: Annotated[Seconds | None, BeforeValidator(blank_is_none)] = Field(
        300.0, description="How often it is written to disk, beside at the end; None: neither written nor restored."
    )
    snapshot_mb: float = Field(128.0, gt=0, description="Bytes of environments written to disk at most, in MB.")


class AssetSettings(_Group):
    """An entry of MARKET_DATA["assets"]: an instrument whose quotes are fetched, and how important they are."""

    symbol: str = Field(pattern=r"^[^\s:,]{1,64}$", description="The instrument's name in the store.")
    provider_ticker: str = Field(pattern=r"^[^\s,]{1,64}$", description="The provider's name for it (`C:EURUSD`).")
    asset_type: Literal["forex", "crypto", "index", "equity", "option"] = Field(description="What it is.")
    level: Literal["CRITICAL", "HIGH", "MEDIUM", "LOW"] = Field(
        "MEDIUM", description="How important it is; the CRITICAL ones are the priority batch."
    )
    name: str | None = Field(None, description="Its name for people.")
    base_asset: str | None = Field(None, min_length=1, description="The currency or coin that is priced.")
    quote_asset: str | None = Field(None, min_length=1, description="The currency of the price.")
    price_precision: int | None = Field(None, ge=0, le=12, description="Decimal places of its prices.")


def _each_once(assets: tuple[AssetSettings, ...]) -> tuple[AssetSettings, ...]:
    for field in ("symbol", "provider_ticker"):
        names = [getattr(asset, field) for asset in assets]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{field} {twice} is there twice")
    return assets


class MarketDataSettings(_Group):
    """MARKET_DATA: which quotes are fetched, how often, and how many calls the provider allows."""

    enabled: bool = Field(True, description="Fetch quotes; off, somebody else does or nobody.")
    base_url: str = Field(
        "demo", pattern=r"^(demo$|https?://)", description="The provider's address; `demo` starts an invented one."
    )
    api_key: Annotated[SecretStr | None, BeforeValidator(blank_is_none)] = Field(
        None, description="The provider's key, from the environment only; never shown."
    )
    timeout_seconds: Seconds = Field(10.0, description="Longest wait for an answer of the provider.")
    calls: int = Field(5, ge=1, le=1_000_000, description="Calls that the provider allows in any window.")
    window_seconds: Seconds = Field(60.0, description="The window's length.")
    priority_interval_seconds: Seconds = Field(300.0, description="From one priority batch to the next.")
    queue_interval_seconds: Seconds = Field(15.0, description="From one look at the queue to the next.")
    secondary_interval_seconds: Seconds = Field(1800.0, description="How often the other assets join the queue.")
    stale_after_seconds: Seconds = Field(900.0, description="Without an update for this long an asset is stale.")
    assets: Annotated[tuple[AssetSettings, ...], AfterValidator(_each_once)] = Field(
        (), description="The assets; docs/market-data.md."
    )


FACTORS = ("VUG", "VTV", "MTUM", "QUAL", "IWM", "SPY", "USMV", "TLT")
Symbol = Annotated[str, Field(pattern=r"^\S[^,]{0,63}$")]


class PortfolioSettings(_Group):
    """PORTFOLIO: the nightly batch over symbols and books."""

    poll_seconds: Seconds = Field(300.0, description="How often `portfolios` looks at the `symbols` run of its date.")
    max_wait_seconds: Seconds = Field(3600.0, description="It waits so long for that run, then it aborts.")
    heartbeat_timeout_seconds: float = Field(
        120.0, ge=1, allow_inf_nan=False, description="A run without a heartbeat for this long is taken for dead."
    )
    onboarding_wait_seconds: Seconds = Field(
        120.0, description="It waits so long for symbols being onboarded, then it computes what is missing itself."
    )
    factor_window_days: int = Field(
        252, ge=60, le=2520, description="Business days whose returns a factor fit looks back on."
    )
    factors: dict[str, Symbol] = Field(
        default={},  # not the usual ones: settings lay a dictionary that is given over its default
        description="The factors by name, each with the symbol whose returns it is; none given is the usual eight.",
    )
    market_factor: str = Field("SPY", description="The factor that `market_beta` is measured on.")
    universe: tuple[Symbol, ...] = Field((), description="Symbols to process beside those of positions.")
    max_gap_share: float = Field(
        0.2, ge=0, le=1, description="A `symbols` run with gaps in more than this share of its symbols has failed."
    )

    @model_validator(mode="after")
    def _market_factor_is_a_factor(self) -> Self:
        if self.market_factor not in self.factor_symbols:
            raise ValueError(f"market_factor {self.market_factor!r} is none of factors")
        return self

    @property
    def factor_symbols(self) -> dict[str, str]:
        """The symbol of each factor; of the usual ones, the ETF that each is named after."""
        return self.factors or {name: name for name in FACTORS}


class LogSettings(_Group):
    """LOGS: the log stream on standard error, one JSON object a line."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is written.")
    access: bool = Field(True, description="One line per request.")


class SimulationSettings(_Group):
    """SIMULATION: the simulation service."""

    start_date: Annotated[date | None, BeforeValidator(blank_is_none)] = Field(
        None, description="A model's first day; None is the first day with prices."
    )
    max_concurrent_jobs: int = Field(1, ge=1, le=16, description="Jobs that may run at once, in all servers together.")
    resume_jobs: bool = Field(True, description="Take up jobs whose server died; off, they end partial or failed.")
    model_day_timeout_seconds: Seconds = Field(300.0, description="A model-day that takes longer is ended and failed.")
    retries: int = Field(
        3, ge=1, le=10, description="Tries of a model-day that fails for the moment, the first included."
    )
    tool_servers: Annotated[dict[ToolServerName, ToolServerUrl], Field(max_length=16)] = Field(
        default={}, description="Addresses of an agent's tools by name; without one a tool runs in the worker."
    )
