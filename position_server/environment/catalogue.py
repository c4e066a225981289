"""The sections' names and parameters, as data: what the serving process knows of sections without importing one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from position_server.errors import BadRequest, Problem
from position_server.outcomes import SectionInfo
from position_server.params import SectionParams


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every section by name, as a worker found them."""

    sections: Mapping[str, SectionInfo]

    @classmethod
    def of(cls, infos: Iterable[SectionInfo]) -> Catalogue:
        """The catalogue of these sections."""
        return cls({info.name: info for info in infos})

    def check_names(self, names: Iterable[str] | None) -> None:
        """Raises BadRequest where there are `unknown_names`."""
        _refuse(self.unknown_names(names))

    def check_overrides(self, section_params: SectionParams | None) -> None:
        """Raises BadRequest where there are `unknown_overrides`."""
        _refuse(self.unknown_overrides(section_params))

    def unknown_names(self, names: Iterable[str] | None) -> list[Problem]:
        """A problem for each section of `sections=` that does not exist."""
        return [self._stranger("sections", name) for name in names or () if name not in self.sections]

    def unknown_overrides(self, section_params: SectionParams | None) -> list[Problem]:
        """A problem for each section or parameter that does not exist; values are for the section."""
        problems: list[Problem] = []
        for name, given in (section_params or {}).items():
            section = self.sections.get(name)
            problems += (
                [self._stranger(f"section_params.{name}", name)] if section is None else _strangers(section, given)
            )
        return problems

    def _stranger(self, field: str, name: str) -> Problem:
        return Problem(field, f"there is no section {name!r} (known: {', '.join(self.sections)})")


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise BadRequest(problems)


def _strangers(section: SectionInfo, given: Iterable[str]) -> list[Problem]:
    known = ", ".join(section.params) or "none"
    return [
        Problem(f"section_params.{section.name}.{name}", f"unknown parameter (known: {known})")
        for name in given
        if name not in section.params
    ]
