"""What is imported is required: the package by `dependencies`, the tests by the extra `test`, and both are pinned."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.house.sources import PACKAGE, REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
OWN = {"position_server", "tests", "config", "bench"}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(lines: list[str]) -> set[str]:
    return {plain(re.split(r"[\s\[<>=~!;]", line)[0]) for line in lines}


def imported_by(folder: Path) -> dict[str, str]:
    """Every distribution that a file below the folder imports, and one file that does."""
    distributions = packages_distributions()
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


def missing(folder: Path, lines: list[str]) -> dict[str, str]:
    return {name: file for name, file in imported_by(folder).items() if name not in required(lines)}


def test_what_the_package_imports_is_a_dependency() -> None:
    indirectly = {"pydantic-core": "pydantic", "psycopg-binary": "psycopg"}  # part of what is required
    assert {n: f for n, f in missing(PACKAGE, PROJECT["dependencies"]).items() if n not in indirectly} == {}


def test_what_the_tests_import_is_in_the_test_extra() -> None:
    both = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    assert missing(REPOSITORY / "tests", both) == {}


def test_everything_required_is_pinned() -> None:
    pinned = {
        plain(name) for name in re.findall(r"^([\w.-]+)==", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    }
    assert required([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]) - pinned == set()
