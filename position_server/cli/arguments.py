"""Flags that commands share, and the settings that follow from them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from position_server.errors import ConfigError
from position_server.settings import CONFIG_FILE, Settings, load_settings


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that works on the store."""
    parser.add_argument("--config", type=Path, default=CONFIG_FILE, metavar="FILE", help="another config.py")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="where everything is written (default: var)")


def settings_of(args: argparse.Namespace, server: dict[str, Any] | None = None) -> Settings:
    """The settings with the flags over them, the data folder made. Raises ConfigError."""
    flags: dict[str, Any] = {}
    if args.data_dir is not None:
        flags["data_dir"] = args.data_dir
    if server:
        flags["server"] = server
    settings = load_settings(args.config, flags)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--data-dir", f"cannot make {settings.data_dir}: {error.strerror}") from error
    return settings
