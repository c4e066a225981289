"""CSV text to records with line numbers: UTF-8 with or without a byte order mark, blank lines skipped.

Knows nothing of what the columns mean. A byte that is not UTF-8 becomes a lone surrogate, which no field accepts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BYTE_ORDER_MARK = "\ufeff"
Problem = tuple[int, str]  # line number, what is wrong


@dataclass(frozen=True, slots=True)
class Records:
    """The header, and the records with the line each begins on; those that cannot be cut into cells are problems."""

    header_line: int
    header: tuple[str, ...]
    lines: list[int]
    cells: list[list[str]]
    problems: list[Problem]


@contextmanager
def lines_of(source: Path | str | Iterable[str]) -> Iterator[Iterable[str]]:
    """The lines of a file (a path, as Path or text), or the given lines as they are. Raises OSError."""
    if isinstance(source, Path | str):
        with Path(source).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
    else:
        yield source


def read_records(lines: Iterable[str]) -> Records | None:
    """The records of a CSV; None where there is not even a header."""
    problems: list[Problem] = []
    records = _numbered(lines, problems)
    header_line, header = next(records, (0, []))
    if not header:
        return None
    header = [name.strip() for name in header]
    numbers: list[int] = []
    cells: list[list[str]] = []
    for line, record in records:
        if len(record) == len(header):
            numbers.append(line)
            cells.append(record)
        else:
            problems.append((line, f"{len(record)} values, but the header names {len(header)} columns"))
    return Records(header_line, tuple(header), numbers, cells, problems)


def _numbered(lines: Iterable[str], problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with its line; a record that is no CSV goes to `problems`."""
    reader = csv.reader(_without_mark(lines), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append((line, f"not CSV: {error}"))
            continue
        if any(cell.strip() for cell in record):
            yield line, record


def _without_mark(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield line if number else line.removeprefix(BYTE_ORDER_MARK)
