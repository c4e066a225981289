"""The command line: which command runs. A command's module is imported only when it was asked for.

Exit codes: 0 done, 1 failed, 2 refused (bad configuration, bad input), with one line on standard error; `batch` has 75.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from position_server import __version__
from position_server.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the module with its `add_arguments(parser)` and `run(args)`, and one line of help."""

    module: str
    help: str


COMMANDS = {
    "serve": Command("serve", "answer HTTP (builds the demo store first where config asks for it)"),
    "market-data": Command("market_data", "fetch quotes without a server"),
    "load": Command("load", "load a CSV file into the store"),
    "demo": Command("demo", "build the demo store"),
    "demo-provider": Command("demo_provider", "serve the demo's moving prices in the quote provider's format"),
    "keys": Command("keys", "make, list and revoke API keys"),
    "simulate": Command("simulate", "run model portfolios over past days"),
    "batch": Command("batch", "run the nightly batch: symbols, then portfolios"),
    "price-bond": Command("price_bond", "price one bond, or find its yield"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command of `argv` and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    top = argparse.ArgumentParser(prog="position-server", description="A trading desk's position environment.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        parser = commands.add_parser(name, help=command.help, description=command.help.capitalize() + ".")
        if words[:1] == [name]:
            _module(command).add_arguments(parser)
    args = top.parse_args(words)
    try:
        return int(_module(COMMANDS[args.command]).run(args))
    except ConfigError as error:
        print(f"position-server: {error.message}", file=sys.stderr)
        return 2


def _module(command: Command) -> Any:
    return importlib.import_module(f"{__name__}.{command.module}")
