"""The log: JSON lines on standard error, one per state change, with the request's id.

Modules log through `logging.getLogger(__name__)` with fields in `extra`. A thread of its own formats and writes: a
reader that stops reading never blocks the event loop. Configured once per process by the command that runs. No line
shows the secret of an API key, wherever it came from.
"""

from __future__ import annotations

import logging
import queue
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Self, TextIO

import orjson

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
MOST_WAITING_LINES = 100_000
LAST_LINES_SECONDS = 2.0  # for a reader that does not read, at the end
ACCESS_SECONDS = 0.25  # between two batches of access lines
OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"asctime"}  # of every record; the others came by `extra`
SECRET = re.compile(r"(ps_[0-9a-f]{12})_[0-9a-f]+")  # an API key (access/keys.py), or the beginning of one
CHATTY = ("alembic", "httpx")
Lines = queue.SimpleQueue[Any]


class _ContextQueueHandler(QueueHandler):
    """Adds the request's id where the line is logged: the writing thread could not see it.

    The queue is bounded: where nobody reads, lines are lost rather than memory.
    """

    queue: Lines

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.queue.qsize() < MOST_WAITING_LINES:
            self.queue.put_nowait(record)

    def prepare(self, record: logging.LogRecord) -> Any:
        request_id = REQUEST_ID.get()
        if request_id is not None and not hasattr(record, "request_id"):
            record.request_id = request_id
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.msg, record.args = record.getMessage(), None
        record.exc_info = None  # a traceback keeps its frames alive; its text is enough
        return record


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: when it was logged (not written), level, logger, message, then `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in OWN_FIELDS and name not in line}
        if record.exc_text:
            line["exception"] = record.exc_text
        return without_secrets(orjson.dumps(line, default=str).decode())


def without_secrets(text: str) -> str:
    """The text with the ids alone of the API keys in it."""
    return SECRET.sub(r"\1_...", text) if "ps_" in text else text


@contextmanager
def logging_to(level: str, stream: TextIO = sys.stderr) -> Iterator[None]:
    """Sends the process's log to `stream` as JSON lines until left; what is queued is written before."""
    lines: Lines = queue.SimpleQueue()
    writer = logging.StreamHandler(stream)
    writer.setFormatter(JsonFormatter())
    listener = QueueListener(lines, writer)
    handler = _ContextQueueHandler(lines)
    root = logging.getLogger()
    level_before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    for name in CHATTY:  # what they have to say at INFO is said by who uses them
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    listener.start()
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level_before)
        root.removeHandler(handler)
        writing = threading.Thread(target=listener.stop, name="last-lines", daemon=True)
        writing.start()
        writing.join(LAST_LINES_SECONDS)


class AccessLog:
    """One line per request, written in batches by a thread of its own: the event loop never waits for who reads them.

    The lines are as the rest of the log's. Like them they are lost rather than kept without bound.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """`stream` None records nothing."""
        self._stream = stream
        self._lines: list[str] = []  # appended to by the event loop, swapped whole by the thread
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write_until_stopped, name="access-log", daemon=True)

    def __enter__(self) -> Self:
        if self._stream is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(LAST_LINES_SECONDS)

    def record(
        self, timestamp: str, method: str, uri: str, status: str, seconds: float, remote: str | None, request_id: str
    ) -> None:
        """Notes one answered request; `timestamp` is ISO 8601 in UTC.

        The line is written out here: 1.5 µs, where a dictionary for the thread to encode costs the same core 12.
        """
        if self._stream is not None and len(self._lines) < MOST_WAITING_LINES:
            method, uri, remote, request_id = map(_json, (method, uri, remote, request_id))
            self._lines.append(
                f'{{"timestamp":"{timestamp}","level":"info","logger":"position_server.access","message":"request",'
                f'"method":{method},"uri":{uri},"status":{status},"duration_ms":{seconds * 1000:.3f},'
                f'"remote":{remote},"request_id":{request_id}}}\n'
            )

    def _write_until_stopped(self) -> None:
        while not self._stop.wait(ACCESS_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines and self._stream is not None:
            self._stream.write(without_secrets("".join(lines)))
            self._stream.flush()


def _json(text: str | None) -> str:
    return orjson.dumps(text).decode()
