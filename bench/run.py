"""The benchmark's command: `python -m bench.run [--quick] [--only hits,busy]`. Measures, prints the table, writes it.

Everything it starts listens on loopback and is ended by its id; what it writes is in a temporary folder, but for
var/bench.json and docs/images/bench.png.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from bench import wrk
from bench.lab import Cores, Lab
from bench.lines import Line, not_measured, table
from bench.measurements import busy, day, hits, keys, live, outage, price_age, stampede, start, valuation, warmth
from bench.processes import REPOSITORY, BenchError

Measurement = Callable[[Lab], list[Line]]
ROUNDS, QUICK_ROUNDS = 5, 2
BUSY_LOAD = 0.5
MEASUREMENTS: Mapping[str, Measurement] = MappingProxyType(
    {
        "start": start.measure,
        "stampede": stampede.measure,
        "first-ask": warmth.measure,
        "valuation": valuation.measure,
        "hits": hits.measure,
        "busy": busy.measure,
        "keys": keys.measure_keys,
        "memory": keys.measure_memory,
        "live": live.measure,
        "outage": outage.measure,
        "day": day.measure,
        "price-age": price_age.measure,
    }
)
QUICK = ("start", "stampede", "first-ask", "hits")  # about a minute


def main() -> int:
    """0 when everything chosen was measured, whether goals were met or not; 1 when something could not be."""
    args = _arguments()
    if not wrk.installed():
        print(wrk.HOW_TO_GET_IT, file=sys.stderr)
        return 2
    names = args.only or (QUICK if args.quick else tuple(MEASUREMENTS))
    began, load = time.perf_counter(), os.getloadavg()[0]
    if load > BUSY_LOAD:
        _say(f"this machine is busy (load {load:.1f}): only ratios mean something, and spreads will be wide")
    with tempfile.TemporaryDirectory(prefix="position-server-bench-") as folder:
        rounds = args.rounds or (QUICK_ROUNDS if args.quick else ROUNDS)
        lab = Lab(Path(folder), Cores.of_this_machine(), rounds, args.quick, _say)
        lines, failed = measured(lab, names)
    print(f"\n{table(lines)}\n\n{summary(lines)} {machine()}, {time.perf_counter() - began:.0f} s.")
    _write(lines, args.json)
    if args.chart and names == tuple(MEASUREMENTS):
        _draw(lines, args.chart)
    return 1 if failed else 0


def measured(lab: Lab, names: Sequence[str]) -> tuple[list[Line], list[str]]:
    """The lines of the measurements named, and which of them failed; a failure is a line that says why."""
    lines: list[Line] = []
    failed = []
    for name in names:
        began = time.perf_counter()
        try:
            lines += MEASUREMENTS[name](lab)
        except (BenchError, OSError, ValueError) as error:
            failed.append(name)
            lines.append(not_measured(name, "", f"could not be measured: {error}"))
        lab.say(f"{name}: {time.perf_counter() - began:.1f} s")
    return lines, failed


def summary(lines: Sequence[Line]) -> str:
    """How many goals were met."""
    goals = [one for one in lines if one.met is not None]
    return f"{sum(bool(one.met) for one in goals)} of {len(goals)} goals met."


def _write(lines: Sequence[Line], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([one.to_dict() for one in lines], indent=1, ensure_ascii=False) + "\n")


def _draw(lines: Sequence[Line], file: Path) -> None:
    try:
        from bench import chart
    except ImportError:
        _say("no chart: matplotlib is not installed")
        return
    chart.draw(lines, file)


def machine() -> str:
    """What it was measured on."""
    model = next((ln.split(":")[1] for ln in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in ln), "")
    return f"{os.cpu_count()} cores,{model or ' unknown processor'}, Python {sys.version.split()[0]}"


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(MEASUREMENTS)}")
    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures this server against its peers and its goals.")
    parser.add_argument("--quick", action="store_true", help="about a minute: two rounds of the main lines")
    parser.add_argument("--only", type=_names, help=f"some of {','.join(MEASUREMENTS)}")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "var" / "bench.json", help="where the lines go")
    parser.add_argument("--chart", type=Path, help="where the chart of a whole run goes; none without it")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
