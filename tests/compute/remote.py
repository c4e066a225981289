"""Functions that the pool's tests run in real workers."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def open_workbench(*arguments: Any) -> tuple[Any, ...]:
    return arguments


def echo(workbench: Any, value: Any) -> tuple[Any, Any]:
    return workbench, value


def raise_error(_: Any, message: str) -> None:
    raise ValueError(message)


def raise_timeout(_: Any) -> None:
    raise TimeoutError("the store took too long")


def sleep(_: Any, seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def wait_for(_: Any, file: str) -> bool:
    """Ends when the file is there."""
    while not os.path.exists(file):
        time.sleep(0.01)
    return True


def exit_now(_: Any, code: int) -> None:
    os._exit(code)


def crash(_: Any) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def niceness(_: Any) -> int:
    return os.nice(0)


def eat_memory(_: Any, megabytes: int) -> int:
    return len(bytearray(megabytes * 2**20))


class WildError(Exception):
    """Cannot be made from its own args."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def raise_wild(_: Any) -> None:
    raise WildError("a wild one", "indeed")


def blob(_: Any, size: int) -> bytes:
    return b"x" * size
