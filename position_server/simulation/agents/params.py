"""What an agent's entry in the configuration says beside its name and kind. No key: those come from the environment."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from position_server.simulation.models.base import ModelParams, param

SYSTEM_PROMPT = """\
You manage a portfolio of shares. It is the moment when the market opens, and you decide what to trade today.
Everything you can know comes from your tools; none of them shows anything after this moment. Every trade is made at
today's opening price, in whole shares, with the cash that you have.
Look at your portfolio first. Work step by step with tools, and say in short sentences why you do what you do.
When you are done for today, call finish. Doing nothing is a decision, too."""


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"no time zone is known by the name {name!r}") from None
    return name


class AgentParams(ModelParams):
    """The parameters of the kind `agent`."""

    model: str = Field(description="The language model, as the endpoint calls it.", min_length=1, max_length=200)
    instructions: str = param("What this agent is to do; the end of the first message.", "", max_length=20_000)
    system_prompt: str = param("The system message.", SYSTEM_PROMPT, min_length=1, max_length=20_000)
    temperature: float | None = param("Sent if given.", None, ge=0, le=2)
    max_steps: int = param("Answers of the language model in a day, at most.", 30, ge=1, le=200)
    max_tokens: int = param("Tokens of an answer, at most.", 2000, ge=1, le=100_000)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = param(
        "The name by which the endpoint knows that limit.", "max_tokens"
    )
    max_tool_calls: int = param("Tools called of one answer, at most.", 16, ge=1, le=128)
    max_tool_chars: int = param(
        "Characters of what a tool says, at most; the rest is cut off.", 8000, ge=200, le=200_000
    )
    request_timeout_seconds: float = param("Longest wait for an answer.", 60.0, gt=0, le=600, allow_inf_nan=False)
    tool_timeout_seconds: float = param(
        "Longest wait for a tool of a tool server.", 30.0, gt=0, le=600, allow_inf_nan=False
    )
    news_file: str | None = param("What `search` looks through: a file in `configs/`.", None, min_length=1)
    search_results: int = param("Results of a search, at most.", 5, ge=1, le=20)
    opens_at: time = param("When the market opens.", time(9, 30))
    timezone: Annotated[str, AfterValidator(_time_zone)] = param("Of `opens_at`.", "America/New_York")
