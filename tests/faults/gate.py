"""A section that does what a file says: it answers, waits until it may, or fails. For servers that start in trouble."""

from __future__ import annotations

from pathlib import Path

GATE = '''"""Gate: does what the file named by GATE says."""

import os
import time
from pathlib import Path

from position_server.sections.base import Needs, Section, SectionData

POLL_SECONDS = 0.02


def compute(inputs, params):
    mode = Path(os.environ["GATE"])
    while mode.read_text() == "shut":
        time.sleep(POLL_SECONDS)
    if mode.read_text() == "broken":
        raise ValueError("the gate is broken")
    return SectionData(notes={"gate": mode.read_text()})


SECTION = Section("gate", needs=Needs(previous=False), compute=compute)
'''


class Gate:
    """The file, and how a server learns of it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "gate"
        self.env = {"GATE": str(self._file)}
        self.set("open")

    def set(self, mode: str) -> None:
        """`open`, `shut` or `broken`, from now on; put there whole."""
        beside = self._file.with_suffix(".new")
        beside.write_text(mode)
        beside.replace(self._file)


def add_gate(root: Path, *, alone: bool = False) -> None:
    """Adds the section to a copy of the project; `alone`: in the place of all others."""
    sections = root / "position_server/sections"
    for file in sections.glob("*.py") if alone else ():
        if file.name != "__init__.py":
            file.unlink()
    (sections / "gate.py").write_text(GATE)
