"""The results of a run as the part of docs/performance.md between its two marks: `python -m bench.report [REMARK]`.

Reads var/bench.json; what surrounds the marks is written by people.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence

from bench.lines import Line, number
from bench.processes import REPOSITORY
from bench.run import machine

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
HIT = re.compile(r"GET hit, (.+): (.+)")
WAIT = re.compile(r"open loop, .*, (p50|p99): (.+)")


def report(lines: Sequence[Line], remark: str) -> str:
    """Markdown: hits and waits by server, then goals, then what has none."""
    goals = [one for one in lines if one.met is not None]
    rest = [one for one in lines if one.met is None and not HIT.match(one.name) and not WAIT.match(one.name)]
    parts = [
        remark,
        "Hits a second:",
        by_server(lines, HIT),
        "Waits at 120 KB and a fixed rate, open loop:",
        by_server(lines, WAIT),
        f"Goals, {sum(bool(one.met) for one in goals)} of {len(goals)} met:",
        _table(["what", "goal", "measured", "spread", ""], [_goal_row(one) for one in goals]),
        "Without a goal:",
        _table(["what", "measured", "spread"], [[one.name, _value(one), _spread(one)] for one in rest]),
    ]
    return "\n\n".join(part for part in parts if part)


def by_server(lines: Sequence[Line], pattern: re.Pattern[str]) -> str:
    """A row for each server, a column for each size or percentile."""
    found = {(match[2], match[1]): one for one in lines if (match := pattern.fullmatch(one.name))}
    servers, columns = (list(dict.fromkeys(key[place] for key in found)) for place in (0, 1))
    return _table(["server", *columns], [[s, *(_value(found[s, c]) for c in columns)] for s in servers])


def replaced(page: str, text: str) -> str:
    """The page with `text` between its marks. Raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def _goal_row(one: Line) -> list[str]:
    return [one.name, one.goal or "", _value(one), _spread(one), "met" if one.met else "**missed**"]


def _value(one: Line) -> str:
    return one.note if one.value is None else f"{number(one.value)} {one.unit}".strip()


def _spread(one: Line) -> str:
    return f"{number(one.spread[0])}–{number(one.spread[1])}" if one.spread else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows]).replace(
        "|  |", "| |"
    )


def main() -> None:
    """Writes the page."""
    lines = [Line(**one) for one in json.loads((REPOSITORY / "var" / "bench.json").read_text())]
    page = REPOSITORY / "docs" / "performance.md"
    remark = " ".join([f"{machine()}.", *sys.argv[1:]])
    page.write_text(replaced(page.read_text(), report(lines, remark)))


if __name__ == "__main__":
    main()
