"""Records to the columns of a table, every problem with every line named.

Pure: knows the store only through the set of instruments it is given. Works column by column and converts each
distinct text once, so that half a million lines take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime

from position_server.errors import LoadError
from position_server.store.load.csv_source import Problem, Records
from position_server.store.load.fields import Field, Value, numbers_at_once
from position_server.store.load.kinds import INSTRUMENTS, NEEDED_BY_INSTRUMENT_KIND, Kind

Cells = list[Value | None]
NOTHING_GIVEN = "missing"


@dataclass(frozen=True, slots=True)
class Batch:
    """Valid rows, as one list per column of the table."""

    columns: dict[str, Cells]
    rows: int


def validated(kind: Kind, records: Records, on_date: date | None, known_instruments: Set[str]) -> Batch:
    """The rows of `records` as columns of `kind`'s table. Raises LoadError naming everything wrong with every line."""
    _check_header(kind, records, on_date)
    problems = list(records.problems)
    columns = {field.target: _converted(field, records, problems) for field in kind.fields}
    _fill_dates(kind, columns, on_date)
    _check_required(kind, records, columns, problems)
    _check_duplicates(kind, records, columns, problems)
    if kind is INSTRUMENTS:
        _check_instruments(records, columns, problems)
    if kind.refers_to_instruments:
        _check_known(records, columns, known_instruments, problems)
    if problems:
        raise LoadError(sorted(problems))
    return Batch(columns, len(records.lines))


def _check_header(kind: Kind, records: Records, on_date: date | None) -> None:
    """Raise LoadError for columns that are unknown, repeated or missing: the lines below cannot be read then."""
    names = [field.name for field in kind.fields]
    given = list(records.header)
    can_be_absent = {kind.dated_by} if on_date or kind.date_from else set()
    complaints = [f"unknown column {name!r} (known: {', '.join(names)})" for name in given if name not in names]
    complaints += [f"column {name!r} is named twice" for name in sorted(set(given)) if given.count(name) > 1]
    complaints += [
        f"column {field.name!r} is missing" + (" (or give a --date)" if field.name == kind.dated_by else "")
        for field in kind.fields
        if field.required and field.name not in given and field.name not in can_be_absent
    ]
    if on_date and kind.dated_by is None:
        complaints.append("these rows have no date: leave --date out")
    if complaints:
        raise LoadError([(records.header_line, complaint) for complaint in complaints])


def _converted(field: Field, records: Records, problems: list[Problem]) -> Cells:
    """The values of one column; None for an empty cell, and for a bad one, which goes to `problems`."""
    if field.name not in records.header:
        return [field.default] * len(records.cells)
    index = records.header.index(field.name)
    cells = [row[index] for row in records.cells]
    at_once = numbers_at_once(field.convert, cells) if field.default is None else None
    if at_once is not None:
        return [*at_once]
    values: dict[str, Value | None] = {}
    complaints: dict[str, str] = {}
    for cell in set(cells):
        stripped = cell.strip()
        try:
            values[cell] = field.convert(stripped) if stripped else field.default
        except ValueError as error:
            values[cell] = None
            complaints[cell] = f"{field.name}: {error}: {stripped!r}"
    if complaints:
        found = zip(records.lines, cells, strict=True)
        problems.extend((line, complaints[cell]) for line, cell in found if cell in complaints)
    return [values[cell] for cell in cells]


def _fill_dates(kind: Kind, columns: dict[str, Cells], on_date: date | None) -> None:
    """Give the rows without a date the one of `--date`, else that of their timestamp."""
    if kind.dated_by is None:
        return
    dates = columns[kind.dated_by]
    if on_date is not None:
        columns[kind.dated_by] = [on_date if day is None else day for day in dates]
    elif kind.date_from is not None:
        moments = columns[kind.date_from]
        columns[kind.dated_by] = [
            moment.date() if day is None and isinstance(moment, datetime) else day
            for day, moment in zip(dates, moments, strict=True)
        ]


def _check_required(kind: Kind, records: Records, columns: dict[str, Cells], problems: list[Problem]) -> None:
    for field in kind.fields:
        has_other_source = kind.date_from is not None and field.name == kind.dated_by
        if field.required and not has_other_source:
            _check_present(field.name, range(len(records.lines)), records, columns[field.target], problems)


def _check_present(name: str, rows: Sequence[int], records: Records, values: Cells, problems: list[Problem]) -> None:
    """Name the lines of `rows` that have no value and no problem with it yet."""
    absent = [row for row in rows if values[row] is None]
    if absent:
        already = {line for line, message in problems if message.startswith(f"{name}: ")}
        lines = (records.lines[row] for row in absent)
        problems.extend((line, f"{name}: {NOTHING_GIVEN}") for line in lines if line not in already)


def _check_duplicates(kind: Kind, records: Records, columns: dict[str, Cells], problems: list[Problem]) -> None:
    """Name the lines that repeat the key of an earlier one; quotes of one day may differ in time."""
    names = (*kind.key, kind.newest_by) if kind.newest_by else kind.key
    first_line: dict[tuple[Value | None, ...], int] = {}
    for line, key in zip(records.lines, zip(*(columns[name] for name in names), strict=True), strict=True):
        first = first_line.setdefault(key, line)
        if first != line and None not in key:
            problems.append((line, f"the same {', '.join(names)} as on line {first}"))


def _check_instruments(records: Records, columns: dict[str, Cells], problems: list[Problem]) -> None:
    """Name the instruments that lack what their kind needs."""
    targets = {field.name: field.target for field in INSTRUMENTS.fields}
    for kind, names in NEEDED_BY_INSTRUMENT_KIND.items():
        rows = [row for row, found in enumerate(columns["kind"]) if found == kind]
        for name in names:
            _check_present(name, rows, records, columns[targets[name]], problems)


def _check_known(
    records: Records, columns: dict[str, Cells], known_instruments: Set[str], problems: list[Problem]
) -> None:
    """Name the lines with an instrument that is not in the store."""
    named = columns["instrument"]
    unknown = set(named) - known_instruments - {None}
    if unknown:
        found = zip(records.lines, named, strict=True)
        problems.extend((line, f"instrument: not known: {name!r}") for line, name in found if name in unknown)
