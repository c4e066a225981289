"""The laboratory: where a run keeps its files, which cores it uses, how often it repeats, and the demo stores it needs.

Stores are built once a run, each in a folder of its own; a server works on a copy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.processes import REPOSITORY, BenchError, clean_environment

BUILD_SECONDS = 300.0
STORE_FILE = "position_server.sqlite"
DESK = 1  # the scale of the demo as it is shipped
LARGE = 5  # copies of every position: environments of 120 KB and 1.2 MB
EMPTY_STORE = """import sys
from position_server.store.engine import open_store
with open_store(sys.argv[1]) as store:
    store.upgrade()
"""


@dataclass(frozen=True, slots=True)
class Cores:
    """Where who runs. One core: nothing is pinned and figures mean little."""

    client: int
    server: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first two cores that this process may use."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[0], usable[1] if len(usable) > 1 else usable[0])


@dataclass(frozen=True, slots=True)
class Lab:
    """What every measurement is given. `folder` is temporary; `rounds` is how often the sides of a ratio take turns."""

    folder: Path
    cores: Cores
    rounds: int
    quick: bool
    say: Callable[[str], None]

    def new_folder(self, name: str) -> Path:
        """An empty folder."""
        number = sum(1 for other in self.folder.iterdir() if other.name.startswith(f"{name}-"))
        made = self.folder / f"{name}-{number}"
        made.mkdir()
        return made

    def demo_store(self, scale: int) -> Path:
        """The SQLite file of `demo --scale`, built when first asked for."""
        folder = self.folder / f"store{scale}"
        if not folder.exists():
            self.say(f"building the demo store at scale {scale}")
            _position_server("demo", "--scale", str(scale), "--data-dir", str(folder))
        return folder / STORE_FILE

    def empty_store(self) -> Path:
        """A SQLite file with all tables and no rows, for what does not depend on the desk."""
        file = self.folder / "store0" / STORE_FILE
        if not file.exists():
            file.parent.mkdir()
            _run([sys.executable, "-c", EMPTY_STORE, f"sqlite:///{file}"])
        return file


def _position_server(*arguments: str) -> None:
    _run([sys.executable, "-m", "position_server", *arguments])


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{' '.join(command[:4])}: {done.stderr.strip()[-400:]}")
