"""A model-day of an agent: keys from the environment, the tools connected, the conversation held, failures sorted."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import openai

from position_server.errors import AgentFailed, InvalidConfig
from position_server.settings.addresses import secrets_in
from position_server.simulation.agents.conversation import Conversation
from position_server.simulation.agents.endpoint import Endpoint
from position_server.simulation.agents.journal import Journal, Secrets
from position_server.simulation.agents.news import search_file
from position_server.simulation.agents.params import AgentParams
from position_server.simulation.agents.service import Search, Service
from position_server.simulation.agents.toolset import connected
from position_server.simulation.agents.web import DEFAULT_URL, WebSearch
from position_server.simulation.calls import TransientFailure
from position_server.simulation.config import inside_configs
from position_server.simulation.tools import Occasion, Toolbox

NO_KEY = "none"  # sent to an endpoint of one's own where there is no key
NO_NEWS = "there is no news in this simulation: it has neither a news file nor a search service"


@dataclass(frozen=True, slots=True)
class Keys:
    """What the environment says; "" for what it does not."""

    openai_base: str
    openai_key: str
    jina_base: str
    jina_key: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Keys:
        """From OPENAI_API_BASE, OPENAI_API_KEY, JINA_API_BASE and JINA_API_KEY.

        Raises AgentFailed for a key that cannot be sent, and where there is none for the default endpoint.
        """
        names = ("OPENAI_API_BASE", "OPENAI_API_KEY", "JINA_API_BASE", "JINA_API_KEY")
        keys = cls(*(environment.get(name, "").strip() for name in names))
        for name, key in (("OPENAI_API_KEY", keys.openai_key), ("JINA_API_KEY", keys.jina_key)):
            if not (key.isascii() and key.isprintable()):
                raise AgentFailed(f"{name} has characters that no key has")
        if not keys.openai_key and not keys.openai_base:
            raise AgentFailed("OPENAI_API_KEY is not set (and OPENAI_API_BASE neither)")
        return keys

    def secrets(self, tool_servers: Mapping[str, str]) -> Secrets:
        """Everything that must not be seen."""
        urls = (self.openai_base, self.jina_base, *tool_servers.values())
        found = [self.jina_key, self.openai_key, *(secret for url in urls for secret in secrets_in(url))]
        return Secrets(found)


def run(tools: Toolbox, params: AgentParams) -> None:
    """Decides the day. Raises AgentFailed and TransientFailure, with messages that show no secret."""
    occasion = tools.occasion
    if occasion is None:
        raise AgentFailed("an agent needs a model-day")
    keys = Keys.of(occasion.environment)
    secrets = keys.secrets(occasion.tool_servers)
    journal = Journal(tools, occasion, secrets)
    try:
        asyncio.run(_decide(tools, params, occasion, keys, secrets, journal))
    except Exception as error:  # noqa: BLE001 whatever it is: its message, and its traceback, may have a key in it
        failure = _without(secrets, error)
        _note(journal, str(failure), traceback.format_exc())
        raise failure from None
    journal.line("finished", trades=len(tools.account.trades), stop_signal_received=tools.stop_signal_received)


def _note(journal: Journal, message: str, exception: str) -> None:
    try:
        journal.line(message, level="error", exception=exception)
    except OSError:  # the disk is full, or it is what failed: the failure itself is said in any case
        pass


def _without(secrets: Secrets, error: Exception) -> AgentFailed | TransientFailure:
    """The same failure without secrets; a lasting one for what nobody foresaw."""
    if isinstance(error, TransientFailure):
        return TransientFailure(secrets.cut(str(error)), error.retry_after_seconds)
    known = isinstance(error, AgentFailed)
    return AgentFailed(secrets.cut(str(error) if known else f"{type(error).__name__}: {error}"))


async def _decide(
    tools: Toolbox, params: AgentParams, occasion: Occasion, keys: Keys, secrets: Secrets, journal: Journal
) -> None:
    service = Service(tools, search_of(params, occasion, keys, opening(params, tools)))
    client = openai.AsyncOpenAI(
        base_url=keys.openai_base or "https://api.openai.com/v1",
        api_key=keys.openai_key or NO_KEY,
        timeout=params.request_timeout_seconds,
        max_retries=0,
        # A connection of its own for each request: one that is kept may be closed by the other side in between.
        http_client=openai.DefaultAsyncHttpx2Client(limits=httpx2.Limits(max_keepalive_connections=0)),
    )
    sessions = connected(tools, service, occasion.tool_servers, journal, call_seconds=params.tool_timeout_seconds)
    async with client, sessions as toolset:
        endpoint = Endpoint(client, params, occasion.clock, secrets)
        conversation = Conversation(endpoint, toolset, journal, params, tools.market.day)
        tools.stop_signal_received = await conversation.run()


def opening(params: AgentParams, tools: Toolbox) -> datetime:
    """The moment that the market opens; what was published later is not shown."""
    return datetime.combine(tools.market.day, params.opens_at, ZoneInfo(params.timezone))


def search_of(params: AgentParams, occasion: Occasion, keys: Keys, opened: datetime) -> Search:
    """How `search` searches: a service where there is a key for one, else the news file, else nowhere."""
    most = params.search_results
    if keys.jina_key:
        web = WebSearch(keys.jina_base or DEFAULT_URL, keys.jina_key, occasion.clock)

        async def in_the_web(query: str) -> dict[str, Any]:
            return {"results": await web.search(query, opened, most)}

        return in_the_web
    if params.news_file is None:

        async def nowhere(_: str) -> dict[str, Any]:
            return {"results": [], "note": NO_NEWS}

        return nowhere
    name = params.news_file
    try:
        file = inside_configs(occasion.root, name, "news_file")
    except InvalidConfig as error:
        raise AgentFailed(error.message) from None

    async def in_the_file(query: str) -> dict[str, Any]:
        return {"results": search_file(file, name, query, opened, most)}

    return in_the_file
