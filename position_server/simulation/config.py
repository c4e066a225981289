"""The configuration of a simulation: which models trade what, with how much, at what cost. A JSON file in `configs/`.

Read and checked here, but for the parameters of each kind of model: those are for a worker, which knows the kinds. A
wrong configuration raises InvalidConfig naming every wrong key. Imports no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from position_server.errors import InvalidConfig, Problem
from position_server.simulation.holdings import Costs

DEFAULT_CONFIG = "configs/default_config.json"
FOLDER = "configs"
MODEL_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"  # no dot first: it names a folder, too
Amount = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


def _each_once(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if twice := next((name for name in names or () if (names or ()).count(name) > 1), None):
        raise ValueError(f"{twice} is there twice")
    return names


class CostsConfig(BaseModel):
    """`costs`: in the currency per trade and per share, and in basis points of what is traded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_trade: Amount = Decimal(0)
    per_share: Amount = Decimal(0)
    bps: Amount = Decimal(0)

    def as_costs(self) -> Costs:
        """The same, for an account."""
        return Costs(self.per_trade, self.per_share, self.bps)


class ModelConfig(BaseModel):
    """An entry of `models`; keys that are not listed here are the kind's parameters."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(pattern=MODEL_NAME)
    kind: str = Field(min_length=1, max_length=64)
    enabled: bool = True
    allow_short: bool = False

    @property
    def params(self) -> dict[str, Any]:
        """The kind's parameters."""
        return dict(self.model_extra or {})


def _some_each_once(models: tuple[ModelConfig, ...]) -> tuple[ModelConfig, ...]:
    if not models:
        raise ValueError("there must be one at least")
    _each_once(tuple(entry.name for entry in models))
    return models


class SimulationConfig(BaseModel):
    """A whole configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[tuple[ModelConfig, ...], AfterValidator(_some_each_once)]
    initial_cash: Decimal = Field(gt=0, le=10**12, decimal_places=2, allow_inf_nan=False)
    costs: CostsConfig = CostsConfig()
    universe: Annotated[tuple[str, ...] | None, Field(min_length=1), AfterValidator(_each_once)] = None

    @property
    def initial_cents(self) -> int:
        """What every model begins with, in cents."""
        return int(self.initial_cash * 100)

    def model(self, name: str) -> ModelConfig:
        """The entry of that name. Raises KeyError."""
        found = next((entry for entry in self.models if entry.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def chosen(self, names: Iterable[str] | None) -> SimulationConfig:
        """The same with these models only, in order of their names; None chooses those that are enabled.

        Raises InvalidConfig for an unknown name, and where nothing is left.
        """
        enabled = {entry.name for entry in self.models if entry.enabled}
        wanted = enabled if names is None else set(names)
        unknown = sorted(wanted - {entry.name for entry in self.models})
        if unknown:
            raise InvalidConfig([Problem("models", f"{name!r} is not in the configuration") for name in unknown])
        if not wanted:
            raise InvalidConfig([Problem("models", "none is enabled")])
        kept = sorted((entry for entry in self.models if entry.name in wanted), key=lambda entry: entry.name)
        return self.model_copy(update={"models": tuple(kept)})

    def as_json(self) -> str:
        """The configuration as text; equal ones have equal texts."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def read_config(root: Path, config_path: str | None) -> SimulationConfig:
    """The configuration at `config_path`, inside the folder `configs` of `root`. Raises InvalidConfig."""
    file = inside_configs(root, config_path or DEFAULT_CONFIG, "config_path")
    try:
        text = file.read_bytes()
    except OSError as error:
        raise InvalidConfig([Problem("config_path", f"cannot be read: {error.strerror or error}")]) from error
    return parse_config(text)


def parse_config(text: str | bytes) -> SimulationConfig:
    """The configuration that JSON text says. Raises InvalidConfig."""
    try:
        return SimulationConfig.model_validate_json(text)
    except ValidationError as error:
        raise InvalidConfig([_problem(detail) for detail in error.errors(include_url=False)]) from error


def inside_configs(root: Path, path: str, key: str) -> Path:
    """The file at `path`, which must be inside the folder `configs` of `root`. Raises InvalidConfig, naming the key."""
    folder = (root / FOLDER).resolve()
    try:
        file = (root / path).resolve()
    except (OSError, ValueError) as error:
        raise InvalidConfig([Problem(key, "is no path")]) from error
    if not file.is_relative_to(folder):  # absolute, or out of it by way of .. or a link
        default = f" (default: {DEFAULT_CONFIG})" if key == "config_path" else ""
        raise InvalidConfig([Problem(key, f"must be inside {FOLDER}/{default}")])
    return file


def _problem(detail: Any) -> Problem:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    given = detail["input"]
    is_shown = isinstance(given, str | int | float | bool | None) and detail["type"] != "json_invalid"
    shown = f" (is {given!r:.80})" if is_shown else ""
    return Problem(place or "config", f"{detail['msg'].removeprefix('Value error, ')}{shown}")
