"""Child processes of the benchmark: pinned to a core, waited for, and ended by their own ids.

Never in a session of their own: where the kernel groups by session (autogroup), niceness counts within a session only.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 15.0
PREFIX = "POSITION_SERVER_"


class BenchError(Exception):
    """Something that cannot be measured, in one line."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process, alone in its process group with whatever it starts."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    def freeze(self) -> None:
        """Stops it and its children where they are, so that they take nothing from what is measured meanwhile."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets them go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def pin(self, core: int) -> None:
        """Keeps the process's own threads on the core; children that it has started already stay free."""
        for task in os.listdir(f"/proc/{self.pid}/task"):
            os.sched_setaffinity(int(task), {core})

    def processor_seconds(self) -> float:
        """What the process alone, all its threads, has used of a processor: user and system time."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Resident memory of the process alone, without its children."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def on_core(command: Sequence[str], core: int | None) -> list[str]:
    """The command, pinned where a core is given."""
    return list(command) if core is None else ["taskset", "-c", str(core), *command]


def clean_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """This shell's environment without settings of the server, and `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return {**kept, **(variables or {})}


@contextmanager
def started(
    command: Sequence[str], log: Path, *, core: int | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """The process while in the context; SIGTERM at the end, and SIGKILL for who does not listen."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            on_core(command, core),
            cwd=REPOSITORY,
            env=clean_environment(variables),
            stdout=sink,
            stderr=sink,
            process_group=0,
        )
    child = Child(process, log)
    try:
        yield child
    finally:
        _end(child)


def _end(child: Child) -> None:
    if child.process.poll() is not None:
        return
    child.thaw()
    child.process.terminate()
    try:
        child.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.process.wait(STOP_SECONDS)


def until(condition: Callable[[], T | None], seconds: float, what: str, *, every: float = 0.02) -> T:
    """The first true value of `condition()`. Raises BenchError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def wait_for_port(child: Child, port: int) -> None:
    """Returns when the process accepts connections."""

    def accepts() -> bool:
        if child.process.poll() is not None:
            raise BenchError(f"a server ended at its start: {child.log.read_text()[-400:]}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(accepts, START_SECONDS, f"port {port}")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def found(program: str) -> str | None:
    """Where the program is, also where only root's PATH has it."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
