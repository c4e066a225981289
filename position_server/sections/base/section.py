"""A section as its author writes it: its name, what it needs, what a POST may override, and a pure function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from position_server.errors import BadRequest, Problem
from position_server.outcomes import SectionInfo
from position_server.params import BaseParams
from position_server.sections.base.inputs import Inputs, Needs


@dataclass(frozen=True, slots=True, eq=False)
class Keyed:
    """A column of mappings `{name: value}`: names (k,) and values (n, k). A row with an unknown value is null."""

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)


Column = Sequence[Any] | npt.NDArray[Any] | Keyed  # one value per row


class SectionParams(BaseModel):
    """Base of a section's parameters: unknown names are refused, and every default changes nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def param(description: str, default: Any = None) -> Any:
    """A parameter that a POST may give the section; `default` (None) is what a GET computes with."""
    return Field(default, description=description)


@dataclass(frozen=True, slots=True)
class SectionData:
    """What a section answers.

    `rows` are columns of one length, in the order of the answer: float64 with NaN for unknown, datetime64, objects, or
    Keyed.
    `totals` is `{by_book: {book: {...}}, all: {...}}`. `notes` are further fields of `data`, such as
    `overrides_applied`. `symbols` are the instruments that it holds, and what they derive from: a quote of one has it
    computed anew. The dates say how old the inputs were (ISO text).
    """

    rows: Mapping[str, Column] = field(default_factory=dict)
    totals: Mapping[str, Any] = field(default_factory=lambda: {"by_book": {}, "all": {}})
    coverage: Mapping[str, Any] = field(default_factory=lambda: {"positions": 0, "priced": 0, "gross_share": None})
    warnings: Sequence[str] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    symbols: frozenset[str] = frozenset()
    market_data_as_of: str | None = None
    positions_as_of: str | None = None
    oldest_price_date: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One independent part of an environment. `compute(inputs, params)` is pure; `fetch(base, params)` may read.

    A section whose answer is not rows may return a plain mapping: it becomes further fields of `data`.
    """

    name: str
    needs: Needs
    compute: Callable[[Inputs, Any], SectionData | Mapping[str, Any]]
    params: type[SectionParams] = SectionParams
    fetch: Callable[[BaseParams, Any], object] | None = None

    def info(self) -> SectionInfo:
        """The section as the serving process knows it; its description is the first line of its file."""
        schema = self.params.model_json_schema()
        definitions = schema.get("$defs")
        properties = schema.get("properties", {})
        described = {name: {**prop, "$defs": definitions} if definitions else prop for name, prop in properties.items()}
        doc = sys.modules[self.compute.__module__].__doc__ or self.name
        return SectionInfo(self.name, doc.strip().splitlines()[0], described)

    def read_params(self, given: Mapping[str, Any] | None) -> SectionParams:
        """The parameters of a POST; raises BadRequest naming every bad value."""
        try:
            return self.params.model_validate(dict(given or {}))
        except ValidationError as error:
            raise BadRequest([_problem(self.name, detail) for detail in error.errors(include_url=False)]) from None


def _problem(section: str, detail: Any) -> Problem:
    place = ".".join(["section_params", section, *map(str, detail["loc"])])
    return Problem(place, f"{detail['msg']} (is {detail['input']!r:.100})")
