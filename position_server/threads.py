"""The end of a thread: waited for within bounds, and named in the log where it does not come. Starts none."""

from __future__ import annotations

import logging
import threading

log = logging.getLogger(__name__)


def join(thread: threading.Thread, within_seconds: float) -> bool:
    """Waits for the end of a thread, where it ever began; returns whether it came, and warns where it did not."""
    if thread.ident is not None:  # it was started
        thread.join(within_seconds)
    if thread.is_alive():
        log.warning("thread did not end", extra={"name_of_thread": thread.name})
        return False
    return True
