"""A chat-completions endpoint: one question, one answer, checked; and its failures sorted into passing and lasting.

The client does not repeat a request: a model-day that fails for the moment is tried again as a whole by the runner,
from a clean account, after as long as the endpoint asks for. So there is one place that repeats, no worker waits, and
no day is decided by half a conversation.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast

import openai
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ValidationError

from position_server.clock import Clock
from position_server.errors import AgentFailed
from position_server.simulation.agents.journal import Secrets, shortened, storable
from position_server.simulation.agents.params import AgentParams
from position_server.simulation.calls import TransientFailure

MOST_CHARACTERS = 100_000  # of an answer; its tokens are limited, but not every endpoint obeys
MOST_ARGUMENTS = 20_000
ERROR_CODE = re.compile(r"^Error code: \d+ - ")
PASSING = (408, 409, 425, 429)  # and 5xx
NOTHING_LEFT = ("insufficient_quota", "billing_hard_limit_reached")  # come as 429 and do not pass


class _Function(BaseModel):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(BaseModel):
    id: str | None = None
    function: _Function | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(BaseModel):
    message: _Message | None = None
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call. `arguments` is None where what was sent is no JSON object; `sent` is what it was."""

    id: str
    name: str
    arguments: dict[str, Any] | None
    sent: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the language model said, and which tools it wants called."""

    content: str
    calls: Sequence[Call]
    refusal: str | None = None
    is_cut_off: bool = False


class Endpoint:
    """The endpoint that `client` is for."""

    def __init__(self, client: openai.AsyncOpenAI, params: AgentParams, clock: Clock, secrets: Secrets) -> None:
        self._client = client
        self._params = params
        self._clock = clock
        self._secrets = secrets
        self._asked = 0

    async def ask(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> Answer:
        """The answer to a conversation. Raises TransientFailure, or AgentFailed where it will not be another later."""
        params = self._params
        limits: dict[str, Any] = {params.token_limit: params.max_tokens}
        if params.temperature is not None:
            limits["temperature"] = params.temperature
        try:
            async with asyncio.timeout(params.request_timeout_seconds):  # the client's is from byte to byte
                found = await self._client.chat.completions.create(
                    model=params.model, messages=cast("Any", messages), tools=cast("Any", tools), **limits
                )
        except (TimeoutError, openai.APITimeoutError):
            raise TransientFailure(f"the endpoint did not answer within {params.request_timeout_seconds:g} s") from None
        except openai.APIStatusError as error:
            raise self._status_failure(error) from None
        except openai.APIConnectionError as error:
            raise TransientFailure(
                f"the endpoint cannot be reached: {self._reason(error.__cause__ or error)}"
            ) from None
        except (openai.OpenAIError, ValueError, RecursionError) as error:
            raise AgentFailed(f"the endpoint's answer is no chat completion: {self._reason(error)}") from None
        self._asked += 1
        return self._read(found)

    def _status_failure(self, error: openai.APIStatusError) -> Exception:
        status, code = error.status_code, error.code
        said = f"the endpoint answered {status}: {self._reason(error)}"
        if (status in PASSING or status >= 500) and code not in NOTHING_LEFT:
            return TransientFailure(said, self._retry_after(error.response.headers.get("retry-after", "")))
        return AgentFailed(said)

    def _retry_after(self, text: str) -> float:
        """Seconds that the header asks for, as a number or a date; 0 for none."""
        try:
            return max(0.0, float(text))
        except ValueError:
            pass
        try:
            return max(0.0, (parsedate_to_datetime(text) - self._clock.now()).total_seconds())
        except (ValueError, TypeError):
            return 0.0

    def _reason(self, error: BaseException) -> str:
        """What is wrong, in one line without secrets."""
        text = error.message if isinstance(error, openai.APIError) else str(error)
        line = " ".join(self._clean(text).split()) or type(error).__name__
        return shortened(ERROR_CODE.sub("", line), 300)

    def _clean(self, text: str) -> str:
        """The text as it may be stored and shown; before anything is cut short, which would leave half a secret."""
        return self._secrets.cut(storable(text))

    def _read(self, found: object) -> Answer:
        """The answer in what the client made of the body, which need not be what it should be."""
        if not isinstance(found, ChatCompletion):
            raise AgentFailed(f"the endpoint's answer is no chat completion: {self._reason(ValueError(str(found)))}")
        try:
            completion = _Completion.model_validate(found.model_dump(warnings=False))
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise AgentFailed(f"the endpoint's answer is no chat completion: {place} is wrong") from None
        choice = completion.choices[0] if completion.choices else _Choice()
        message = choice.message or _Message()
        cut_off = choice.finish_reason == "length"
        calls = [self._call(one, number) for number, one in enumerate(message.tool_calls or ())]
        refusal = self._clean(message.refusal)[:MOST_CHARACTERS] if message.refusal else None
        if choice.finish_reason == "content_filter" and refusal is None and not calls:
            refusal = "(filtered by the endpoint)"
        return Answer(self._clean(message.content or "")[:MOST_CHARACTERS].strip(), calls, refusal, cut_off)

    def _call(self, one: _ToolCall, number: int) -> Call:
        """A tool call with an id of ours: theirs may be missing, or there twice."""
        function = one.function or _Function()
        sent = self._clean(function.arguments or "{}")
        try:
            arguments = json.loads(sent) if len(sent) <= MOST_ARGUMENTS else None
        except (ValueError, RecursionError):
            arguments = None
        known = arguments if isinstance(arguments, dict) else None
        return Call(f"call_{self._asked}_{number}", self._clean(function.name or ""), known, sent[:MOST_ARGUMENTS])
