"""Settings: config.py, over it environment variables, over them flags; read once, checked whole, frozen.

Nothing else reads config.py or the environment. The file is loaded by path, so another one can be named by `--config`
and the current directory does not matter. A wrong setting raises ConfigError naming its key.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from position_server.business_days import Calendar
from position_server.errors import ConfigError
from position_server.settings.groups import (
    CacheSettings,
    ComputeSettings,
    LogSettings,
    MarketDataSettings,
    PortfolioSettings,
    Seconds,
    ServerSettings,
    SimulationSettings,
    StoreSettings,
    TimeOfDay,
    blank_is_none,
)

ENV_PREFIX = "POSITION_SERVER_"
CONFIG_FILE = Path(__file__).resolve().parent.parent.parent / "config.py"
SECRET = (("store", "url"), ("redis_url",), ("market_data",), ("market_data", "api_key"), ("market_data", "base_url"))


def known_zone(name: str) -> str:
    """The name of a time zone. Raises ValueError for one that is not known."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"no time zone is known by the name {name!r} (example: America/New_York)") from error
    return name


def _known_calendar(name: str) -> str:
    try:
        Calendar.named(name)
    except ConfigError as error:
        raise ValueError(error.message.partition(": ")[2]) from error
    return name


class Settings(BaseSettings):
    """Everything an operator can set, by the names of config.py in lower case."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Field(Path("var"), description="The folder for everything that is written (flag `--data-dir`).")
    server: ServerSettings = ServerSettings()
    allow_anonymous: bool = Field(False, description="Listen beyond loopback although there are no API keys.")
    expose_tracebacks: bool = Field(True, description="Answers carry tracebacks in `error_stack`.")
    timezone: Annotated[str, AfterValidator(known_zone)] = Field(
        "America/New_York",
        description="The desk's time zone: its business date, and warm-ups without one of their own.",
    )
    calendar: Annotated[str, AfterValidator(_known_calendar)] = Field("XNYS", description="The business-day calendar.")
    base_currency: str = Field("USD", pattern="^[A-Z]{3}$", description="Currency of every field ending in `_base`.")
    valid_time_of_day: tuple[TimeOfDay, ...] = Field(
        ("SOD", "EOD", "LIVE"), min_length=1, description="The values of `time_of_day` that requests may use."
    )
    business_date: Annotated[date | None, BeforeValidator(blank_is_none)] = Field(
        None, description="Pins the business date; None is the last business day not after today."
    )
    store: StoreSettings = StoreSettings()
    compute: ComputeSettings = ComputeSettings()
    timeouts: dict[str, Seconds] = Field(
        default={"default": 10.0}, description="Seconds a section may compute, by section; `default` for the others."
    )
    cache: CacheSettings = CacheSettings()
    warmup_configs: tuple[dict[str, Any], ...] = Field(
        (), description="Environments kept computed; docs/warm-ups.md. A bad entry harms no other."
    )
    market_data: MarketDataSettings = MarketDataSettings()
    redis_url: Annotated[str | None, BeforeValidator(blank_is_none)] = Field(
        None,
        pattern=r"^(redis|rediss|unix)://",
        description="Redis for events and the call budget; None keeps both without it.",
    )
    simulation: SimulationSettings = SimulationSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    logs: LogSettings = LogSettings()

    @property
    def store_url(self) -> str:
        """The store's URL: the configured one, else SQLite in the data folder."""
        return self.store.url or f"sqlite:///{(self.data_dir / 'position_server.sqlite').resolve()}"

    def timeout_of(self, section: str) -> float:
        """Seconds the section may compute."""
        return self.timeouts.get(section, self.timeouts.get("default", 10.0))


def load_settings(config_file: Path = CONFIG_FILE, flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings of `config_file`, the environment over it, and `flags` ({"server": {"port": 1}}) over both."""
    try:
        return _over(_read_config(config_file))(**(flags or {}))
    except ValidationError as error:
        raise _config_error(error) from error
    except SettingsError as error:
        raise ConfigError(_variable_named_in(error), f"must be JSON or a plain value: {error.__cause__}") from error


def _read_config(config_file: Path) -> dict[str, Any]:
    try:
        names = runpy.run_path(str(config_file))
    except Exception as error:
        raise ConfigError(str(config_file), f"cannot be read: {type(error).__name__}: {error}") from error
    values = {name.lower(): value for name, value in names.items() if name.isupper()}
    unknown = sorted(values.keys() - Settings.model_fields.keys())
    if unknown:
        raise ConfigError(unknown[0].upper(), f"unknown name in {config_file}")
    return values


def _over(file_values: dict[str, Any]) -> type[Settings]:
    """Settings whose arguments (the flags) are laid over environment variables, and those over the file's values."""

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings, InitSettingsSource(settings_cls, file_values))

    return Layered


def _config_error(error: ValidationError) -> ConfigError:
    """The first problem, its key spelled as an operator writes it: SERVER["port"]."""
    problem = error.errors()[0]
    name, *inner = [
        part for part in problem["loc"] if part != "[key]"
    ]  # the name of a dictionary's entry, not its value
    key = str(name).upper() + "".join(f"[{part!r}]".replace("'", '"') for part in inner)
    message = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
    is_misspelt_key = problem["loc"][0] == "market_data" and problem["type"] == "extra_forbidden"
    given = "" if problem["loc"] in SECRET or is_misspelt_key else f" (is {problem['input']!r})"
    return ConfigError(key, f"{message[:1].lower()}{message[1:]}{given}")


def _variable_named_in(error: SettingsError) -> str:
    field = re.search('"([a-z_]+)"', str(error))  # the library says it in its message only
    return ENV_PREFIX + (field[1].upper() if field else "*")
