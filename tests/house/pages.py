"""The pages of the docs as data: headings, tables, fenced examples, links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.house.sources import REPOSITORY

DOCS = REPOSITORY / "docs"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)", re.DOTALL)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """A fenced block: where it is, its language, its text."""

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(REPOSITORY).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return FENCE.sub("", self.text)

    @property
    def headings(self) -> list[str]:
        return [match[2] for match in HEADING.finditer(self.prose)]

    @property
    def anchors(self) -> set[str]:
        return {anchor_of(heading) for heading in self.headings}

    @property
    def links(self) -> list[str]:
        return LINK.findall(self.prose)

    def examples(self, *languages: str) -> list[Example]:
        return [Example(self.name, *found) for found in FENCE.findall(self.text) if found[0] in languages]

    def part(self, heading: str) -> str:
        """What stands below a heading, down to the next one of its level or above."""
        found = re.search(rf"^(#+) {re.escape(heading)}$", self.prose, re.MULTILINE)
        assert found, f"{self.name} has no heading {heading!r}"
        rest = self.prose[found.end() :]
        end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
        return rest[: end.start()] if end else rest

    def rows(self, heading: str) -> dict[str, list[str]]:
        """The rows of all tables below a heading: the names in code of the first cell to the other cells."""
        cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in _table_lines(self.part(heading))]
        return {name: rest for first, *rest in cells for name in re.findall(r"`([^`]+)`", first)}


def page(name: str) -> Page:
    """A page of docs/ by its name."""
    return Page(DOCS / name)


def all_pages() -> list[Page]:
    """Every page, the README and the changelog among them."""
    return [Page(REPOSITORY / "README.md"), Page(REPOSITORY / "CHANGELOG.md"), *map(Page, sorted(DOCS.rglob("*.md")))]


def all_examples(*languages: str) -> list[Example]:
    """Every fenced block of these languages."""
    return [example for one in all_pages() for example in one.examples(*languages)]


def anchor_of(heading: str) -> str:
    """The anchor that GitHub and mkdocs make of a heading."""
    plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower())
    return re.sub(r"\s+", "-", plain.strip())


def _table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
