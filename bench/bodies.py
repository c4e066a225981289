"""The three sizes of answer that servers are compared at, taken from the demo desk at scale 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import BenchError
from bench.subject import Question, Subject

BEFORE_COPIES = "2025-10-22"  # copies of positions exist on the last five days only


@dataclass(frozen=True, slots=True)
class Size:
    """A size and the question whose answer has it."""

    name: str
    file: str
    question: Question


SMALL = Size("7 KB", "7kb.json", Question(("EXO",), pos_date=BEFORE_COPIES, sections="equities,ir_delta"))
MEDIUM = Size("120 KB", "120kb.json", Question(("EXO",), sections="bonds,equities,futures,ir_delta,new_trades,spot"))
LARGE = Size("1.2 MB", "1200kb.json", Question(("CUPS", "YCSO", "EXO"), pos_date="2025-10-28"))
SIZES = (SMALL, MEDIUM, LARGE)


def save(subject: Subject, folder: Path) -> dict[str, int]:
    """Asks each question twice, so that the second answer is a hit, and keeps it as a file; bytes by size.

    Raises BenchError where a section failed: such an answer is short-lived, and measures nothing.
    """
    lengths = {}
    for size in SIZES:
        subject.ask(size.question)
        answer = subject.ask(size.question)
        _check(size, answer.json())
        (folder / size.file).write_bytes(answer.body)
        lengths[size.name] = len(answer.body)
    return lengths


def _check(size: Size, environment: Any) -> None:
    bad = [name for name, one in environment["sections"].items() if one["metadata"]["status"] != "ok"]
    if bad or not environment["cache_hit"]:
        raise BenchError(f"the answer of {size.name} is no good: failed {bad}, hit {environment['cache_hit']}")
