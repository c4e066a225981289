"""The package's source files, parsed once: what the house tests look at. Reads; imports nothing of the package."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PACKAGE = REPOSITORY / "position_server"


@dataclass(frozen=True)
class Source:
    """One file: its path inside the package, its text, its tree."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def of(cls, text: str, path: str = "example.py") -> Source:
        """A source made of text, to try a check on."""
        return cls(path, text, ast.parse(text))


@cache
def package_sources() -> tuple[Source, ...]:
    """Every Python file of the package, by path."""
    files = sorted(PACKAGE.rglob("*.py"))
    return tuple(Source.of(file.read_text(), file.relative_to(PACKAGE).as_posix()) for file in files)


def functions_of(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function, method and inner function."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
