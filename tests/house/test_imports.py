"""The walls of the house hold, and importing anything starts and opens nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.house.sources import REPOSITORY

KEPT_OUT = (
    "numpy",
    "scipy",
    "pandas",
    "QuantLib",
    "nanoarrow",
    "adbc_driver_manager",
    "alembic",
    "sqlalchemy",
    "openai",
    "mcp",
)
ROOMS_KEPT_OUT = (
    "position_server.analytics",
    "position_server.sections",
    "position_server.store",
    "position_server.demo",
)
IMPORT_AND_LIST = """
import sys, time
since = time.perf_counter()
for name in {names!r}:
    __import__(name)
print(f"imported in {{time.perf_counter() - since:.2f}} s", file=sys.stderr)
import json
print(json.dumps(sorted(sys.modules)))
"""
# The migrations' env.py is a script that Alembic runs, not a module.
IMPORT_EVERYTHING = """
import importlib, json, multiprocessing, os, pkgutil, sys, threading

def descriptors():
    there = (f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd"))
    return sorted(os.readlink(path) for path in there if os.path.exists(path))

def threads():
    return [t.name for t in threading.enumerate() if t is not threading.main_thread()]

import position_server
before, found = descriptors(), []
for module in pkgutil.walk_packages(position_server.__path__, "position_server."):
    if module.name.endswith((".__main__", ".migrations.env")):
        continue
    importlib.import_module(module.name)
    new = [target for target in descriptors() if target not in before]
    if threads() or multiprocessing.active_children() or new:
        found.append([module.name, threads(), new])
        break
print(json.dumps(found))
"""


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sys.stderr.write(done.stderr)  # how long it took, for who runs with -s
    return done.stdout


def imported_with(*names: str) -> list[str]:
    return json.loads(run(IMPORT_AND_LIST.format(names=names)))


def intruders(modules: list[str]) -> list[str]:
    return [m for m in modules if m.split(".")[0] in KEPT_OUT or m.startswith(ROOMS_KEPT_OUT)]


def test_the_walls_hold() -> None:
    command = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([command, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_serving_process_imports_nothing_that_computes() -> None:
    assert (
        intruders(imported_with("position_server.app", "position_server.cli.serve", "position_server.web.routes")) == []
    )


def test_what_computes_would_be_noticed() -> None:
    assert "position_server.sections" in intruders(imported_with("position_server.sections.equities"))


def test_agents_are_known_without_what_they_run_with() -> None:
    """Their parameters are checked wherever a simulation is triggered; openai and mcp take a second to import."""
    modules = imported_with("position_server.simulation.agents", "position_server.cli.simulate")
    assert [m for m in modules if m.split(".")[0] in ("openai", "mcp", "httpx2", "starlette")] == []


def test_the_command_line_imports_a_command_only_when_it_was_asked_for() -> None:
    modules = imported_with("position_server.cli")
    assert [m for m in modules if m.startswith("position_server.cli.")] == []
    assert "tornado" not in modules


def test_importing_any_module_starts_and_opens_nothing() -> None:
    assert json.loads(run(IMPORT_EVERYTHING)) == []
