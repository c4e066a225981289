"""The bonds section on ten thousand positions, one core: against a loop over QuantLib, and a hundred thousand.

Runs in a process of its own (`python -m bench.measurements.valuation STORE ROUNDS`), pinned, with one BLAS thread. The
section is called in-process, as a worker does: inputs read, `compute`, encoded. The loop does what the valuation does
(prices, yields, durations, convexity, DV01, key rates of distinct bonds); `compute` makes positions of it as well:
market values, P&L against the day before, totals by book and currency. A hundred thousand bonds are the ten
thousand ten times over, with coupons of their own, and given to the valuation itself without rows and encoding.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.lab import Lab
from bench.lines import Line, at_least, at_most, line
from bench.processes import REPOSITORY, BenchError, clean_environment, on_core

SCALE = 82  # 122 bond positions of CUPS and YCSO, 82 times: 10,004
BOOKS = ("CUPS", "YCSO")
ENV_DATE, POS_DATE = date(2025, 10, 30), date(2025, 10, 29)
TIMES = 10  # 100,000 are so many times the 10,000
QUANTLIB_BONDS = 400  # timed; the loop's time for all is in proportion
PATIENCE_SECONDS = 300.0
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
QUICKLY, FASTER_THAN_QUANTLIB, LINEAR = at_most(100), at_least(30), at_most(1.2)
SAME_YIELD = 1e-9


def measure(lab: Lab) -> list[Line]:
    """The lines of the valuation."""
    store = lab.demo_store(SCALE)
    lab.say("the bonds section on 10,000 positions, and a QuantLib loop")
    command = [sys.executable, "-m", "bench.measurements.valuation", str(store), str(lab.rounds)]
    done = subprocess.run(
        on_core(command, lab.cores.server),
        cwd=REPOSITORY,
        env=clean_environment(ONE_THREAD),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"valuation: {done.stderr.strip()[-400:]}")
    return _lines(json.loads(done.stdout))


def _lines(found: dict[str, Any]) -> list[Line]:
    positions, bonds = found["positions"], found["bonds"]
    what = f"bonds section, {positions:,} positions"
    valuation_ms = found["valuation_ms"]
    loop_ms = found["quantlib_ms_per_bond"] * bonds
    per_bond = [big / (TIMES * small) for big, small in zip(found["large_ms"], valuation_ms, strict=True)]
    timed = f"loop timed on {QUANTLIB_BONDS} bonds: {loop_ms:,.0f} ms for {bonds:,}; equal yields to {SAME_YIELD:g}"
    return [
        line(
            f"{what}: compute",
            found["compute_ms"],
            "ms",
            QUICKLY,
            f"{bonds:,} distinct bonds, {found['key_rates']} key rates",
        ),
        line(
            f"QuantLib loop over the valuation, {bonds:,} bonds",
            [loop_ms / ms for ms in valuation_ms],
            "×",
            FASTER_THAN_QUANTLIB,
            timed,
        ),
        line(
            f"QuantLib loop over the whole of compute, {bonds:,} bonds",
            [loop_ms / ms for ms in found["compute_ms"]],
            "×",
        ),
        line(f"{what}: reading its inputs, kept from the run before", found["read_ms"], "ms"),
        line(f"{what}: encoding", found["encode_ms"], "ms", note=f"{found['encoded_bytes']:,} bytes"),
        line(f"valuation of {TIMES * bonds:,} bonds", found["large_ms"], "ms", note="columns tiled, valuation only"),
        line(f"time per bond, {TIMES * bonds:,} over {bonds:,}", per_bond, "×", LINEAR),
    ]


# --- in the process that is timed ------------------------------------------------------------------------------------


def run(store: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of each step, round by round."""
    import numpy as np

    from position_server.analytics import curves
    from position_server.analytics.bond_values import BondTerms, value_bonds
    from position_server.params import BaseParams
    from position_server.sections.base import SectionData
    from position_server.sections.base.encoding import encode
    from position_server.sections.base.wrapper import open_workbench

    workbench = open_workbench(f"sqlite:///{store}", "XNYS", "USD")
    section = workbench.section("bonds")
    base = BaseParams(env_date=ENV_DATE, pos_date=POS_DATE, books=BOOKS, time_of_day="EOD")
    now = datetime(2025, 10, 30, 21, tzinfo=UTC)
    params = section.read_params(None)

    def read() -> Any:
        return workbench.source.read(section.needs, base, ENV_DATE, now, None)

    inputs = read()
    data = section.compute(inputs, params)
    if not isinstance(data, SectionData):
        raise BenchError("the bonds section answers no rows")
    held = inputs.positions
    _, first = np.unique(held["instrument"].astype(str), return_index=True)
    quoted, settlement = inputs.prices.price[first], inputs.market.settlement
    terms = BondTerms(held["coupon"][first], held["maturity"][first])
    curve = curves.bootstrap(inputs.market.curve.tenor_years, inputs.market.curve.rates)
    step = np.repeat(np.arange(TIMES) * 1e-5, len(first))
    large = BondTerms(np.tile(terms.coupon, TIMES) + step, np.tile(terms.maturity, TIMES))
    values = value_bonds(terms, settlement, quoted, curve)
    loop = _quantlib(terms, settlement, values, curve)
    return {
        "positions": inputs.size,
        "bonds": len(first),
        "key_rates": len(inputs.market.curve.tenors),
        "encoded_bytes": len(encode(data)),
        "read_ms": _timed(read, rounds),
        "compute_ms": _timed(lambda: section.compute(inputs, params), rounds),
        "encode_ms": _timed(lambda: encode(data), rounds),
        "valuation_ms": _timed(lambda: value_bonds(terms, settlement, quoted, curve), rounds),
        "large_ms": _timed(lambda: value_bonds(large, settlement, np.tile(quoted, TIMES), curve), rounds),
        "quantlib_ms_per_bond": loop,
    }


def _timed(work: Callable[[], object], rounds: int) -> list[float]:
    """Milliseconds of each round; one more before them does not count."""
    found = []
    for _ in range(rounds + 1):
        since = time.perf_counter()
        work()
        found.append((time.perf_counter() - since) * 1e3)
    return found[1:]


def _quantlib(terms: Any, settlement: date, values: Any, curve: Any) -> float:
    """Milliseconds per bond; raises BenchError where it finds other yields."""
    import numpy as np

    from bench.peers.quantlib_loop import Curve, Quoted, seconds_per_bond
    from position_server.analytics import curves

    alive = np.flatnonzero((values.periods.remaining > 1) & np.isfinite(values.yields))
    chosen = alive[np.linspace(0, len(alive) - 1, QUANTLIB_BONDS).astype(int)]
    bonds = [
        Quoted(float(terms.coupon[i]), terms.maturity[i].astype("datetime64[D]").item(), float(values.clean_price[i]))
        for i in chosen
    ]
    bumped = curves.bootstrap(curve.tenor_years, curves.down_bumps(curve.par_rates))
    days = np.unique(np.round(curve.node_years * 365.25).astype(int))
    dates = [settlement + timedelta(days=int(day)) for day in days]
    given = [Curve(dates, [float(v) for v in row]) for row in bumped.discount(days / 365.25)]
    found = [seconds_per_bond(bonds, settlement, given) for _ in range(3)]
    if not np.allclose(found[0][1], values.yields[chosen], atol=SAME_YIELD):
        raise BenchError("QuantLib finds other yields")
    return statistics.median(seconds for seconds, _ in found) * 1e3


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]))))
