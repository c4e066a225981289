"""What is imported is required: the package by `dependencies`, the tests by the extra `test`, and both are pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.house.sources import PACKAGE, REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
AGENTS = "position_server/simulation/agents/"
OWN = {"position_server", "tests", "config", "bench"}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(lines: list[str]) -> set[str]:
    return {plain(re.split(r"[\s\[<>=~!;]", line)[0]) for line in lines}


distributions_of_modules = cache(packages_distributions)  # reads the files of everything installed


def imported_by(folder: Path) -> dict[str, str]:
    """Every distribution that a file below the folder imports, and one file that does."""
    distributions = distributions_of_modules()
    found: dict[str, str] = {}
    for file in sorted(folder.rglob("*.py")):
        for name in set(_modules_of(ast.parse(file.read_text()))) - sys.stdlib_module_names - OWN:
            for distribution in distributions.get(name, [name]):
                found[plain(distribution)] = file.relative_to(REPOSITORY).as_posix()
    return found


def _modules_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def of_the_extra(name: str) -> set[str]:
    return required(PROJECT["optional-dependencies"][name])


def missing(folder: Path, lines: list[str]) -> dict[str, str]:
    return {name: file for name, file in imported_by(folder).items() if name not in required(lines)}


def test_what_the_package_imports_is_a_dependency() -> None:
    indirectly = {"pydantic-core": "pydantic", "psycopg-binary": "psycopg"}  # part of what is required
    found = {n: f for n, f in missing(PACKAGE, PROJECT["dependencies"]).items() if n not in indirectly}
    assert {n: f for n, f in found.items() if n not in of_the_extra("agents") or not f.startswith(AGENTS)} == {}


def test_what_the_tests_import_is_in_the_test_extra() -> None:
    all_of_them = [line for name in ("test", "agents") for line in PROJECT["optional-dependencies"][name]]
    assert missing(REPOSITORY / "tests", [*PROJECT["dependencies"], *all_of_them]) == {}


def test_only_agents_import_what_their_extra_brings() -> None:
    files = [f for f in sorted(PACKAGE.rglob("*.py")) if not f.relative_to(REPOSITORY).as_posix().startswith(AGENTS)]
    imported = {name for file in files for name in _modules_of(ast.parse(file.read_text()))}
    assert imported & of_the_extra("agents") == set()


def test_everything_required_is_pinned() -> None:
    pinned = {
        plain(name) for name in re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    }
    extras = [line for name in ("test", "agents") for line in PROJECT["optional-dependencies"][name]]
    assert required([*PROJECT["dependencies"], *extras]) - pinned == set()
