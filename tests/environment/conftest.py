"""Checks around every test of the environment service: no thread is left over, and no error is logged unasked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from position_server.params import BaseParams
from tests.environment.examples import base_params

LEFT_OVER_SECONDS = 30.0


@pytest.fixture(autouse=True)
def leaves_no_thread() -> Iterator[None]:
    """Fails a test that leaves a thread running."""
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before]
    for thread in started:
        thread.join(LEFT_OVER_SECONDS)
    assert [thread.name for thread in started if thread.is_alive()] == []


@pytest.fixture(autouse=True)
def logs_no_error(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test in which an error is logged, unless it is marked with the `expected_errors` fixture."""
    yield
    if "expected_errors" not in request.fixturenames:
        assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


@pytest.fixture
def expected_errors() -> None:
    """Says that the test makes the package log an error."""


@pytest.fixture
def base() -> BaseParams:
    """An environment of two books."""
    return base_params()
