"""A server of tools by the Model Context Protocol over HTTP, as others would run one: `tool_server.py PORT KIND`.

Kinds: `search` has tools of many sorts, `more` another `weather`, `crowd` too many tools."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from mcp.server import MCPServer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent.parent))

from tests.servers import until


def search(query: str, date: str) -> str:
    """Searches an archive, up to a date."""
    return f"archive of {date}: {query}"


def math(expression: str) -> str:
    """Calculates elsewhere."""
    return f"elsewhere: {expression}"


def weather(city: str) -> dict[str, str]:
    """The weather."""
    return {"city": city, "weather": "fine"}


def buy(symbol: str, amount: int) -> str:
    """Would keep accounts of its own."""
    return f"bought {amount} of {symbol} elsewhere"


def fail() -> str:
    """Fails."""
    raise ValueError("no idea")


async def sleep() -> str:
    """Never answers in time."""
    await asyncio.sleep(60)
    return "late"


def die() -> str:
    """Takes the server with it."""
    os._exit(1)


def main(port: int, kind: str) -> None:
    server = MCPServer(kind)
    for function in (search, math, weather, buy, fail, sleep, die) if kind == "search" else (weather,):
        server.add_tool(function)
    server.add_tool(weather, name="a name with spaces")
    for number in range(70 if kind == "crowd" else 0):
        server.add_tool(weather, name=f"weather_{number}")
    server.run("streamable-http", port=port)


@dataclass
class ToolServer:
    """A server that runs."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def tool_server(log: Path, kind: str = "search") -> Iterator[ToolServer]:
    """The server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}/mcp"
    with log.open("wb") as sink:
        process = subprocess.Popen([sys.executable, __file__, str(port), kind], stdout=sink, stderr=sink)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.head(url).status_code < 500
        except httpx.TransportError:
            return False

    try:
        until(answers)
        yield ToolServer(url, process)
    finally:
        process.kill()
        process.wait(10)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
