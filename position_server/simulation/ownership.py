"""Who runs a job, and whether that process still lives.

An owner holds a lock on a file of its own in the data folder for as long as it lives: the kernel gives it back at any
kind of end, kill -9 included. Whoever cannot see that file (another machine, another folder) has only the job's lease.
"""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

LEASE = timedelta(seconds=60)  # an owner that cannot be looked at is taken for dead when its lease has run out
RENEW_SECONDS = 15.0
KEPT = timedelta(days=1)  # the file of an owner that was killed; its lease is long over then


class Owner:
    """This process as the owner of jobs, until left. Used by one thread at a time, but for `is_dead`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._folder = folder
        self._file: int | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path(self.name), os.O_CREAT | os.O_RDWR, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._file is not None:
            self._path(self.name).unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def sweep(self, now: datetime) -> None:
        """Removes the files that killed owners left long ago."""
        for path in self._folder.glob("*.lock"):
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            if changed < now - KEPT and self.is_dead(path.stem, None, now):
                path.unlink(missing_ok=True)

    def is_dead(self, owner: str | None, lease_until: datetime | None, now: datetime) -> bool:
        """Whether a job of that owner may be taken over."""
        if owner is None:
            return True
        if owner == self.name:
            return False
        try:
            file = os.open(self._path(owner), os.O_RDWR)
        except FileNotFoundError:
            return lease_until is None or lease_until < now
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"
