"""The kinds of models: the modules of `models/` by name, and `agent`, which has a room of its own. Loud on failure.

Imports a kind only when it is asked for. For workers: models may import numpy.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from position_server.errors import BrokenModel, Problem
from position_server.simulation import models
from position_server.simulation.models.base import Model

NOT_A_MODEL = {"base"}
AGENT, AGENT_MODULE = "agent", "position_server.simulation.agents"


def kinds() -> dict[str, str]:
    """Every kind's module by its name."""
    found = {m.name: f"{models.__name__}.{m.name}" for m in pkgutil.iter_modules(models.__path__)}
    if importlib.util.find_spec(AGENT_MODULE) is not None:
        found[AGENT] = AGENT_MODULE
    return {name: module for name, module in sorted(found.items()) if name not in NOT_A_MODEL}


def load(kind: str) -> Model:
    """The model of that kind.

    Raises BrokenModel, naming the module: import error, no MODEL, unknown kind; or what is to be installed for it.
    """
    module = kinds().get(kind)
    if module is None:
        raise BrokenModel(f"there is no kind of model {kind!r} (known: {', '.join(kinds())})")
    try:
        model = getattr(importlib.import_module(module), "MODEL", None)
    except Exception as error:
        raise BrokenModel(f"{module}: {type(error).__name__}: {error}") from error
    if not isinstance(model, Model):
        raise BrokenModel(f"{module}: defines no MODEL = Model(...)")
    missing = [name for name in model.needs if importlib.util.find_spec(name) is None]
    if missing:
        cure = f"install position-server[{model.extra}]"
        raise BrokenModel(f"the kind {kind!r} needs {' and '.join(missing)}: {cure}")
    return model


def problems_of(entries: Iterable[tuple[str, str, Mapping[str, Any]]]) -> list[Problem]:
    """What is wrong with kinds and parameters of models, given as (place in the configuration, kind, parameters)."""
    found: list[Problem] = []
    known = kinds()
    for place, kind, params in entries:
        if kind not in known:
            found.append(Problem(f"{place}.kind", f"there is no kind {kind!r} (known: {', '.join(known)})"))
            continue
        try:
            load(kind).params.model_validate(dict(params))
        except ValidationError as error:
            found += [_problem(place, detail) for detail in error.errors(include_url=False)]
        except BrokenModel as error:
            found.append(Problem(f"{place}.kind", error.message))
    return found


def _problem(place: str, detail: Any) -> Problem:
    """A problem with the value as it is; of a key that should not be there the name will do: it may be a secret."""
    shown = "" if detail["type"] == "extra_forbidden" else f" (is {detail['input']!r:.100})"
    return Problem(".".join([place, *map(str, detail["loc"])]), detail["msg"].removeprefix("Value error, ") + shown)
