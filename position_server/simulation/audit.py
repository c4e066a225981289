"""The audit log of simulations: every state change of a job as one JSON line, in `api_audit.log` of the data folder.

Written after the change is in the store. One write per line, so lines of several threads and processes do not mix. A
log that cannot be written stops no job; the other log says so.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import orjson

from position_server.clock import Clock

log = logging.getLogger(__name__)
FILE_NAME = "api_audit.log"


class AuditLog:
    """Appends lines `{timestamp, event, job_id, user, details}`. Callable from any thread."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self.path = data_dir / FILE_NAME
        self._clock = clock

    def write(self, event: str, job_id: str, user: str, **details: Any) -> None:
        """Appends one line."""
        line = {
            "timestamp": self._clock.now().isoformat(timespec="milliseconds"),
            "event": event,
            "job_id": job_id,
            "user": user,
            "details": details,
        }
        try:
            file = os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
            try:
                os.write(file, orjson.dumps(line, default=str) + b"\n")
            finally:
                os.close(file)
        except OSError:
            log.exception("the audit log cannot be written", extra={"path": str(self.path), "event": event})
