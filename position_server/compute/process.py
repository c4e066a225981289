"""One worker process and the pipe to it: calls that are really ended at their timeout. One thread's, but for `kill`."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from multiprocessing import connection
from typing import Any

from position_server.compute import worker
from position_server.compute.worker import Reply, SetUp
from position_server.errors import SectionTimeout, WorkerDied

GOODBYE_SECONDS = 2.0  # between the end of its pipe and SIGKILL


class RemoteTraceback(Exception):
    """The traceback of a worker, as the cause of the error that came back from it."""


class NeverStarted(Exception):
    """The worker was gone before it began with the call: another one may be asked."""


class WorkerProcess:
    """A spawned worker. Not forked: a fork of a threaded process copies locks in whatever state they are.

    Each has a pipe of its own, so that one that dies, even by SIGKILL while it waits, takes nothing with it.
    """

    def __init__(self, set_up: SetUp) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=worker.main, args=(theirs, set_up), daemon=True)
        self._process.start()
        theirs.close()
        self._ending = threading.Lock()  # guards _closed: who stops the pool may kill what its thread is closing
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether it can be called."""
        return self._process.is_alive()

    def call(self, name: str, arguments: tuple[Any, ...], timeout_seconds: float) -> Any:
        """What the function of that dotted name returns.

        Raises what it raised, SectionTimeout (the process is killed then), WorkerDied or NeverStarted. The timeout
        counts from when the worker begins; a new one may take as long again until then.
        """
        try:
            self._pipe.send((name, arguments))
            self._received(timeout_seconds)  # BEGUN; a process that is dying may still take a call into its pipe
        except (EOFError, ConnectionError) as error:
            self.kill()
            raise NeverStarted(f"Its worker process ended with exit code {self._process.exitcode}.") from error
        try:
            reply: Reply = pickle.loads(self._received(timeout_seconds))
        except (EOFError, ConnectionError) as error:
            self.kill()
            raise WorkerDied(f"Its worker process ended with exit code {self._process.exitcode}.") from error
        if reply.error is not None:
            raise reply.error from RemoteTraceback(reply.traceback_text)
        return reply.value

    def _received(self, timeout_seconds: float) -> bytes:
        if not connection.wait([self._pipe, self._process.sentinel], timeout_seconds):
            self.kill()
            raise SectionTimeout(f"It did not finish within {timeout_seconds:g} s and was ended.")
        return self._pipe.recv_bytes()

    def kill(self) -> None:
        """Ends it at once; it may be gone already. Callable from any thread."""
        with self._ending:
            if not self._closed:
                self._process.kill()
                self._process.join()

    def close(self) -> None:
        """Lets it end by itself, for a moment. It cannot be called afterwards."""
        self._pipe.close()
        self._process.join(GOODBYE_SECONDS)
        self.kill()
        with self._ending:
            self._closed = True
            self._process.close()
