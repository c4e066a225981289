"""Factories of what the environment service handles."""

from __future__ import annotations

from datetime import date
from typing import Any

from position_server.environment.cache import Entry
from position_server.environment.envelope import encode_sections
from position_server.environment.freshness import merge
from position_server.outcomes import SectionOutcome
from position_server.params import BaseParams
from tests.fakes import outcome


def base_params(books: tuple[str, ...] = ("CUPS", "YCSO"), time_of_day: str = "LIVE", **other: Any) -> BaseParams:
    """The parameters of an environment."""
    dates = {"env_date": date(2025, 10, 30), "pos_date": date(2025, 10, 29), **other}
    return BaseParams(books=books, time_of_day=time_of_day, **dates)


def entry_of(
    base: BaseParams | None = None, *outcomes: SectionOutcome, created: float = 1000.0, old: Entry | None = None
) -> Entry:
    """The entry that these outcomes make, over an older one."""
    base = base or base_params()
    states = merge(old.states if old else None, outcomes or (outcome("bonds"),), created)
    encoded = encode_sections(states, expose_tracebacks=True)
    return Entry(base.to_cache_key(), base, old.version + 1 if old else 1, states, encoded, created)
