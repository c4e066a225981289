"""Writers in processes of their own: what changes the store while a worker reads it.

A test process that reads a SQLite file must not write it as well (`store/columns.py`). A process serves one transaction
at a time, and the next one afterwards: starting Python for each would take most of these tests' time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WRITER = """
import json, sys
from datetime import UTC, date, datetime
from sqlalchemy import delete, insert, update
from position_server.store.engine import open_store
from position_server.store.tables import *

def said(word):
    print(word, flush=True)

for line in sys.stdin:
    url, statement = json.loads(line)
    try:
        with open_store(url) as store, store.write() as connection:
            exec(statement)
            said("written")
            if sys.stdin.readline() != "commit\\n":
                raise KeyError
        said("committed")
    except KeyError:
        said("rolled back")
"""
INSERT = "connection.execute(insert(fx), {'pair': 'EURUSD', 'fx_date': date(2025, 10, 30), 'rate': 1.25})"
UPDATE = "connection.execute(update(fx).values(rate=fx.c.rate + 1))"
DELETE = "connection.execute(delete(fx))"


class Writers:
    """Processes that write, as many as there are transactions at once."""

    def __init__(self) -> None:
        self._idle: list[subprocess.Popen[str]] = []

    @contextmanager
    def transaction(self, store_url: str, statement: str, end: str = "commit") -> Iterator[None]:
        """Another process that has executed the statement, and commits (or ends otherwise) after the block."""
        process = self._idle.pop() if self._idle else _started()
        try:
            _say(process, json.dumps([store_url, statement]))
            assert _heard(process) == "written"
            yield
            _say(process, end)
            assert _heard(process) == ("committed" if end == "commit" else "rolled back")
        except BaseException:
            _end(process)
            raise
        self._idle.append(process)

    def commit(self, store_url: str, *statements: str) -> None:
        """Another process executes the statements and commits them."""
        with self.transaction(store_url, "\n".join(statements)):
            pass

    def close(self) -> None:
        """End the processes."""
        while self._idle:
            _end(self._idle.pop())


@contextmanager
def open_writers() -> Iterator[Writers]:
    """Writers, ended after the block."""
    writers = Writers()
    try:
        yield writers
    finally:
        writers.close()


def _started() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
