"""Names and first lines: a reader who opens any file knows at once what it is."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from pathlib import PurePosixPath

import position_server
from position_server import errors
from tests.house.sources import PACKAGE, REPOSITORY, package_sources

VAGUE = {"utils", "util", "helpers", "common", "misc", "manager"}


def rooms() -> set[str]:
    """The modules and folders in the root of the package."""
    files = {file.stem for file in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    return files | {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}


def rooms_of_the_picture() -> set[str]:
    lines = (position_server.__doc__ or "").splitlines()
    floors = [match[1] for line in lines if (match := re.match(r"\s+\d  (.+?)(?:   |$)", line))]
    return {name for floor in floors for name in re.findall(r"[a-z_]+", floor)} - {"on"}


def all_errors(error: type[errors.PositionServerError] = errors.PositionServerError) -> list[type]:
    return [error] + [below for child in error.__subclasses__() for below in all_errors(child)]


def test_every_file_begins_with_what_it_is() -> None:
    silent = [source.path for source in package_sources() if not ast.get_docstring(source.tree)]
    assert [path for path in silent if not path.endswith("/__main__.py")] == []


def test_the_picture_of_the_house_shows_every_room_and_no_other() -> None:
    assert rooms_of_the_picture() == rooms()


def test_the_contract_of_floors_names_every_room() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    floors = next(c for c in project["tool"]["importlinter"]["contracts"] if c["id"] == "floors")
    assert {room for floor in floors["layers"] for room in re.split(r"\s*[|:]\s*", floor)} == rooms()


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    same = {s.path for s in package_sources() if PurePosixPath(s.path).stem in sys.stdlib_module_names}
    assert same == set()


def test_no_name_says_nothing() -> None:
    assert [s.path for s in package_sources() if VAGUE & set(PurePosixPath(s.path).with_suffix("").parts)] == []


def test_error_codes_are_unique() -> None:
    codes = Counter(vars(error)["code"] for error in all_errors() if "code" in vars(error))
    assert [code for code, count in codes.items() if count > 1] == []


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = {tuple(re.findall(r"[A-Za-z_]+", line)) for line in (errors.__doc__ or "").splitlines()}
    for error in all_errors():
        words = next((line for line in drawn if line and line[0] == error.__name__), ())
        assert words, f"{error.__name__} is not drawn"
        assert "code" not in vars(error) or vars(error)["code"] in words, f"{error.__name__}: another code is drawn"


def test_errors_are_defined_in_one_place() -> None:
    for source in package_sources():
        if source.path == "errors.py":
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef) and any(_is_ours(base) for base in node.bases):
                raise AssertionError(f"{source.path}: {node.name} belongs into errors.py")


def _is_ours(base: ast.expr) -> bool:
    name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
    return name in {error.__name__ for error in all_errors()}
