"""The cache on disk: a restart serves what was there before, marked stale, until it is computed anew.

One thread restores the file at the start, and writes it every few minutes and at the end; the event loop never waits
for it. The file is replaced whole (written beside it, flushed, renamed), so a crash leaves the old one. A file that
cannot be used is set aside, never read in part. A disk that cannot be written costs the copy and a line in the log.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import position_server
from position_server import threads
from position_server.clock import Clock
from position_server.environment.cache import Entry, EnvironmentCache
from position_server.environment.disk_format import Moment, dump, load
from position_server.settings import Settings
from position_server.settings.addresses import without_secrets

log = logging.getLogger(__name__)
FILE_NAME = "environments.cache"
DIGEST_BYTES = 12
UNUSABLE = ".bad"
UNFINISHED = ".tmp"
JOIN_SECONDS = 30.0  # the last writing, on a slow disk
CURE = "free some space or make the folder writable; until then a restart begins with the last copy, or with none"
# What gives the numbers their meaning: with other sources, another row may stand behind the same key.
SOURCES = ("params.py", "outcomes.py", "sections", "analytics")


class DiskCache:
    """Keeps a copy of `cache` in the data folder while it is entered. `restored` is done when the old one was read."""

    def __init__(self, cache: EnvironmentCache, settings: Settings, clock: Clock) -> None:
        self.path = settings.data_dir / FILE_NAME
        self.restored: Future[None] = Future()
        self._cache = cache
        self._settings = settings
        self._clock = clock
        self._seconds = settings.cache.snapshot_seconds
        self._most_bytes = settings.cache.snapshot_mb * 1e6
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._seconds,), name="cache-snapshot", daemon=True)
        self._identity: Mapping[str, str] = {}  # this and the next two are the thread's own
        self._written: list[Hashable] = []  # what the file holds
        self._writable = True

    def __enter__(self) -> Self:
        if self._seconds is None:
            self.restored.set_result(None)
        else:
            self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._stop.set()
        threads.join(self._thread, JOIN_SECONDS)

    def restore(self) -> None:
        """Puts the file's environments into the cache, or sets the file aside."""
        self._remove_unfinished()
        try:
            with self.path.open("rb") as file:
                entries = load(
                    file, self._known_identity(), self._now(), expose_tracebacks=self._settings.expose_tracebacks
                )
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self._set_aside(error)
            return
        for entry in entries:
            self._cache.put(entry)
        self._written = _versions(entries)
        log.info("environments restored", extra={"path": str(self.path), "environments": len(entries)})

    def write(self) -> None:
        """Replaces the file by what is worth keeping now, unless it holds just that."""
        entries = self._worth_keeping()
        if not entries or _versions(entries) == self._written:
            return
        try:
            with self._replacement() as file:
                dump(entries, self._known_identity(), self._now(), file.write)
        except OSError as error:
            if self._writable:
                what = {"path": str(self.path), "error": error.strerror or str(error), "cure": CURE}
                log.error("the cache cannot be kept on disk", extra=what)
            self._writable = False
            return
        self._written = _versions(entries)
        if not self._writable:
            log.info("the cache is kept on disk again", extra={"path": str(self.path)})
        self._writable = True

    def _run(self, seconds: float) -> None:
        try:
            self.restore()
        except Exception:
            log.exception("environments cannot be restored")
        finally:
            self.restored.set_result(None)
        stopped = False
        while not stopped:
            stopped = self._clock.wait(self._stop, seconds)
            try:
                self.write()
            except Exception:
                log.exception("writing the cache to disk broke off")

    def _known_identity(self) -> Mapping[str, str]:
        if not self._identity:
            self._identity = identity_of(self._settings)
        return self._identity

    def _now(self) -> Moment:
        return Moment(self._clock.now(), self._clock.monotonic())

    def _worth_keeping(self) -> list[Entry]:
        """What has data, as much as the bound allows; the most wanted last, so that it is the most recent again."""
        kept, size = [], 0
        for entry in self._cache.most_wanted():
            if entry.has_data and size + entry.size <= self._most_bytes:
                kept.append(entry)
                size += entry.size
        return kept[::-1]

    def _set_aside(self, error: Exception) -> None:
        aside = self.path.with_name(FILE_NAME + UNUSABLE)
        why = {"path": str(self.path), "error": str(error).splitlines()[0], "set_aside_as": str(aside)}
        try:
            self.path.replace(aside)
        except OSError as failure:
            why["set_aside_as"] = f"not possible: {failure.strerror}"
        log.warning("the cache on disk cannot be used", extra=why)

    def _remove_unfinished(self) -> None:
        """What a crash left behind. Another server that is writing here loses its copy, and writes the next."""
        for left in self.path.parent.glob(f"{FILE_NAME}.*{UNFINISHED}"):
            try:
                left.unlink()
            except OSError as error:
                log.warning("cannot be removed", extra={"path": str(left), "error": error.strerror})

    @contextmanager
    def _replacement(self) -> Iterator[BinaryIO]:
        """A file to write, which then takes the place of the old one; nothing remains of it where that fails.

        Its name is its own: servers that share the folder do not write into each other's.
        """
        beside = self.path.with_name(f"{FILE_NAME}.{secrets.token_hex(4)}{UNFINISHED}")
        try:
            with open(beside, "xb", opener=_for_the_owner_alone) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the new name
        finally:
            os.close(folder)


def identity_of(settings: Settings) -> dict[str, str]:
    """What an environment's numbers depend on beside its parameters: the program's version, and the desk's data."""
    store = without_secrets(settings.store.url or "")  # hashed, as its arguments may hold secrets; "": in the folder
    return {
        "program": position_server.__version__,
        "sections": _digest_of_sources(),
        "store": hashlib.blake2b(store.encode(), digest_size=DIGEST_BYTES).hexdigest(),
        "calendar": settings.calendar,
        "base_currency": settings.base_currency,
    }


def _digest_of_sources() -> str:
    root = Path(position_server.__file__).parent
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in SOURCES:
        place = root / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _versions(entries: list[Entry]) -> list[Hashable]:
    return [(entry.key, entry.version, entry.created) for entry in entries]


def _for_the_owner_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
