"""The sections' names and parameters, and what is no section and no parameter."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from position_server.environment.catalogue import Catalogue
from position_server.errors import BadRequest
from position_server.outcomes import SectionInfo

CATALOGUE = Catalogue.of(
    [
        SectionInfo("bonds", "Bonds.", {"curve_shift_bp": {}, "exclude_isins": {}}),
        SectionInfo("new_trades", "Trades.", {}),
    ]
)


def problems(check: Callable[[], None]) -> dict[str, str]:
    with pytest.raises(BadRequest) as caught:
        check()
    return {problem.field: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("names", [None, [], ["bonds"], ["new_trades", "bonds"]])
def test_known_sections_pass(names: list[str] | None) -> None:
    CATALOGUE.check_names(names)


def test_an_unknown_section_is_refused_with_the_known_ones() -> None:
    assert problems(lambda: CATALOGUE.check_names(["bonds", "weather"])) == {
        "sections": "there is no section 'weather' (known: bonds, new_trades)"
    }


@pytest.mark.parametrize("given", [None, {}, {"bonds": {}}, {"bonds": {"curve_shift_bp": "any value"}}])
def test_known_parameters_pass_whatever_their_values(given: dict[str, dict[str, object]] | None) -> None:
    CATALOGUE.check_overrides(given)


def test_every_unknown_section_and_parameter_is_named_at_once() -> None:
    given = {"bonds": {"curve_shift_bp": 1, "colour": 2, "size": 3}, "weather": {"wind": 1}, "new_trades": {"x": 1}}
    assert problems(lambda: CATALOGUE.check_overrides(given)) == {
        "section_params.bonds.colour": "unknown parameter (known: curve_shift_bp, exclude_isins)",
        "section_params.bonds.size": "unknown parameter (known: curve_shift_bp, exclude_isins)",
        "section_params.weather": "there is no section 'weather' (known: bonds, new_trades)",
        "section_params.new_trades.x": "unknown parameter (known: none)",
    }
