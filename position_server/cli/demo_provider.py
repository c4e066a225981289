"""`demo-provider`: serves the demo's moving prices in the quote provider's format, until told to stop.

Started by hand it listens on an address of its own. Started by a server it takes a listening socket over from it, so
that the server knows the address at once and no call is lost while this is still reading its data; it then ends with
the server.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket

from tornado.httpserver import HTTPServer

from position_server.cli.arguments import add_settings_arguments, settings_of
from position_server.cli.parent import end_with_parent
from position_server.clock import SystemClock
from position_server.demo.feed import Feed
from position_server.demo.provider import SEED, application
from position_server.errors import ConfigError
from position_server.logs import logging_to

log = logging.getLogger(__name__)
HOST, PORT = "127.0.0.1", 8889


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `demo-provider`."""
    add_settings_arguments(parser)
    parser.add_argument("--host", default=HOST, help=f"address to listen on (default {HOST})")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=PORT, help=f"port to listen on; 0 takes a free one (default {PORT})")
    where.add_argument("--fd", type=int, metavar="N", help="serve on this inherited listening socket; end with stdin")
    parser.add_argument("--seed", type=int, default=SEED, help="another movement of the prices")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; 0 then. Raises ConfigError where it cannot listen."""
    settings = settings_of(args)
    listening = _bound(args.host, args.port) if args.fd is None else _inherited(args.fd)
    if args.fd is not None:
        end_with_parent()
    with logging_to(settings.logs.level):
        # A server that starts this has a line "listening" of its own in the same log.
        asyncio.run(_serve(listening, args.seed, "listening" if args.fd is None else "answering"))
    return 0


async def _serve(listening: socket.socket, seed: int, said: str) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    server = HTTPServer(application(Feed.shipped(seed), SystemClock()))
    server.add_socket(listening)
    host, port = listening.getsockname()[:2]
    log.info(said, extra={"host": host, "port": port})
    await told.wait()
    server.stop()
    await server.close_all_connections()


def _bound(host: str, port: int) -> socket.socket:
    try:
        made = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ConfigError("--port", f"cannot listen on {host}:{port}: {error}") from error
    made.setblocking(False)
    return made


def _inherited(descriptor: int) -> socket.socket:
    """The listening socket that the parent left at that descriptor."""
    try:
        taken = socket.socket(fileno=descriptor)
        is_listening = bool(taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError as error:
        raise ConfigError("--fd", f"{descriptor} is no socket: {error.strerror}") from error
    if not is_listening:
        taken.detach()
        raise ConfigError("--fd", f"{descriptor} is a socket that does not listen")
    taken.setblocking(False)
    return taken
