"""The watcher: a thread that reads the keys from the store every second and tells the guard.

So keys that are made, revoked or changed count without a restart. The table is small and read whole: whether anything
changed is seen by comparing it.
"""

from __future__ import annotations

import threading
from typing import Self

from position_server import threads
from position_server.access.guard import Guard
from position_server.access.keys import ApiKey
from position_server.clock import Clock

READ_SECONDS = 1.0
JOIN_SECONDS = 10.0


class KeyWatch:
    """Reads the keys while it is entered."""

    def __init__(self, store_url: str, guard: Guard, clock: Clock) -> None:
        self._store_url = store_url
        self._guard = guard
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.run, args=(self._stop,), name="key-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        threads.join(self._thread, JOIN_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Reads until stopped. Whatever goes wrong, the guard keeps what it knows and the next reading may do."""
        while True:
            try:
                self._read_until_stopped(stop)
                return
            except Exception as error:  # noqa: BLE001 the guard logs it; a watcher that ended would freeze the keys
                self._guard.cannot_read(error)
            if self._clock.wait(stop, READ_SECONDS):
                return

    def _read_until_stopped(self, stop: threading.Event) -> None:
        from position_server.access.records import read_keys  # not at the top: SQLAlchemy costs start time
        from position_server.store.engine import open_store

        with open_store(self._store_url, read_only=True) as store:
            while True:
                self._guard.learn(read_keys(store))
                if store.location.backend == "sqlite":
                    store.close()  # a file can be replaced; an open connection would go on reading the old one
                if self._clock.wait(stop, READ_SECONDS):
                    return


def stored_keys(store_url: str) -> tuple[ApiKey, ...]:
    """The keys in the store now; reads it on this thread. Raises StoreUnavailable."""
    from position_server.access.records import read_keys
    from position_server.store.engine import open_store

    with open_store(store_url, read_only=True) as store:
        return read_keys(store)
