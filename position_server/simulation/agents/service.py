"""The tools of this process as an MCP server: those of the Toolbox, `math` and `search`.

Served in memory to the client of toolset.py, which speaks to servers elsewhere in the same way. The Toolbox keeps the
accounts and the date; nothing here takes a date but `get_price`, and that only to look back.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mcp import types
from mcp.server.lowlevel import Server
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from position_server.simulation.agents.arithmetic import evaluate
from position_server.simulation.holdings import Refused
from position_server.simulation.tools import MOST_DAYS, Toolbox

Search = Callable[[str], Awaitable[dict[str, Any]]]
Symbol = Field(description="As get_symbols writes it.", min_length=1, max_length=64)
Shares = Field(description="Whole shares.", ge=1, le=10**12)


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoArguments(_Arguments):
    pass


class PriceOf(_Arguments):
    symbol: str = Symbol
    on: str | None = Field(None, description="A day, YYYY-MM-DD, not after today; without it, today.", max_length=32)


class HistoryOf(_Arguments):
    symbol: str = Symbol
    days: int = Field(20, description="How many days before today.", ge=1, le=MOST_DAYS)


class Order(_Arguments):
    symbol: str = Symbol
    amount: int = Shares


class Expression(_Arguments):
    expression: str = Field(description="Such as round(100000 * 0.05 / 187.25).", max_length=1000)


class Query(_Arguments):
    query: str = Field(description="A few words.", min_length=1, max_length=400)


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool: what the language model is told about it, and what it takes."""

    description: str
    arguments: type[BaseModel]


OFFERS = {
    "get_price": Offer(
        "The prices of a symbol on a day: of today the open alone; of a day before open, high, low, close, volume, as "
        "traded then. split_ratio, where there is one, is how many of today's shares a share of that day has become.",
        PriceOf,
    ),
    "get_price_history": Offer("The prices of a symbol on its last days before today, oldest first.", HistoryOf),
    "get_symbols": Offer("What can be bought today.", NoArguments),
    "get_portfolio": Offer("Today's date, your cash, your shares by symbol, and what all of it is worth.", NoArguments),
    "buy": Offer("Buys shares at today's opening price.", Order),
    "sell": Offer("Sells shares at today's opening price.", Order),
    "math": Offer(
        "Calculates: + - * / // % **, parentheses, abs min max sum round floor ceil sqrt exp ln log10.", Expression
    ),
    "search": Offer("News published before this moment.", Query),
}
TOOLBOX_NAMES = frozenset(OFFERS) - {"math", "search"}  # the accounts and the date are kept here and nowhere else


class Service:
    """The server, and what broke in it: the protocol has no word for a failure that ends the day."""

    def __init__(self, tools: Toolbox, search: Search) -> None:
        self.broken: Exception | None = None
        self._tools = tools
        self._search = search
        self.server: Server[Any] = Server("position-server", on_list_tools=self._list, on_call_tool=self._call)

    async def _list(self, *_: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(name=name, description=one.description, input_schema=_schema(one.arguments))
                for name, one in OFFERS.items()
            ]
        )

    async def _call(self, _: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        offer = OFFERS.get(asked.name)
        try:
            if offer is None:
                raise Refused(f"there is no tool {asked.name!r}")
            return _said(await self._answer(asked.name, offer.arguments.model_validate(asked.arguments or {})))
        except ValidationError as error:
            return _said({"error": _wrong(error)}, is_error=True)
        except Refused as error:
            return _said({"error": str(error)}, is_error=True)
        except Exception as error:  # noqa: BLE001 it is raised again by who asked
            self.broken = error
            return _said({"error": "the tool broke"}, is_error=True)

    async def _answer(self, name: str, arguments: BaseModel) -> Any:
        if isinstance(arguments, Expression):
            try:
                return {"result": evaluate(arguments.expression)}
            except ValueError as error:
                raise Refused(str(error)) from None
        if isinstance(arguments, Query):
            return await self._search(arguments.query)
        return self._tools.tools[name](**arguments.model_dump(exclude_none=True))


def _said(answer: Any, *, is_error: bool = False) -> types.CallToolResult:
    text = json.dumps(answer, ensure_ascii=False, default=str)
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=is_error)


def _wrong(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False)[:5]
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in details)


def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema without the titles that pydantic gives everything."""
    schema = arguments.model_json_schema()
    properties = {
        name: {key: value for key, value in one.items() if key != "title"}
        for name, one in schema.get("properties", {}).items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": schema.get("required", []),
        "additionalProperties": False,
    }
