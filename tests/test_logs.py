"""The log stream: one JSON object a line, with the request's id, written by a thread of its own."""

from __future__ import annotations

import io
import json
import logging
import threading
import warnings
from datetime import UTC, date, datetime
from typing import Any

import pytest
from freezegun import freeze_time

from position_server.logs import REQUEST_ID, logging_to

log = logging.getLogger("position_server.tests")


class Blocked(io.StringIO):
    """A stream whose reader does not read until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = threading.Event()

    def write(self, text: str) -> int:
        self.reading.wait(10)
        return super().write(text)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_a_json_object_with_the_fields_of_extra() -> None:
    stream = io.StringIO()
    with logging_to("INFO", stream):
        log.info("loaded %d rows of %s", 3, "café", extra={"table": "closes", "day": date(2025, 10, 30)})
    (line,) = lines(stream)
    del line["timestamp"]
    assert line == {
        "level": "info",
        "logger": "position_server.tests",
        "message": "loaded 3 rows of café",
        "table": "closes",
        "day": "2025-10-30",
    }


def test_the_first_fields_are_always_the_same() -> None:
    stream = io.StringIO()
    with logging_to("INFO", stream):
        log.warning("late", extra={"a": 1})
    assert list(lines(stream)[0])[:4] == ["timestamp", "level", "logger", "message"]


def test_a_line_has_the_time_at_which_it_was_logged_not_written() -> None:
    stream = Blocked()
    with logging_to("INFO", stream):
        with freeze_time("2025-10-30T12:00:00.5Z"):
            record = log.makeRecord(log.name, logging.INFO, "file", 1, "now", (), None)
        log.handle(record)
        stream.reading.set()
    written = datetime.fromisoformat(lines(stream)[0]["timestamp"])
    assert written == datetime(2025, 10, 30, 12, 0, 0, 500_000, tzinfo=UTC)


def test_several_lines_of_a_message_stay_one_line_of_the_log() -> None:
    stream = io.StringIO()
    with logging_to("INFO", stream):
        log.info("one\ntwo\r\nthree")
    assert [line["message"] for line in lines(stream)] == ["one\ntwo\r\nthree"]


def test_a_request_id_is_on_every_line_logged_while_it_is_set() -> None:
    stream = io.StringIO()
    with logging_to("INFO", stream):
        token = REQUEST_ID.set("abc-1")
        log.info("inside")
        REQUEST_ID.reset(token)
        log.info("outside")
    assert [line.get("request_id") for line in lines(stream)] == ["abc-1", None]


def test_a_request_id_given_with_the_line_wins() -> None:
    stream = io.StringIO()
    with logging_to("INFO", stream):
        token = REQUEST_ID.set("context")
        log.info("request", extra={"request_id": "explicit"})
        REQUEST_ID.reset(token)
    assert lines(stream)[0]["request_id"] == "explicit"


def test_an_exception_is_logged_with_its_traceback_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's would make the text before
    stream = io.StringIO()
    with logging_to("INFO", stream):
        try:
            raise ValueError("no such bond")
        except ValueError:
            log.exception("section failed")
    (line,) = lines(stream)
    assert line["message"] == "section failed"
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError: no such bond")


def test_logging_does_not_wait_for_a_reader_that_has_stopped_reading() -> None:
    stream = Blocked()
    with logging_to("INFO", stream):
        for number in range(1000):
            log.info("line %d", number)
        assert stream.getvalue() == ""
        stream.reading.set()
    assert len(lines(stream)) == 1000


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    with logging_to("WARNING", stream):
        log.info("quiet")
        log.warning("loud")
    assert [line["message"] for line in lines(stream)] == ["loud"]


def test_a_warning_of_python_becomes_a_line() -> None:
    stream = io.StringIO()
    with logging_to("INFO", stream), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old habit", UserWarning, stacklevel=1)
    assert "old habit" in lines(stream)[0]["message"]


def test_nothing_of_the_log_is_left_when_it_ends() -> None:
    root, threads = logging.getLogger(), threading.active_count()
    before = (root.level, list(root.handlers))
    with logging_to("DEBUG", io.StringIO()):
        log.debug("inside")
    assert (root.level, list(root.handlers)) == before
    assert threading.active_count() == threads
