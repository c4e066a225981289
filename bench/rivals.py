"""Starting the peers: each a process of its own on the server's core, answering the same bodies."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.lab import Lab
from bench.peers import nginx
from bench.processes import Child, found, free_port, started, wait_for_port

PYTHON_PEERS = {
    "straightforward": ("bench.peers.straightforward", "tornado"),
    "FastAPI + orjson": ("bench.peers.fastapi_app", "fastapi"),
    "bare Tornado": ("bench.peers.bare", "tornado"),
}
NGINX = "nginx, static file"


@dataclass(frozen=True, slots=True)
class Rival:
    """A running peer."""

    child: Child
    port: int

    def url(self, file: str) -> str:
        """The address of a body."""
        return f"http://127.0.0.1:{self.port}/{file}"


@contextmanager
def running(lab: Lab, bodies: Path, names: tuple[str, ...]) -> Iterator[dict[str, Rival]]:
    """Those peers that can run here, by name."""
    rivals = {}
    with ExitStack() as stack:
        for name in names:
            port = free_port()
            command = _command(lab, name, bodies, port)
            if command is None:
                lab.say(f"{name}: not installed, left out")
                continue
            log = lab.new_folder("peer") / "log"
            child = stack.enter_context(started(command, log, core=lab.cores.server))
            wait_for_port(child, port)
            rivals[name] = Rival(child, port)
        yield rivals


def _command(lab: Lab, name: str, bodies: Path, port: int) -> list[str] | None:
    if name == NGINX:
        program = found("nginx")
        return nginx.command(program, lab.new_folder("nginx"), bodies, port) if program else None
    module, needs = PYTHON_PEERS[name]
    if importlib.util.find_spec(needs) is None:
        return None
    return [sys.executable, "-m", module, "--port", str(port), "--bodies", str(bodies)]
