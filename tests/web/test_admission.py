"""What a handler says about who may use it, and the line that an admin's action leaves, in an in-process server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import getrandbits
from typing import Any

import pytest
from tornado.httpclient import HTTPRequest
from tornado.web import Application

from position_server.access import Guard, Role
from position_server.clock import SystemClock
from position_server.logs import AccessLog
from position_server.metrics import Metrics
from position_server.web.base import InFlight, JsonHandler, WebContext
from tests.access.factories import key

MADE = {role: key(role=role, now=SystemClock().now()) for role in Role}


class RunHandler(JsonHandler):
    """Shows and starts something that only admins may start."""

    roles = {"POST": Role.ADMIN}  # noqa: RUF012 as a handler declares it

    async def get(self) -> None:
        self.write_json({"caller": self.caller and self.caller.key_id})

    async def post(self) -> None:
        self.audit("run", name="morning", assets=3)
        self.write_json({"size": len(self.body())})

    put = get


class OpenHandler(JsonHandler):
    """Answers everybody."""

    for_everybody = True

    async def get(self) -> None:
        self.write_json({})


@pytest.fixture
def app() -> Iterator[Application]:
    with ThreadPoolExecutor(1) as threads:
        guard = Guard(threads, SystemClock(), secret=b"of a test")
        guard.learn([ours for ours, _ in MADE.values()])
        given = {"max_body_bytes": 1000, "expose_tracebacks": True, "guard": guard}
        context = WebContext(
            SystemClock(), Metrics.create(), threads, InFlight(), AccessLog(None), getrandbits, **given
        )
        yield Application(
            [
                (path, handler, {"context": context, "route": path})
                for path, handler in (("/run", RunHandler), ("/open", OpenHandler))
            ]
        )


async def ask(client: Any, url: str, role: Role | None, **options: Any) -> tuple[int, Any]:
    headers = {"X-Request-ID": "desk-7"} | ({} if role is None else {"X-API-Key": MADE[role][1]})
    response = await client.fetch(HTTPRequest(url, headers=headers, **options), raise_error=False)
    return response.code, json.loads(response.body) if response.body else None


@pytest.mark.gen_test
async def test_a_handler_declares_the_role_that_a_method_needs(http_client: Any, base_url: str) -> None:
    run = f"{base_url}/run"
    assert [(await ask(http_client, run, role))[0] for role in (None, *Role)] == [401, 200, 200, 200]
    assert [(await ask(http_client, run, role, method="HEAD"))[0] for role in (None, *Role)] == [401, 200, 200, 200]
    posted = [(await ask(http_client, run, role, method="POST", body=b"x"))[0] for role in (None, *Role)]
    assert posted == [401, 403, 403, 200]
    assert [(await ask(http_client, run, role, method="PUT", body=b""))[0] for role in Role] == [403, 200, 200]
    assert (await ask(http_client, f"{base_url}/open", None))[0] == 200


@pytest.mark.gen_test
async def test_a_handler_knows_its_caller(http_client: Any, base_url: str) -> None:
    _, body = await ask(http_client, f"{base_url}/run", Role.ANALYST)
    assert body == {"caller": MADE[Role.ANALYST][0].key_id}


@pytest.mark.gen_test
async def test_a_body_that_is_taken_after_the_check_of_a_key_is_whole(http_client: Any, base_url: str) -> None:
    for _ in range(2):  # while the key is checked, and when it is known
        _, body = await ask(http_client, f"{base_url}/run", Role.ADMIN, method="POST", body=b"x" * 1000)
        assert body == {"size": 1000}
    code, _ = await ask(http_client, f"{base_url}/run", Role.READER, method="POST", body=b"x" * 3_000_000)
    assert code == 403


@pytest.mark.gen_test
async def test_an_admins_action_leaves_one_line_of_who_and_what(
    http_client: Any, base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await ask(http_client, f"{base_url}/run", Role.ADMIN, method="POST", body=b"")
    (line,) = [record for record in caplog.records if record.message == "audit"]
    assert (line.action, line.key_id, line.request_id) == ("run", MADE[Role.ADMIN][0].key_id, "desk-7")
    assert line.details == {"name": "morning", "assets": 3}
    assert line.remote == "127.0.0.1"
