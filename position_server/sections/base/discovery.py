"""Finds the sections: the modules of `sections/` and the entry points of other packages. Loud on failure."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points

from position_server import sections
from position_server.errors import BrokenSection
from position_server.sections.base.section import Section

ENTRY_POINTS = "position_server.sections"
NOT_A_SECTION = {"base"}


def discover() -> dict[str, Section]:
    """Every section by name, sorted. Raises BrokenSection, naming the file: import error, no SECTION, a name taken."""
    found: dict[str, Section] = {}
    for where, section in [*_own_sections(), *_other_sections()]:
        if section.name in found:
            raise BrokenSection(f"{where}: there is a section named {section.name!r} already")
        found[section.name] = section
    return dict(sorted(found.items()))


def _own_sections() -> Iterator[tuple[str, Section]]:
    for module in pkgutil.iter_modules(sections.__path__):
        if module.name not in NOT_A_SECTION:
            yield (
                f"sections/{module.name}.py",
                _load(f"{sections.__name__}.{module.name}", f"sections/{module.name}.py"),
            )


def _load(name: str, where: str) -> Section:
    try:
        section = getattr(importlib.import_module(name), "SECTION", None)
    except Exception as error:
        raise BrokenSection(f"{where}: {type(error).__name__}: {error}") from error
    return _checked(section, where)


def _other_sections() -> Iterator[tuple[str, Section]]:
    for point in entry_points(group=ENTRY_POINTS):
        where = f"entry point {point.name} = {point.value}"
        try:
            section = point.load()
        except Exception as error:
            raise BrokenSection(f"{where}: {type(error).__name__}: {error}") from error
        yield where, _checked(section, where)


def _checked(section: object, where: str) -> Section:
    if not isinstance(section, Section):
        raise BrokenSection(f"{where}: defines no SECTION = Section(...)")
    return section
