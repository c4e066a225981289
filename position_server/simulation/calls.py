"""What crosses between the service and a worker: the call for a model-day, and how it may fail. No numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from position_server.simulation.config import ModelConfig, SimulationConfig


class TransientFailure(Exception):
    """A model-day failed for the moment (a service is away, a limit is reached) and is worth another try.

    `retry_after_seconds`: what the service asked for, if it did.
    """

    def __init__(self, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Superseded(Exception):
    """Another attempt at this model-day has begun since, or it is over: this one may write nothing."""


@dataclass(frozen=True, slots=True)
class ModelDayCall:
    """One model-day to run. `attempt` is the one that may complete it: any other finds itself superseded."""

    job_id: str
    model: str
    day: date
    attempt: int
    config: SimulationConfig
    tool_servers: Mapping[str, str]
    root: Path  # has the folder `configs`
    log_file: Path

    @property
    def model_config(self) -> ModelConfig:
        """The model's entry of the configuration."""
        return self.config.model(self.model)
