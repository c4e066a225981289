from __future__ import annotations

import pytest

from bench import wrk
from bench.processes import BenchError

REPORT = """Running 1s test @ http://127.0.0.1:8888/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   815.10us  318.12us   9.67ms   92.69%
    Req/Sec    19.81k     1.28k   21.25k    72.73%
  Latency Distribution
     50%  768.00us
     75%    0.86ms
     90%    1.02ms
     99%    1.93ms
  21654 requests in 1.10s, 156.55MB read
Requests/sec:  19683.84
Transfer/sec:    142.30MB
"""


def test_a_report_is_rate_and_percentiles_in_milliseconds() -> None:
    assert wrk.parse(REPORT) == wrk.Throughput(19_683.84, 21_654, 0.768, 1.93)


def test_seconds_and_minutes_are_milliseconds_too() -> None:
    slow = REPORT.replace("768.00us", "1.20s").replace("1.93ms", "1.50m")
    assert wrk.parse(slow) == wrk.Throughput(19_683.84, 21_654, 1_200, 90_000)


@pytest.mark.parametrize(
    "trouble",
    ["  Non-2xx or 3xx responses: 12", "  Socket errors: connect 0, read 3, write 0, timeout 0"],
)
def test_a_run_with_errors_is_no_result(trouble: str) -> None:
    with pytest.raises(BenchError, match=trouble.strip()[:12]):
        wrk.parse(REPORT.replace("Requests/sec", f"{trouble}\nRequests/sec"))


def test_a_report_without_a_rate_is_no_result() -> None:
    with pytest.raises(BenchError, match="unexpected"):
        wrk.parse("unable to connect")
