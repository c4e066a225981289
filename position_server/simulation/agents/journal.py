"""The journal of an agent's model-day: a line of JSON for everything that happens, and the steps for the results.

No key and no password gets into it: they are cut out of every text. Written line by line, so that the file of a day
that was ended from outside says how far it came. A day that is tried again, or simulated anew, goes on in its file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

from position_server.simulation.tools import Occasion, Toolbox

LOGGER = "position_server.simulation.agents"
MOST_CHARACTERS = 20_000  # of a step
SHORTEST_SECRET = 4  # what is shorter is none, and cutting it out would spoil every text


class Secrets:
    """Texts that are shown to nobody."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({s for s in secrets if len(s) >= SHORTEST_SECRET}, key=len, reverse=True)

    def cut(self, text: str) -> str:
        """The text without them."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class Journal:
    """Where an agent writes what it does; the steps go into the tools' notes, too."""

    def __init__(self, tools: Toolbox, occasion: Occasion, secrets: Secrets) -> None:
        self._tools = tools
        self._occasion = occasion
        self._secrets = secrets
        self._file: Path = occasion.log_file

    def step(self, role: str, content: str, *, level: str = "info", **fields: Any) -> None:
        """Notes a step: what was said, and by whom (`assistant`, `tool`, `error`)."""
        said = shortened(self.clean(content), MOST_CHARACTERS)
        self._tools.note(said, role=role)
        self.line("step", level=level, step=self._tools.steps[-1].step, role=role, content=said, **fields)

    def summary(self, text: str) -> None:
        """What the day came to, in the agent's words."""
        self._tools.summary = shortened(self.clean(text), MOST_CHARACTERS)

    def clean(self, text: str) -> str:
        """The text without secrets, and without what cannot be stored."""
        return self._secrets.cut(storable(text))

    def line(self, message: str, *, level: str = "info", **fields: Any) -> None:
        """Writes a line that is no step. Raises OSError where the file cannot be written."""
        occasion = self._occasion
        line = {
            "timestamp": occasion.clock.now().astimezone(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "logger": LOGGER,
            "message": message,
            "job_id": occasion.job_id,
            "date": self._tools.market.day.isoformat(),
            "model": occasion.model,
            "attempt": occasion.attempt,
            **{name: self.clean(value) if isinstance(value, str) else value for name, value in fields.items()},
        }
        text = self.clean(json.dumps(line, ensure_ascii=False, default=str))
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def storable(text: str) -> str:
    """The text without what databases and UTF-8 refuse: NUL and halves of characters."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def shortened(text: str, most: int) -> str:
    """The text, its end cut off where it is longer than `most`."""
    return text if len(text) <= most else f"{text[:most]}… ({most} of {len(text)} characters)"
