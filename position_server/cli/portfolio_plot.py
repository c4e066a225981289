"""The plot of `simulate --plot`: what each portfolio is worth, day by day. matplotlib is optional, loaded by name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from position_server.errors import ConfigError


def check_available() -> None:
    """Raises ConfigError with the cure where matplotlib is not installed."""
    try:
        importlib.import_module("matplotlib")
    except ImportError as error:
        raise ConfigError("--plot", "needs matplotlib: python -m pip install matplotlib") from error


def draw(found: Sequence[dict[str, Any]], file: Path) -> None:
    """Writes the picture of models' results of a range. Raises ConfigError where the file cannot be written."""
    figure = importlib.import_module("matplotlib.figure").Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.add_subplot()
    for one in found:
        days = [date.fromisoformat(entry["date"]) for entry in one["daily"]]
        axes.plot(days, [entry["portfolio_value"] for entry in one["daily"]], label=one["model"])
    axes.set_ylabel("portfolio value")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.autofmt_xdate()
    try:
        figure.savefig(file, dpi=150)
    except (OSError, ValueError) as error:
        raise ConfigError("--plot", f"{file} cannot be written: {error}") from error
