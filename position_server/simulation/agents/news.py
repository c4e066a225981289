"""The news that `search` looks through: a file of JSON lines in `configs/`, read when it is searched.

A line is `{"time": ..., "title": ..., "text"?, "source"?, "symbols"?}`. `time` is a moment with its offset from UTC, or
a day; what has a day alone counts as known on the next. A file with a wrong line is refused whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from position_server.errors import AgentFailed
from position_server.simulation.agents.published import is_known

MOST_BYTES = 100_000_000
MOST_TEXT = 2000  # characters of an entry that are shown
WORD = re.compile(r"[^\W_]+")


class Entry(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: str = Field(max_length=64)
    title: str = Field(min_length=1, max_length=1000)
    text: str = Field("", max_length=100_000)
    source: str = Field("", max_length=1000)
    symbols: tuple[str, ...] = Field((), max_length=1000)

    @field_validator("time")
    @classmethod
    def _is_a_moment_or_a_day(cls, text: str) -> str:
        _moment(text)
        return text

    @property
    def moment(self) -> datetime | date:
        """When it was published."""
        return _moment(self.time)

    @property
    def words(self) -> set[str]:
        """Everything that it can be found by."""
        return words_of(" ".join((self.title, self.text, self.source, *self.symbols)))


def search_file(file: Path, name: str, query: str, opening: datetime, most: int) -> list[dict[str, Any]]:
    """The entries known at the opening that have a word of the query: most words first, then the newest.

    Raises AgentFailed for a file that cannot be read, by the name that the configuration gives it.
    """
    wanted = words_of(query)
    hits = [
        (len(wanted & entry.words), _sortable(entry.moment), number, entry)
        for number, entry in _entries(file, name)
        if is_known(entry.moment, opening) and wanted & entry.words
    ]
    best = sorted(hits, key=lambda hit: (-hit[0], -hit[1].timestamp(), hit[2]))[:most]
    return [_shown(entry) for _, _, _, entry in best]


def words_of(text: str) -> set[str]:
    """The words of a text, whatever their case."""
    return {word.casefold() for word in WORD.findall(text)}


def _entries(file: Path, name: str) -> Iterator[tuple[int, Entry]]:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise AgentFailed(f"news_file: {name} is larger than {MOST_BYTES:,} bytes")
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _entry(line, f"news_file: {name}, line {number}")
    except OSError as error:
        raise AgentFailed(f"news_file: {name} cannot be read: {error.strerror or error}") from error


def _entry(line: bytes, place: str) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "the line"
        raise AgentFailed(f"{place}: {key}: {first['msg'].removeprefix('Value error, ')}") from None


def _moment(text: str) -> datetime | date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is neither a moment nor a day (2025-06-10T08:15:00-04:00, 2025-06-10)") from None
    if moment.tzinfo is None:
        raise ValueError("has no offset from UTC (2025-06-10T08:15:00-04:00)")
    return moment


def _sortable(moment: datetime | date) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time.max, UTC)


def _shown(entry: Entry) -> dict[str, Any]:
    text = {"text": entry.text[:MOST_TEXT]} if entry.text else {}
    source = {"source": entry.source} if entry.source else {}
    symbols = {"symbols": list(entry.symbols)} if entry.symbols else {}
    return {"time": entry.time, "title": entry.title, **text, **source, **symbols}
