"""What a reader demands of an environment beside its parameters: how new its sections must be. Pure."""

from __future__ import annotations

from position_server.environment.cache import Entry, State
from position_server.errors import NotFresh
from position_server.params import ReadOptions


def is_served(entry: Entry, state: State, options: ReadOptions, now: float) -> bool:
    """Whether the entry is an answer as it is; else something has to be computed first."""
    if state is State.EXPIRED or is_too_old(entry, options, now):
        return False
    if options.require == "fresh":
        return state is State.FRESH and all(section.status == "ok" for section in entry.chosen(options.sections))
    return True


def may_stand_in(old: Entry, options: ReadOptions, now: float) -> bool:
    """Whether old data may be the answer where nothing could be computed."""
    return old.has_data and options.require != "fresh" and not is_too_old(old, options, now)


def is_too_old(entry: Entry, options: ReadOptions, now: float) -> bool:
    """Whether `max_age` was given and the data are older."""
    return options.max_age is not None and entry.age(now, options.sections) > options.max_age


def refuse_what_is_not_fresh(entry: Entry, options: ReadOptions, now: float) -> None:
    """Raises NotFresh where even a new computation did not bring what was demanded."""
    bad = [s for s in entry.chosen(options.sections) if s.status != "ok"]
    if options.require != "fresh":  # max_age: what never had data says so itself, and is not old
        bad = [s for s in bad if s.has_data] if is_too_old(entry, options, now) else []
    if bad:
        failures = "; ".join(f"{s.outcome.section}: {(s.failure or s.outcome).error_line}" for s in bad)
        raise NotFresh(f"Data as fresh as asked for cannot be had now: {failures}")
