"""The child's side of the pool: a worker process sets itself up and answers one task after another.

Never imports what it runs until it is asked to: tasks come as dotted names. What set-up returns (the open store, say)
is handed to every task as its first argument, so nothing here or there is process-wide.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
import resource
import signal
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")  # one: there is a worker per core
BEGUN = b"begun"  # precedes every reply: a worker that ends before it has done nothing yet


@dataclass(frozen=True, slots=True)
class SetUp:
    """How a worker begins: the function ("package.module:function") that opens its workbench, and its limits."""

    open_workbench: str
    arguments: tuple[Any, ...]
    niceness: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What a task came to: its value, or what it raised and the traceback as text."""

    value: Any = None
    error: Exception | None = None
    traceback_text: str = ""


def main(tasks: Connection, set_up: SetUp) -> None:
    """The life of a worker: ends with its parent, or when a task ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    os.nice(set_up.niceness)
    for name in BLAS_THREADS:  # read when numpy is imported, which is later
        os.environ.setdefault(name, "1")
    resource.setrlimit(resource.RLIMIT_AS, (set_up.memory_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    workbench = resolve(set_up.open_workbench)(*set_up.arguments)
    while True:
        try:
            name, arguments = tasks.recv()
        except EOFError:
            return
        tasks.send_bytes(BEGUN)
        tasks.send_bytes(_answer(workbench, name, arguments))


def answer_ping(workbench: Any) -> None:
    """A task that does nothing: a worker that returns from it works."""


def resolve(dotted: str) -> Any:
    """The function of the dotted name "package.module:function"."""
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)


def _answer(workbench: Any, name: str, arguments: tuple[Any, ...]) -> bytes:
    """The pickled reply; SystemExit passes and ends the worker, as the task wanted."""
    try:
        return pickle.dumps(Reply(value=resolve(name)(workbench, *arguments)), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 it travels back to who asked
        return pickle.dumps(Reply(error=_portable(error), traceback_text=traceback.format_exc()))


def _portable(error: Exception) -> Exception:
    """The error itself where it survives the way, else one that carries its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 whatever its __reduce__ or __init__ does wrong
        return RuntimeError("".join(traceback.format_exception_only(error)).strip())
    return error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody is left to read a result, and this thread cannot unwind the main one
