"""A section that fails in every way it can, in a real server: the others and later requests are unharmed."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from tests.servers import NO_WARM_UPS, TWO_WORKERS, ServerProcess, copy_of_the_project, serving, until

QUERY = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS", "time_of_day": "SOD"}
TIMES = {"SOD": 0.05, "EOD": 0.05, "LIVE": 0.05}
NO_GRACE = {"SOD": 0, "EOD": 0, "LIVE": 0}
SETTINGS = {
    **NO_WARM_UPS,
    **TWO_WORKERS,
    "POSITION_SERVER_STORE__DEMO": "false",
    "POSITION_SERVER_CACHE__TTL_SECONDS": json.dumps(TIMES),
    "POSITION_SERVER_CACHE__GRACE_SECONDS": json.dumps(NO_GRACE),
    "POSITION_SERVER_TIMEOUTS": json.dumps({"default": 60, "dawdle": 3, "mischeif": 9}),
}
PATIENT = {"POSITION_SERVER_SERVER__SHUTDOWN_GRACE_SECONDS": "60"}
CALM = '''"""Calm: always answers; where mischief is to be "slow", once it may."""

import os
import time
from pathlib import Path

from position_server.sections.base import Needs, Section, SectionData


def compute(inputs, params):
    mode = Path(os.environ["MISCHIEF"])
    if mode.read_text() == "slow":
        Path(f"{mode}.began").touch()
        while not Path(f"{mode}.end").exists():
            time.sleep(0.01)
    return {"calm": True}


SECTION = Section("calm", needs=Needs(previous=False), compute=compute)
'''
MISCHIEF = '''"""Mischief: does what the file named by MISCHIEF says."""

import os
import signal
import time
from pathlib import Path

from position_server.sections.base import Needs, Section, SectionData


def compute(inputs, params):
    mode = Path(os.environ["MISCHIEF"]).read_text()
    if mode == "raise":
        raise ValueError("the mischief of today")
    if mode == "exit":
        os._exit(3)
    if mode == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "sys.exit":
        raise SystemExit(4)
    if mode == "memory":
        bytearray(64 * 2**30)
    return SectionData(notes={"pid": os.getpid()})


SECTION = Section("mischief", needs=Needs(previous=False), compute=compute)
'''
# A section of its own: on a slow machine its short timeout may also end what goes well.
DAWDLE = '''"""Dawdle: where mischief is to "sleep", it does not end."""

import os
import time
from pathlib import Path

from position_server.sections.base import Needs, Section, SectionData


def compute(inputs, params):
    if Path(os.environ["MISCHIEF"]).read_text() == "sleep":
        time.sleep(600)
    return SectionData(notes={"pid": os.getpid()})


SECTION = Section("dawdle", needs=Needs(previous=False), compute=compute)
'''
WAYS = [
    ("mischief", "raise", "the mischief of today"),
    ("dawdle", "sleep", "did not finish within 3 s"),
    ("mischief", "exit", "exit code 3"),
    ("mischief", "segfault", "exit code -11"),
    ("mischief", "sys.exit", ""),
    ("mischief", "memory", "MemoryError"),
]


class Mischief:
    """The server, and the file that says what the section does."""

    def __init__(self, server: ServerProcess, mode: Path) -> None:
        self.server = server
        self.mode = mode

    def set(self, mode: str) -> None:
        self.mode.write_text(mode)
        time.sleep(0.06)  # past the ttl

    def ask(self, **more: str) -> dict:
        return self.server.environment(**QUERY, **more)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mischief]:
    folder = tmp_path_factory.mktemp("mischief")
    root = copy_of_the_project(folder / "project")
    for file in (root / "position_server/sections").glob("*.py"):
        if file.name != "__init__.py":
            file.unlink()
    (root / "position_server/sections/calm.py").write_text(CALM)
    (root / "position_server/sections/mischief.py").write_text(MISCHIEF)
    (root / "position_server/sections/dawdle.py").write_text(DAWDLE)
    mode = folder / "mode"
    mode.write_text("good")
    with serving(folder / "data", root=root, env={**SETTINGS, "MISCHIEF": str(mode)}) as server:
        yield Mischief(server, mode)


@pytest.fixture
def mischief(shared: Mischief) -> Mischief:
    shared.set("good")
    until(lambda: {section["metadata"]["status"] for section in shared.ask()["sections"].values()} == {"ok"})
    return shared


@pytest.mark.parametrize(("section", "way", "message"), WAYS)
def test_a_failure_of_good_data_is_stale_and_harms_no_other(
    mischief: Mischief, section: str, way: str, message: str
) -> None:
    before = until(lambda: (s := mischief.ask()["sections"][section])["metadata"]["status"] == "ok" and s)
    mischief.set(way)
    sections = mischief.ask()["sections"]
    failed = sections[section]
    assert failed["metadata"]["status"] == "stale"
    assert failed["data"] == before["data"]
    assert failed["metadata"]["last_updated"] >= before["metadata"]["last_updated"]
    assert message in failed["error_stack"]
    assert message in failed["metadata"]["stale_reason"]
    assert failed["metadata"]["stale_since"]
    assert sections["calm"]["metadata"]["status"] == "ok"

    time.sleep(0.06)
    again = mischief.ask()["sections"][section]
    assert again["metadata"]["status"] == "stale"
    assert again["data"] == before["data"]

    mischief.set("good")
    recovered = until(lambda: (s := mischief.ask()["sections"][section])["metadata"]["status"] == "ok" and s)
    assert recovered["error_stack"] == ""
    assert recovered["metadata"]["version"] > failed["metadata"]["version"]


def test_a_timeout_of_no_section_is_named_in_the_log(mischief: Mischief) -> None:
    (warning,) = [w for w in mischief.server.log_lines() if w["message"] == "TIMEOUTS names what is no section"]
    assert warning["names"] == ["mischeif", "new_trades"]  # the latter from config.py


def test_fresh_data_are_refused_rather_than_served_old(mischief: Mischief) -> None:
    mischief.set("raise")
    for option in ({"require": "fresh"}, {"max_age": "0"}):
        response = mischief.server.get("/position-environment", **QUERY, **option)
        assert response.status_code == 503
        assert "Retry-After" in response.headers
        assert response.json()["error_code"] == "not_fresh"
        assert "the mischief of today" in response.json()["message"]
    narrowed = mischief.ask(require="fresh", sections="calm")
    assert narrowed["sections"]["calm"]["metadata"]["status"] == "ok"


def test_a_what_if_that_fails_is_an_error_and_leaves_the_cache_alone(mischief: Mischief) -> None:
    before = mischief.ask()["sections"]["mischief"]["data"]
    mischief.set("raise")
    posted = mischief.server.client.post("/position-environment", json={**QUERY, "books": ["CUPS"]}).json()
    assert posted["sections"]["mischief"]["metadata"]["status"] == "error"
    assert posted["sections"]["mischief"]["data"] is None
    assert posted["sections"]["calm"]["metadata"]["status"] == "ok"
    assert mischief.ask()["sections"]["mischief"]["data"] == before


def test_fifty_concurrent_misses_compute_once(mischief: Mischief) -> None:
    server, mode = mischief.server, mischief.mode
    runs = server.status()["sections"]["calm"]["runs"]
    mischief.set("slow")
    request = f"GET /position-environment?{httpx.QueryParams(QUERY)} HTTP/1.1\r\nHost: desk\r\n\r\n"
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60)) for _ in range(50)
        ]
        for connection in connections:
            connection.sendall(request.encode())
        until(mode.with_name(f"{mode.name}.began").exists)
        for _ in range(5):
            server.status()  # the server reads in turns: these come after the fifty
        mode.with_name(f"{mode.name}.end").touch()
        answers = [json.loads(body_on(connection)) for connection in connections]
    assert server.status()["sections"]["calm"]["runs"] == runs + 1
    assert len({answer["environment_id"] for answer in answers}) == 1


def body_on(connection: socket.socket) -> bytes:
    response = HTTPResponse(connection)
    response.begin()
    return response.read()


def test_a_killed_worker_is_replaced(mischief: Mischief) -> None:
    pid = mischief.ask()["sections"]["mischief"]["data"]["pid"]
    os.kill(pid, signal.SIGKILL)
    mischief.set("good")
    recovered = until(lambda: (s := mischief.ask()["sections"]["mischief"])["metadata"]["status"] == "ok" and s)
    assert recovered["data"]["pid"] != pid or recovered["metadata"]["status"] == "ok"


def test_statistics_tell_failures_from_timeouts(mischief: Mischief) -> None:
    before = mischief.server.status()["sections"]["dawdle"]
    mischief.set("sleep")
    mischief.ask()
    after = mischief.server.status()["sections"]["dawdle"]
    assert after["timeouts"] == before["timeouts"] + 1
    assert after["failures"] == before["failures"] + 1
    assert "did not finish" in after["last_error"]


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionError:
        return True
    return False


def test_sigterm_lets_a_running_request_end_and_exits_0(tmp_path: Path, shared: Mischief) -> None:
    root = shared.server.process.args[0] and Path(str(shared.server.log)).parent.parent / "project"
    mode = tmp_path / "mode"
    mode.write_text("slow")
    with (
        serving(tmp_path / "data", root=root, env={**SETTINGS, **PATIENT, "MISCHIEF": str(mode)}) as server,
        ThreadPoolExecutor(1) as threads,
    ):
        until(lambda: server.status()["sections"])
        waiting = threads.submit(lambda: server.environment(**QUERY))
        until((tmp_path / "mode.began").exists)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: is_refused(server.port))
        (tmp_path / "mode.end").touch()
        assert server.process.wait(60) == 0
        assert waiting.result(60)["sections"]["mischief"]["metadata"]["status"] == "ok"


def test_workers_end_when_their_server_is_killed(tmp_path: Path, shared: Mischief) -> None:
    root = Path(str(shared.server.log)).parent.parent / "project"
    mode = tmp_path / "mode"
    mode.write_text("good")
    with serving(tmp_path / "data", root=root, env={**SETTINGS, "MISCHIEF": str(mode)}) as server:
        pid = server.environment(**QUERY)["sections"]["mischief"]["data"]["pid"]
        server.process.kill()
        until(lambda: not Path(f"/proc/{pid}/exe").exists())
