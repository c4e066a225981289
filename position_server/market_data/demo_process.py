"""The demo provider as a child process: started on a socket of ours, started again when it dies, ended with us.

The socket listens for as long as this does, so the address stays the same and what is asked meanwhile waits for the
next process. Knows nothing of quotes.
"""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from position_server.clock import Clock

log = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "position_server", "demo-provider")
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 30.0  # before the next start; shorter again once one has lived
LIVED_SECONDS = 10.0
END_SECONDS = 5.0  # from SIGTERM to SIGKILL


class DemoProcess:
    """The process and the thread that looks after it. A context manager."""

    def __init__(self, clock: Clock, data_dir: Path) -> None:
        self._clock = clock
        self._data_dir = data_dir
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._stop = threading.Event()
        self._lock = threading.Lock()  # guards _process, and that none is started once _stop is set
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name="demo-provider", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        with self._lock:
            self._stop.set()
            process = self._process
        if process is not None:
            process.terminate()
            self._thread.join(END_SECONDS)
            if self._thread.is_alive():
                process.kill()
        self._thread.join(END_SECONDS)
        self._socket.close()

    def _keep_running(self) -> None:
        wait = FIRST_WAIT_SECONDS
        while (process := self._started()) is not None:
            since = self._clock.monotonic()
            code = process.wait()
            if process.stdin is not None:
                process.stdin.close()
            if self._clock.monotonic() - since > LIVED_SECONDS:
                wait = FIRST_WAIT_SECONDS
            if not self._stop.is_set():
                log.warning("the demo provider ended", extra={"exit_code": code, "next_start_seconds": wait})
            self._clock.wait(self._stop, wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _started(self) -> subprocess.Popen[bytes] | None:
        """A new process; None once it is time to stop."""
        file = self._socket.fileno()
        with self._lock:
            if self._stop.is_set():
                return None
            # This process holds the other end of its standard input: when it ends, however it does, that ends too.
            command = [*COMMAND, "--fd", str(file), "--data-dir", str(self._data_dir)]
            self._process = subprocess.Popen(command, pass_fds=[file], stdin=subprocess.PIPE, stdout=sys.stderr)
            log.info("the demo provider is started", extra={"pid": self._process.pid, "base_url": self.base_url})
            return self._process
