"""LLM agents: models that a language model decides for, with tools by the Model Context Protocol.

::

    params        an agent's entry in the configuration
    day           a model-day: everything below put together, and what a failure means
    conversation  the loop: ask, call tools, tell what they said, until `finish` or the last step
    endpoint      a chat-completions endpoint, its answers checked, its failures sorted
    toolset       every tool by name, wherever it runs
    service       the tools of this process as an MCP server: those of the Toolbox, `math`, `search`
    arithmetic    `math`
    news, web     `search`: a file of news, or a search service
    journal       the log of a model-day; no key gets into it

This file imports neither openai nor mcp: they are the extra `agents`, take a second to import, and are needed by a
worker that runs an agent and by nothing else.
"""

from __future__ import annotations

from position_server.simulation.agents.params import AgentParams
from position_server.simulation.models.base import Model
from position_server.simulation.tools import Toolbox


def decide(tools: Toolbox, params: AgentParams) -> None:
    """Lets the language model decide. Raises AgentFailed, InvalidConfig, TransientFailure."""
    from position_server.simulation.agents import day  # not at the top: openai and mcp

    day.run(tools, params)


MODEL = Model(decide, AgentParams, needs=("openai", "mcp"), extra="agents")
