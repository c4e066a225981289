"""What every peer is told: the port, and the folder of the bodies it answers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Peer:
    """`bodies` by path: `/7kb.json` and so on."""

    port: int
    bodies: dict[str, bytes]


def peer(description: str) -> Peer:
    """The command line, and the bodies read."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bodies", type=Path, required=True, help="a folder of JSON files")
    args = parser.parse_args()
    return Peer(args.port, {f"/{file.name}": file.read_bytes() for file in sorted(args.bodies.glob("*.json"))})
