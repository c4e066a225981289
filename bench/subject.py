"""The server that is measured: `python -m position_server serve` as anybody runs it, access log and metrics on."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.ask import Answer, get
from bench.lab import STORE_FILE, Lab
from bench.processes import START_SECONDS, BenchError, Child, started, until

WARM_SECONDS = 60.0
NO_WARM_UPS = {"POSITION_SERVER_WARMUP_CONFIGS": "[]"}
PLUGIN = "bench_filler-1.0.dist-info"  # how an installed package says that it brings a section


@dataclass(frozen=True, slots=True)
class Question:
    """A GET of the environment."""

    books: tuple[str, ...]
    env_date: str = "2025-10-30"
    pos_date: str = "2025-10-29"
    time_of_day: str = "EOD"
    sections: str | None = None

    @property
    def path(self) -> str:
        """The request's path with its query."""
        named = {
            "env_date": self.env_date,
            "pos_date": self.pos_date,
            "books": ",".join(self.books),
            "time_of_day": self.time_of_day,
        }
        return "/position-environment?" + urlencode(named | ({"sections": self.sections} if self.sections else {}))


@dataclass(frozen=True, slots=True)
class Subject:
    """A running server."""

    child: Child
    port: int
    data_dir: Path

    def url(self, question: Question) -> str:
        """The question's address."""
        return f"http://127.0.0.1:{self.port}{question.path}"

    def ask(self, question: Question, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer. Raises BenchError where it is an error."""
        answer = get(self.port, question.path, headers)
        if answer.status not in (200, 304):
            raise BenchError(f"{question.path}: {answer.status} {answer.body[:300]!r}")
        return answer

    def status(self) -> Any:
        """`/status`."""
        return get(self.port, "/status").json()

    def wait_until_warm(self) -> None:
        """Returns when every warm-up has run once."""
        until(lambda: self.status()["server_status"] == "warmed_up", WARM_SECONDS, "warm-ups")


def settings(**values: Any) -> dict[str, str]:
    """Settings as environment variables: `CACHE__MAX_MB=2000`."""
    return {f"POSITION_SERVER_{k}": v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}


@contextmanager
def serving(
    lab: Lab,
    store: Path,
    *,
    variables: Mapping[str, str] | None = None,
    core: int | None = None,
    command: Sequence[str] = ("position_server", "serve", "--port", "0"),
) -> Iterator[Subject]:
    """A server on a copy of `store`; with `core`, pinned there together with its workers."""
    data_dir = lab.new_folder("served")
    shutil.copy(store, data_dir / STORE_FILE)
    arguments = [sys.executable, "-m", *command, "--data-dir", str(data_dir)]
    with started(arguments, data_dir / "server.log", core=core, variables=variables) as child:
        yield Subject(child, listening_port(child), data_dir)


def listening_port(child: Child) -> int:
    """The port that its log names; waits for it."""

    def port() -> int | None:
        if child.process.poll() is not None:
            raise BenchError(f"the server ended: {child.log.read_text()[-400:]}")
        for line in child.log.read_text().splitlines():
            if '"listening"' in line:
                return int(json.loads(line)["port"])
        return None

    return until(port, START_SECONDS, "listening", every=0.002)


def with_filler(lab: Lab) -> dict[str, str]:
    """Variables that make a server find the section of filler_section.py, as that of another installed package."""
    folder = lab.folder / "plugin"
    entry = folder / PLUGIN
    if not entry.exists():
        entry.mkdir(parents=True)
        (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-filler\nVersion: 1.0\n")
        (entry / "entry_points.txt").write_text("[position_server.sections]\nfiller = bench.filler_section:SECTION\n")
    return {"PYTHONPATH": str(folder)}


def filler(number_of_bytes: int, name: str = "") -> Question:
    """The environment whose section `filler` is about so many bytes; `name` makes it another key."""
    return Question((f"BYTES-{number_of_bytes}", *([name] if name else [])), sections="filler")
