"""A server with API keys: what it answers to whom, on every route, and what it never shows."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes
from typing import Any

import httpx
import pytest

from position_server.access import Role, new_key
from position_server.access.records import add_key, revoke_key
from position_server.store.engine import open_store
from tests.servers import REPOSITORY, ServerProcess, serving, until

SOD = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS", "time_of_day": "SOD"}
BODY = {**SOD, "books": ["CUPS"]}
BAD_VALUE = {**BODY, "section_params": {"bonds": {"curve_shift_bp": "wide"}}}
QUIET = {
    "POSITION_SERVER_CACHE__TTL_SECONDS": json.dumps({"SOD": 3600, "EOD": 3600, "LIVE": 3600}),
    "POSITION_SERVER_WARMUP_CONFIGS": "[]",
    "POSITION_SERVER_KEY": "of the shell that started it; no setting",
}


@dataclass
class Desk:
    """A server with a key of each role."""

    server: ServerProcess
    store_url: str
    keys: dict[Role, str]

    def get(self, path: str, role: Role | None = None, headers: dict[str, str] | None = None) -> httpx.Response:
        key = {} if role is None else {"X-API-Key": self.keys[role]}
        return self.server.client.get(path, headers={**key, **(headers or {})})

    def ask(self, role: Role | None = None, headers: dict[str, str] | None = None) -> httpx.Response:
        return self.get(f"/position-environment?{httpx.QueryParams(SOD)}", role, headers)

    def post(self, body: Any, role: Role | None) -> httpx.Response:
        key = {} if role is None else {"X-API-Key": self.keys[role]}
        return self.server.client.post("/position-environment", json=body, headers=key)


def made(store_url: str, role: Role, expires_at: datetime | None = None) -> str:
    """A new key in the store."""
    key, text = new_key("test", role, now=datetime.now(UTC), expires_at=expires_at, random_bytes=token_bytes)
    with open_store(store_url) as store:
        add_key(store, key)
    return text


@pytest.fixture(scope="module")
def desk(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copy(demo_store, folder)
    url = f"sqlite:///{folder / demo_store.name}"
    keys = {role: made(url, role) for role in Role}
    with serving(folder, env=QUIET) as server:
        yield Desk(server, url, keys)


def error_of(response: httpx.Response) -> str:
    """The code of an error, whichever JSON the route gives it in."""
    body = response.json()
    assert body["request_id"] == response.headers["X-Request-ID"]
    return body["error_code"] if body["error"] is True else body["error"]


# --- who is let in ---------------------------------------------------------------------------------------------------


def test_every_route_but_health_needs_a_key(desk: Desk) -> None:
    document = desk.get("/openapi.json", Role.READER).json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = desk.server.client.request(method, path)
            if path.startswith("/health"):
                assert answer.status_code in {200, 503}, path
                assert operation["security"] == []
                continue
            assert (answer.status_code, error_of(answer)) == (401, "unauthorized"), path
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            assert answer.headers["Cache-Control"] == "no-store"
            assert {"401", "403", "503"} <= operation["responses"].keys()
            assert "security" not in operation
    assert document["security"] == [{"ApiKey": []}, {"Bearer": []}]
    assert document["components"]["securitySchemes"]["ApiKey"]["name"] == "X-API-Key"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_unknown_paths_and_methods_tell_nothing_without_a_key(desk: Desk, method: str) -> None:
    for path in ("/nothing", "/status"):
        answer = desk.server.client.request(method, path)
        assert answer.status_code == 401
        assert "Allow" not in answer.headers
    key = {"X-API-Key": desk.keys[Role.READER]}
    assert desk.server.client.request(method, "/nothing", headers=key).status_code == 404


def test_the_environment_answers_refusals_in_its_envelope(desk: Desk) -> None:
    answer = desk.ask().json()
    assert (answer["error"], answer["error_code"], answer["sections"]) == (True, "unauthorized", None)
    assert answer["environment_id"] is None
    assert answer["request_params"] is None
    assert answer["error_stack"] == ""


def test_each_role_may_do_what_it_is_for(desk: Desk) -> None:
    assert [desk.ask(role).status_code for role in Role] == [200, 200, 200]
    assert [desk.post(BODY, role).status_code for role in (None, *Role)] == [401, 403, 200, 200]
    refused = desk.post(BODY, Role.READER)
    assert error_of(refused) == "forbidden"
    assert "analyst" in refused.json()["message"]
    assert desk.server.client.delete("/status", headers={"X-API-Key": desk.keys[Role.ADMIN]}).status_code == 405


def test_values_by_hand_are_for_analysts_and_carry_their_key_and_onboarding_is_for_admins(desk: Desk) -> None:
    client, headers = desk.server.client, {role: {"X-API-Key": text} for role, text in desk.keys.items()}
    body = {"market_value": 1000, "valued_by": "somebody else"}
    path = "/positions/EXO/PVT-HARBOR-LP/valuation"
    assert client.put(path, json=body, headers=headers[Role.READER]).status_code == 403
    valued = client.put(path, json=body, headers=headers[Role.ANALYST]).json()
    assert valued["valued_by"] == desk.keys[Role.ANALYST].split("_")[1]
    queue = {"symbols": ["NOSUCH"]}
    answers = [client.post("/onboarding/symbols", json=queue, headers=headers[role]) for role in Role]
    assert [answer.status_code for answer in answers] == [403, 403, 202]
    assert answers[-1].json()["jobs"][0]["requested_by"] == desk.keys[Role.ADMIN].split("_")[1]


@pytest.mark.parametrize(
    "value",
    [
        b"bearer %b",
        b"Bearer   %b",
    ],
)
def test_the_key_may_come_as_a_bearer_token(desk: Desk, value: bytes) -> None:
    headers = {b"Authorization": value % desk.keys[Role.READER].encode()}
    assert desk.server.client.get("/status", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "lines",
    [
        b"X-API-Key: %b\r\nAuthorization: Bearer ps_" + b"0" * 77,
        b"X-API-Key:",
        b"X-API-Key: caf\xe9 \xff\xfe",
        b"X-API-Key: " + b"%b " * 120,
        b"X-API-Key: " + b"x" * 10_240,
        b"X-API-Key: ps_0123456789ab_" + b"0" * 64,
        b"Authorization: Bearer",
        b"Authorization: Digest username=desk",
        b"Authorization: %b",
    ],
)
def test_whatever_else_is_sent_is_no_key(desk: Desk, lines: bytes) -> None:
    """Over a socket: clients refuse to send some of it."""
    filled = lines.replace(b"%b", desk.keys[Role.ADMIN].encode())
    assert status_of(desk.server.port, b"GET /status HTTP/1.1\r\nHost: desk\r\n" + filled + b"\r\n\r\n") == 401


def test_a_large_body_without_a_key_is_read_and_answered(desk: Desk) -> None:
    answer = desk.server.client.post("/position-environment", content=b"x" * 10_000_000)
    assert (answer.status_code, error_of(answer)) == (401, "unauthorized")


def status_of(port: int, request: bytes) -> int:
    """The status that these bytes are answered with; 0 where the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        line = connection.makefile("rb").readline()
        return int(line.split()[1]) if line else 0


# --- what is told to whom --------------------------------------------------------------------------------------------


def test_nothing_of_a_cached_answer_is_told_without_a_key(desk: Desk) -> None:
    for _ in range(2):  # the second one is a hit
        known = desk.ask(Role.READER)
    assert known.json()["cache_hit"] is True
    etag = known.headers["ETag"]
    assert desk.ask(Role.READER, {"If-None-Match": etag}).status_code == 304
    for role, headers in ((None, {}), (None, {"If-None-Match": etag}), (None, {"X-API-Key": "x" * 80})):
        refused = desk.ask(role, headers)
        assert refused.status_code == 401
        assert "ETag" not in refused.headers
        assert known.json()["environment_id"] not in refused.text
        assert desk.ask(Role.READER).status_code == 200  # and the next one with a key is let in


def test_tracebacks_are_for_admins(desk: Desk) -> None:
    shown, hidden = (desk.post(BAD_VALUE, role).json() for role in (Role.ADMIN, Role.ANALYST))
    assert "Traceback" in shown["sections"]["bonds"]["error_stack"]
    assert hidden["sections"]["bonds"]["metadata"]["status"] == "error"
    assert {section["error_stack"] for section in hidden["sections"].values()} == {""}
    for role in Role:
        refused = desk.get("/position-environment", role).json()
        assert ("Traceback" in refused["error_stack"]) is (role is Role.ADMIN)


def test_the_store_going_away_leaves_the_keys_and_shows_its_traceback_to_admins(desk: Desk) -> None:
    file = Path(desk.store_url.removeprefix("sqlite:///"))
    away = file.with_name("away")
    file.rename(away)
    file.mkdir()  # a store that is not there at all would be one without keys
    try:
        asked = f"/position-environment?{httpx.QueryParams({**SOD, 'books': 'YCSO'})}"
        until(lambda: any("cannot be read" in line.get("message", "") for line in desk.server.log_lines()))
        for _ in range(2):
            shown, hidden = desk.get(asked, Role.ADMIN).json(), desk.get(asked, Role.READER).json()
            assert "StoreUnavailable" in shown["sections"]["bonds"]["error_stack"]
            assert {section["error_stack"] for section in hidden["sections"].values()} == {""}
            assert shown["environment_id"] != hidden["environment_id"]  # equal ids mean equal bytes
        assert desk.get("/status").status_code == 401
    finally:
        file.rmdir()
        away.rename(file)
    until(lambda: any("can be read again" in line.get("message", "") for line in desk.server.log_lines()))


def test_the_curl_command_takes_the_key_from_the_shell(desk: Desk) -> None:
    answers = [desk.ask(Role.READER).json(), desk.post({**BODY, "books": ['it\'s "$(x)"']}, Role.ANALYST).json()]
    for answer, role in zip(answers, (Role.READER, Role.ANALYST), strict=True):
        assert desk.keys[role] not in json.dumps(answer)
        run = {"shell": True, "capture_output": True, "check": True}
        env = {**os.environ, "POSITION_SERVER_KEY": desk.keys[role]}
        replayed = json.loads(subprocess.run(answer["curl_command"], env=env, **run).stdout)
        assert (replayed["error"], replayed["request_params"]) == (False, answer["request_params"])
        without = json.loads(
            subprocess.run(answer["curl_command"], env={**env, "POSITION_SERVER_KEY": ""}, **run).stdout
        )
        assert without["error_code"] == "unauthorized"


def test_the_log_names_keys_and_shows_no_secret(desk: Desk) -> None:
    secrets = [text.rpartition("_")[2] for text in desk.keys.values()]
    desk.get(f"/status?key={desk.keys[Role.ADMIN]}", Role.ADMIN, {"X-Request-ID": "in-the-query"})
    spoiled = b"GET / HTTP/1.1\r\nHost: desk\r\nX-API-Key: " + desk.keys[Role.ADMIN].encode() + b"\x01\r\n\r\n"
    assert status_of(desk.server.port, spoiled) == 400
    until(lambda: "in-the-query" in desk.server.log.read_text() and "Malformed" in desk.server.log.read_text())
    log = desk.server.log.read_text()
    assert [secret for secret in secrets if secret[:8] in log] == []
    assert desk.keys[Role.ADMIN].split("_")[1] in log


# --- changes while it runs -------------------------------------------------------------------------------------------


@pytest.fixture
def running(demo_store: Path, tmp_path: Path) -> Iterator[Desk]:
    """A server without keys."""
    shutil.copy(demo_store, tmp_path)
    with serving(tmp_path, env=QUIET) as server:
        yield Desk(server, f"sqlite:///{tmp_path / demo_store.name}", {})


def test_the_first_key_closes_a_running_server_and_revoking_it_opens_nothing(running: Desk) -> None:
    for _ in range(2):
        assert running.ask().status_code == 200
    document = running.get("/openapi.json").json()
    assert document["security"] == []
    assert "X-API-Key" not in running.ask().json()["curl_command"]

    reader = running.keys[Role.READER] = made(running.store_url, Role.READER)
    until(lambda: running.get("/status").status_code == 401)
    assert running.ask().status_code == 401
    hit = running.ask(Role.READER).json()
    assert hit["cache_hit"] is True
    assert "$POSITION_SERVER_KEY" in hit["curl_command"]

    with open_store(running.store_url) as store:
        revoke_key(store, reader.split("_")[1], datetime.now(UTC))
    until(lambda: running.ask(Role.READER).status_code == 401)
    assert running.get("/status").status_code == 401
    assert running.get("/health/live").status_code == 200


def test_a_key_ends_when_it_expires(running: Desk) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2.5)
    running.keys = {Role.READER: made(running.store_url, Role.READER, soon)}
    until(lambda: running.get("/status").status_code == 401)

    def is_over() -> bool:
        asked_at = datetime.now(UTC)
        is_refused = running.get("/status", Role.READER).status_code == 401
        assert (datetime.now(UTC) >= soon) if is_refused else (asked_at < soon)
        return is_refused

    until(is_over)


def test_a_request_in_the_first_moment_waits_for_the_keys(demo_store: Path, tmp_path: Path) -> None:
    shutil.copy(demo_store, tmp_path)
    url = f"sqlite:///{tmp_path / demo_store.name}"
    key = made(url, Role.READER)
    with serving(tmp_path, env=QUIET) as server:
        assert server.get("/status").status_code == 401
        assert server.client.get("/status", headers={"X-API-Key": key}).status_code == 200


def test_where_the_keys_cannot_be_read_from_the_start_nobody_is_let_in(tmp_path: Path) -> None:
    down = {"POSITION_SERVER_STORE__URL": "postgresql://desk@127.0.0.1:1/desk"}
    with serving(tmp_path, env={**QUIET, **down}) as server:
        answer = server.get("/status")
        assert (answer.status_code, error_of(answer)) == (503, "starting")
        assert answer.headers["Retry-After"] == "1"
        assert server.get("/health/live").status_code == 200


def test_where_others_reach_it_a_store_that_cannot_say_is_one_line_and_no_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "position_server", "serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path)]
    down = {**os.environ, "POSITION_SERVER_STORE__URL": "postgresql://desk:hunter2@127.0.0.1:1/desk"}
    done = subprocess.run(command, cwd=REPOSITORY, env=down, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert 'SERVER["host"]' in line
    assert "unavailable" in line
    assert "hunter2" not in line


def test_with_a_key_the_server_listens_where_others_reach_it(demo_store: Path, tmp_path: Path) -> None:
    shutil.copy(demo_store, tmp_path)
    key = made(f"sqlite:///{tmp_path / demo_store.name}", Role.READER)
    with serving(tmp_path, env=QUIET, flags=("--host", "0.0.0.0")) as server:
        assert server.get("/status").status_code == 401
        assert server.client.get("/status", headers={"X-API-Key": key}).status_code == 200
