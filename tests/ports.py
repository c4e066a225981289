"""Ports for tests: one that stays the test's own although nothing listens there yet, or for a while."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """A free port. Until the end nobody else is given it: it is bound here, and connections to it are refused.

    A server that sets SO_REUSEADDR, as servers do, may listen there, end, and come back.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
