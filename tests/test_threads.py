"""The end of a thread."""

from __future__ import annotations

import threading

import pytest

from position_server import threads


def test_a_thread_that_never_began_or_has_ended_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    thread = threading.Thread(target=lambda: None)
    assert threads.join(thread, 60)
    thread.start()
    assert threads.join(thread, 60)
    assert caplog.records == []


def test_a_thread_that_goes_on_is_named(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="slow-one")
    thread.start()
    assert not threads.join(thread, 0.01)
    assert [record.__dict__["name_of_thread"] for record in caplog.records] == ["slow-one"]
    stop.set()
    assert threads.join(thread, 60)
