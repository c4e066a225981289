"""The loop of an agent's day: ask, call the tools it wants, tell what they said; until `finish`, or the last step.

What goes wrong in an answer (nothing in it, a refusal, arguments that are no JSON, a tool that is not there) is told to
the language model, which may go on, and is counted. Every step is noted in the journal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from position_server.simulation.agents.endpoint import Answer, Call, Endpoint
from position_server.simulation.agents.journal import Journal, shortened
from position_server.simulation.agents.params import AgentParams
from position_server.simulation.agents.toolset import FINISH, NAME, UNKNOWN, Said, Toolset

GO_ON = f"Go on with your tools, or call {FINISH} if you are done for today."
NOTHING = f"There was nothing in your answer. {GO_ON}"
REFUSED = f"You refused. This is a simulation with past prices; nothing is really traded. {GO_ON}"
CUT_OFF = f"Your answer was cut off at its limit. Be shorter. {GO_ON}"

Message = dict[str, Any]


class Conversation:
    """The messages of one day."""

    def __init__(self, endpoint: Endpoint, toolset: Toolset, journal: Journal, params: AgentParams, day: date) -> None:
        self._endpoint = endpoint
        self._toolset = toolset
        self._journal = journal
        self._params = params
        self._messages = opening_messages(params, day)
        self._is_finished = False

    async def run(self) -> bool:
        """Whether the stop signal came. Raises AgentFailed, TransientFailure."""
        tools = self._toolset.described()
        for message in self._messages:
            self._journal.line("message", role=message["role"], content=message["content"])
        for _ in range(self._params.max_steps):
            answer = await self._endpoint.ask(self._messages, tools)
            await self._take(answer)
            if self._is_finished:
                return True
        self._journal.step("error", f"the last of {self._params.max_steps} steps, and no {FINISH}", level="warning")
        return False

    async def _take(self, answer: Answer) -> None:
        calls = answer.calls[: self._params.max_tool_calls]
        self._messages.append(_echo(answer, calls))
        if answer.content:
            self._journal.step("assistant", answer.content)
        if answer.refusal is not None:
            self._problem(f"refusal: {answer.refusal}", None if calls else REFUSED)
        elif not calls and answer.is_cut_off:
            self._problem("the answer was cut off", CUT_OFF)
        elif not calls and not answer.content:
            self._problem("an empty answer", NOTHING)
        elif not calls:
            self._tell(GO_ON)
        for call in calls:
            said = await self._called(call)
            content = shortened(self._journal.clean(said.text), self._params.max_tool_chars)
            self._messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
            level = "warning" if said.is_error else "info"
            self._journal.step("tool", content, level=level, tool=call.name[:80], arguments=call.sent[:2000])
        left_out = len(answer.calls) - len(calls)
        if left_out:
            self._problem(
                f"{left_out} tool calls too many", f"Only the first {len(calls)} of your tool calls were made."
            )

    async def _called(self, call: Call) -> Said:
        if call.arguments is None:
            name = call.name if self._toolset.knows(call.name) else UNKNOWN
            return self._toolset.refused(name, f"the arguments are no JSON object: {call.sent:.200}")
        if call.name != FINISH:
            return await self._toolset.call(call.name, call.arguments)
        self._is_finished = True
        summary = call.arguments.get("summary")
        if isinstance(summary, str) and summary.strip():
            self._journal.summary(summary.strip())
        return Said("The day is over.")

    def _problem(self, what: str, told: str | None) -> None:
        self._journal.step("error", what, level="warning")
        if told is not None:
            self._tell(told)

    def _tell(self, text: str) -> None:
        self._messages.append({"role": "user", "content": text})


def opening_messages(params: AgentParams, day: date) -> list[Message]:
    """What a day begins with."""
    today = f"Today is {day:%A}, {day}. The market opens now."
    return [
        {"role": "system", "content": params.system_prompt},
        {"role": "user", "content": f"{today}\n\n{params.instructions}".strip()},
    ]


def _echo(answer: Answer, calls: Sequence[Call]) -> Message:
    """The answer as part of the conversation. Endpoints refuse empty ones, odd names, arguments that are no JSON."""
    content = answer.content or answer.refusal
    if not calls:
        return {"role": "assistant", "content": content or "(nothing)"}
    made = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": _name(call), "arguments": json.dumps(call.arguments or {})},
        }
        for call in calls
    ]
    return {"role": "assistant", "content": content or None, "tool_calls": made}


def _name(call: Call) -> str:
    """The name as endpoints accept it."""
    return call.name if NAME.fullmatch(call.name) else UNKNOWN
