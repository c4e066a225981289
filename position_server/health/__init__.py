"""Health: whether what the server works with is there, for `GET /health`.

::

    report    asks everything at once, bounded in time, and shares what it found
    checks    the questions: each blocks, and raises what is wrong

It mends nothing and decides nothing: who sends traffic here asks `/health/ready`.
"""

from position_server.health.checks import checks_of
from position_server.health.report import Check, Checks, Health

__all__ = ["Check", "Checks", "Health", "checks_of"]
