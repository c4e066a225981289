"""Every tool of an agent by name, wherever it runs: one MCP session with this process, one with each tool server.

A tool server's tools take the place of `math` and `search` where they have these names, and are added otherwise; what
the Toolbox has stays here, with the accounts and the date. A tool of a server that takes an argument `date` is given
the day by us: the language model neither sees that argument nor sets it.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from mcp import Client, MCPError, types

from position_server.errors import AgentFailed, PositionServerError
from position_server.settings.addresses import shown
from position_server.simulation.agents.journal import Journal
from position_server.simulation.agents.service import TOOLBOX_NAMES, Service
from position_server.simulation.calls import TransientFailure
from position_server.simulation.tools import Toolbox

FINISH = "finish"
UNKNOWN = "unknown"  # what calls of tools that are not there are counted as: their names are anybody's
DATE = "date"
CONNECT_SECONDS = 30.0
PASSING = (types.REQUEST_TIMEOUT, types.CONNECTION_CLOSED, types.INTERNAL_ERROR)  # the last is also every HTTP 5xx
MOST_TOOLS = 64  # of a server
MOST_PAGES = 10
MOST_DESCRIPTION = 1000
MOST_SCHEMA = 20_000  # characters
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what endpoints accept
OURS = (PositionServerError, TransientFailure)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: who serves it, what is told about it, and whether it is given the date."""

    client: Client
    server: str
    description: str
    schema: Mapping[str, Any]
    is_dated: bool


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool said."""

    text: str
    is_error: bool = False


class Toolset:
    """The tools, to be listed and called; every call is counted in the Toolbox."""

    def __init__(self, tools: Toolbox, service: Service, found: Mapping[str, Tool], call_seconds: float) -> None:
        self._toolbox = tools
        self._call_seconds = call_seconds
        self._service = service
        self._tools = found

    def described(self) -> list[dict[str, Any]]:
        """The tools as a chat-completions endpoint wants to know them, `finish` among them."""
        listed = [_function(name, tool.description, tool.schema) for name, tool in self._tools.items()]
        summary = {"type": "string", "description": "What you did today and why, in a few sentences."}
        schema = {"type": "object", "properties": {"summary": summary}, "additionalProperties": False}
        return [*listed, _function(FINISH, "Ends the day. Call it when you are done.", schema)]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Said:
        """What the tool says. Raises AgentFailed, TransientFailure, or what broke in this process."""
        tool = self._tools.get(name)
        if tool is None:
            return self.refused(UNKNOWN, f"there is no tool {name!r:.80} (known: {', '.join([*self._tools, FINISH])})")
        usage = self._toolbox.calls, self._toolbox.errors
        calls, errors = (counter[name] for counter in usage)
        said = await self._ask(name, tool, arguments)
        self._toolbox.calls[name] = calls + 1  # the Toolbox counts its own, but not what it never saw
        self._toolbox.errors[name] = errors + said.is_error
        return said

    def refused(self, name: str, why: str) -> Said:
        """A call that reaches no tool, counted as an error of that one."""
        self._toolbox.calls[name] += 1
        self._toolbox.errors[name] += 1
        return Said(_error(why), is_error=True)

    def knows(self, name: str) -> bool:
        """Whether there is such a tool."""
        return name == FINISH or name in self._tools

    async def _ask(self, name: str, tool: Tool, arguments: Mapping[str, Any]) -> Said:
        dated = {DATE: self._toolbox.market.day.isoformat()} if tool.is_dated else {}
        try:
            result = await tool.client.call_tool(name, {**arguments, **dated}, read_timeout_seconds=self._call_seconds)
        except MCPError as error:  # it refuses, or did not answer in time; a connection that is lost ends the day
            return Said(_error(f"{tool.server}: {error.message}"), is_error=True)
        if self._service.broken is not None:
            raise self._service.broken
        texts = [block.text for block in result.content if isinstance(block, types.TextContent)]
        if not texts and result.structured_content is not None:
            texts = [json.dumps(result.structured_content, ensure_ascii=False, default=str)]
        return Said("\n".join(texts) or "(nothing)", is_error=bool(result.is_error))


@asynccontextmanager
async def connected(
    tools: Toolbox,
    service: Service,
    servers: Mapping[str, str],
    journal: Journal,
    *,
    call_seconds: float,
    connect_seconds: float = CONNECT_SECONDS,
) -> AsyncIterator[Toolset]:
    """The tools of the service and the servers, until left; a call takes `call_seconds` at most.

    Raises TransientFailure where a server is away, AgentFailed where it is none or two of them offer the same tool.
    """
    async with AsyncExitStack() as up:
        here = await up.enter_async_context(_session("position-server", Client(service.server)))
        found = {
            tool.name: _described("position-server", here, tool) for tool in await _listed("position-server", here)
        }
        theirs: dict[str, Tool] = {}
        for server, url in servers.items():
            client = await up.enter_async_context(_session(server, Client(url, read_timeout_seconds=connect_seconds)))
            for tool in await _listed(server, client):
                if _is_usable(tool) and tool.name not in TOOLBOX_NAMES:
                    if tool.name in theirs:
                        raise AgentFailed(f"the tool {tool.name} is offered by {theirs[tool.name].server} and {server}")
                    theirs[tool.name] = _described(server, client, tool, is_foreign=True)
                else:
                    journal.line("tool left out", server=server, url=shown(url), tool=tool.name[:80])
        yield Toolset(tools, service, {**found, **theirs}, call_seconds)


@asynccontextmanager
async def _session(server: str, client: Client) -> AsyncIterator[Client]:
    """A session with a server. Its task group packs what is raised inside into groups: unpacked and sorted here."""
    try:
        async with client:
            yield client
    except Exception as error:  # noqa: BLE001 groups are of anything
        cause = _first(error)
        if isinstance(cause, OURS):
            raise cause from None
        passes = isinstance(cause, MCPError) and cause.code in PASSING
        if passes or isinstance(cause, httpx2.TransportError | OSError):
            raise TransientFailure(f"the tool server {server} is away ({cause or type(cause).__name__})") from None
        if isinstance(cause, MCPError | httpx2.HTTPStatusError | httpx2.InvalidURL):
            raise AgentFailed(f"the tool server {server} does not answer as one: {cause}") from None
        raise cause from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _listed(server: str, client: Client) -> list[types.Tool]:
    listed: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        listed += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    if len(listed) > MOST_TOOLS:
        raise AgentFailed(f"the tool server {server} offers {len(listed)} tools; {MOST_TOOLS} are the most")
    return listed


def _is_usable(tool: types.Tool) -> bool:
    is_small = len(json.dumps(tool.input_schema)) <= MOST_SCHEMA
    return NAME.fullmatch(tool.name) is not None and tool.name not in (FINISH, UNKNOWN) and is_small


def _described(server: str, client: Client, tool: types.Tool, *, is_foreign: bool = False) -> Tool:
    schema = dict(tool.input_schema)
    properties = dict(schema.get("properties") or {})
    is_dated = is_foreign and DATE in properties
    if is_dated:
        del properties[DATE]
        required = [name for name in schema.get("required") or () if name != DATE]
        schema = {**schema, "properties": properties, "required": required}
    return Tool(client, server, (tool.description or "")[:MOST_DESCRIPTION], schema, is_dated)


def _function(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": description, "parameters": dict(schema)}}


def _error(why: str) -> str:
    return json.dumps({"error": why}, ensure_ascii=False)
