"""The chart of a run: hits a second of every server at three sizes, and what clients wait at a fixed rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.lines import Line, number

COLOURS = ("#0b6e4f", "#b23a48", "#c98b2c", "#4a6fa5", "#7a7a7a")
HIT = re.compile(r"GET hit, (.+): (.+)")
WAIT = re.compile(r"open loop, .*, (p50|p99): (.+)")


def draw(lines: Sequence[Line], file: Path) -> None:
    """Writes the chart as PNG; a run without hits has none."""
    hits = _named(HIT, lines)
    if not hits:
        return
    mpl.rcParams["font.size"] = 9
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _rates(left, hits)
    _waits(right, _named(WAIT, lines))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)


def _named(pattern: re.Pattern[str], lines: Sequence[Line]) -> list[tuple[str, str, Line]]:
    """The lines whose names match, with the two groups of the pattern."""
    return [(match[1], match[2], one) for one in lines if (match := pattern.fullmatch(one.name))]


def _rates(axes: Any, hits: Sequence[tuple[str, str, Line]]) -> None:
    sizes = list(dict.fromkeys(size for size, _, _ in hits))
    names = list(dict.fromkeys(name for _, name, _ in hits))
    values = {(size, name): one for size, name, one in hits}
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        found = [values[size, name] for size in sizes]
        at = [index + (place - (len(names) - 1) / 2) * width for index in range(len(sizes))]
        bars = axes.bar(at, [one.value for one in found], width, label=name, color=COLOURS[place % len(COLOURS)])
        axes.bar_label(bars, [number(one.value or 0) for one in found], fontsize=6, rotation=90, padding=3)
    axes.set_yscale("log")
    axes.set_ylim(top=axes.get_ylim()[1] * 3)
    axes.set_xticks(range(len(sizes)), sizes)
    axes.set_ylabel("cached GETs a second (16 connections, one core)")
    axes.legend(fontsize=7, loc="upper right")
    _clear(axes)


def _waits(axes: Any, waits: Sequence[tuple[str, str, Line]]) -> None:
    names = list(dict.fromkeys(name for _, name, _ in waits))[::-1]
    for shift, percent, colour in ((0.2, "p50", "#9bbfb1"), (-0.2, "p99", "#0b6e4f")):
        values = {name: one.value for which, name, one in waits if which == percent}
        at = [index + shift for index in range(len(names))]
        bars = axes.barh(at, [values[name] for name in names], 0.38, label=percent, color=colour)
        axes.bar_label(bars, fmt="%.2f ms", fontsize=7, padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.margins(x=0.25)
    axes.set_xlabel("wait in ms at a fixed rate, 120 KB")
    axes.legend(fontsize=7, loc="lower right")
    _clear(axes)


def _clear(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
