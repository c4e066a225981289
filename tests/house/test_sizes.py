"""Files and functions stay small enough to be read at once."""

from __future__ import annotations

from collections.abc import Sequence

from tests.house.sources import Source, functions_of, package_sources

MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 60


def long_files(sources: Sequence[Source]) -> list[str]:
    lengths = {source.path: len(source.text.splitlines()) for source in sources}
    return [f"{path}: {length} lines" for path, length in lengths.items() if length > MOST_LINES_OF_A_FILE]


def long_functions(sources: Sequence[Source]) -> list[str]:
    return [
        f"{source.path}:{function.lineno} {function.name}: {length} lines"
        for source in sources
        for function in functions_of(source.tree)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    ]


def test_no_file_is_longer_than_300_lines() -> None:
    assert long_files(package_sources()) == []


def test_no_function_is_longer_than_60_lines() -> None:
    assert long_functions(package_sources()) == []


def test_a_long_file_and_a_long_function_are_found() -> None:
    body = "\n".join(f"    x{n} = {n}" for n in range(301))
    source = Source.of(f"def f():\n{body}\n")
    assert long_files([source]) == ["example.py: 302 lines"]
    assert long_functions([source]) == ["example.py:1 f: 302 lines"]
