"""A section that fails in every way it can, in a real server: the others and later requests are unharmed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers import ServerProcess, copy_of_the_project, serving, until

QUERY = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS", "time_of_day": "SOD"}
TIMES = {"SOD": 0.05, "EOD": 0.05, "LIVE": 0.05}
NO_GRACE = {"SOD": 0, "EOD": 0, "LIVE": 0}
SETTINGS = {
    "POSITION_SERVER_STORE__DEMO": "false",
    "POSITION_SERVER_WARMUP_CONFIGS": "[]",
    "POSITION_SERVER_CACHE__TTL_SECONDS": json.dumps(TIMES),
    "POSITION_SERVER_CACHE__GRACE_SECONDS": json.dumps(NO_GRACE),
    "POSITION_SERVER_TIMEOUTS": json.dumps({"default": 10, "mischief": 3, "mischeif": 9}),
}
CALM = '''"""Calm: always answers."""

from position_server.sections.base import Needs, Section, SectionData


def compute(inputs, params):
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
    if mode == "sleep":
        time.sleep(60)
    if mode == "slow":
        Path(os.environ["MISCHIEF"] + ".began").touch()
        time.sleep(0.7)
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
WAYS = {
    "raise": "the mischief of today",
    "sleep": "did not finish within 3 s",
    "exit": "exit code 3",
    "segfault": "exit code -11",
    "sys.exit": "",
    "memory": "MemoryError",
}


class Mischief:
    """The server, and the file that says what the section does."""

    def __init__(self, server: ServerProcess, mode: Path) -> None:
        self.server = server
        self._mode = mode

    def set(self, mode: str) -> None:
        self._mode.write_text(mode)
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
    mode = folder / "mode"
    mode.write_text("good")
    with serving(folder / "data", root=root, env={**SETTINGS, "MISCHIEF": str(mode)}) as server:
        yield Mischief(server, mode)


@pytest.fixture
def mischief(shared: Mischief) -> Mischief:
    shared.set("good")
    good = until(lambda: (a := shared.ask()) and a["sections"]["mischief"]["metadata"]["status"] == "ok" and a)
    assert good["sections"]["calm"]["metadata"]["status"] == "ok"
    return shared


@pytest.mark.parametrize(("way", "message"), WAYS.items())
def test_a_failure_of_good_data_is_stale_and_harms_no_other(mischief: Mischief, way: str, message: str) -> None:
    before = mischief.ask()["sections"]["mischief"]
    mischief.set(way)
    sections = mischief.ask()["sections"]
    failed = sections["mischief"]
    assert failed["metadata"]["status"] == "stale"
    assert failed["data"] == before["data"]
    assert failed["metadata"]["last_updated"] >= before["metadata"]["last_updated"]
    assert message in failed["error_stack"]
    assert message in failed["metadata"]["stale_reason"]
    assert failed["metadata"]["stale_since"]
    assert sections["calm"]["metadata"]["status"] == "ok"

    time.sleep(0.06)
    again = mischief.ask()["sections"]["mischief"]
    assert again["metadata"]["status"] == "stale"
    assert again["data"] == before["data"]

    mischief.set("good")
    recovered = mischief.ask()["sections"]["mischief"]
    assert recovered["metadata"]["status"] == "ok"
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
    mischief.set("slow")
    runs = mischief.server.status()["sections"]["mischief"]["runs"]
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: mischief.ask(), range(50)))
    assert mischief.server.status()["sections"]["mischief"]["runs"] == runs + 1
    assert len({answer["environment_id"] for answer in answers}) == 1


def test_a_killed_worker_is_replaced(mischief: Mischief) -> None:
    pid = mischief.ask()["sections"]["mischief"]["data"]["pid"]
    os.kill(pid, signal.SIGKILL)
    mischief.set("good")
    recovered = until(lambda: (s := mischief.ask()["sections"]["mischief"])["metadata"]["status"] == "ok" and s)
    assert recovered["data"]["pid"] != pid or recovered["metadata"]["status"] == "ok"


def test_statistics_tell_failures_from_timeouts(mischief: Mischief) -> None:
    before = mischief.server.status()["sections"]["mischief"]
    mischief.set("sleep")
    mischief.ask()
    after = mischief.server.status()["sections"]["mischief"]
    assert after["timeouts"] == before["timeouts"] + 1
    assert after["failures"] == before["failures"] + 1
    assert "did not finish" in after["last_error"]


def test_sigterm_lets_a_running_request_end_and_exits_0(tmp_path: Path, shared: Mischief) -> None:
    root = shared.server.process.args[0] and Path(str(shared.server.log)).parent.parent / "project"
    mode = tmp_path / "mode"
    mode.write_text("slow")
    with (
        serving(tmp_path / "data", root=root, env={**SETTINGS, "MISCHIEF": str(mode)}) as server,
        ThreadPoolExecutor(1) as threads,
    ):
        until(lambda: server.status()["sections"])
        waiting = threads.submit(lambda: server.environment(**QUERY))
        until((tmp_path / "mode.began").exists)
        assert server.terminate() == 0
        assert waiting.result(10)["sections"]["mischief"]["metadata"]["status"] == "ok"


def test_workers_end_when_their_server_is_killed(tmp_path: Path, shared: Mischief) -> None:
    root = Path(str(shared.server.log)).parent.parent / "project"
    mode = tmp_path / "mode"
    mode.write_text("good")
    with serving(tmp_path / "data", root=root, env={**SETTINGS, "MISCHIEF": str(mode)}) as server:
        pid = server.environment(**QUERY)["sections"]["mischief"]["data"]["pid"]
        server.process.kill()
        until(lambda: not Path(f"/proc/{pid}").exists())
