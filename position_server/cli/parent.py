"""A command that another process started and that ends with it, as the demo store's builder does with `serve`."""

from __future__ import annotations

import os
import sys
import threading


def end_with_parent() -> None:
    """From now on the process ends, with exit code 1 and at once, when its standard input does.

    Who started it holds the other end, and the kernel closes that however the holder ends.
    """
    threading.Thread(target=_end_with_input, name="parent-watch", daemon=True).start()


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):  # not sys.stdin: its lock must be free when the interpreter ends
        pass
    os._exit(1)
