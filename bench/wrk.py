"""Closed-loop throughput by wrk: each connection asks again as soon as it was answered."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from bench.processes import BenchError, found, on_core

CONNECTIONS = 16
HOW_TO_GET_IT = "make bench needs wrk: apt-get install wrk (Debian, Ubuntu), brew install wrk (macOS)"
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Throughput:
    """What wrk said of one run."""

    per_second: float
    requests: int
    p50_ms: float
    p99_ms: float


def installed() -> bool:
    """Whether there is a wrk."""
    return found("wrk") is not None


def run(
    url: str, *, seconds: int = 1, core: int, headers: Mapping[str, str] | None = None, connections: int = CONNECTIONS
) -> Throughput:
    """One run. Raises BenchError where an answer was an error."""
    named = [word for name, value in (headers or {}).items() for word in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s", *named, url]
    done = subprocess.run(on_core(command, core), capture_output=True, text=True, timeout=seconds + 30, check=True)
    return parse(done.stdout)


def parse(text: str) -> Throughput:
    """wrk's report. Raises BenchError where it tells of errors, or makes no sense."""
    bad = re.search(r"(Non-2xx or 3xx responses: .*|Socket errors: .*)", text)
    if bad:
        raise BenchError(f"wrk: {bad[1]}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    count = re.search(r"(\d+) requests in", text)
    if rate is None or count is None:
        raise BenchError(f"wrk said something unexpected: {text[:200]}")
    return Throughput(float(rate[1]), int(count[1]), _latency(text, 50), _latency(text, 99))


def _latency(text: str, percent: int) -> float:
    at = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    if at is None:
        raise BenchError(f"wrk reports no {percent}th percentile")
    return float(at[1]) * UNITS_MS[at[2]]
