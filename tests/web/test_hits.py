"""The fast path gives the bytes of the ordinary way, and goes out of the way of what it does not know."""

from __future__ import annotations

import gzip
import html
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.web import Application

from tests.servers import ServerProcess, calm, serving, until

EOD = {"env_date": "2025-10-30", "pos_date": "2025-10-30", "books": "CUPS,YCSO", "time_of_day": "EOD"}
SECTIONS = ["bonds", "equities", "exposures", "futures", "ir_delta", "new_trades", "options", "private", "spot"]
# What differs from one answer to the next by its nature.
VARYING = re.compile(rb'"(request_id|request_timestamp)":"[^"]*"|"(duration_ms|age_seconds)":[0-9.]+')


@pytest.fixture(scope="module")
def kept(demo_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose entries stay."""
    folder = tmp_path_factory.mktemp("hits")
    shutil.copy(demo_store, folder)
    with serving(folder, env=calm()) as server:
        server.wait_until_warm()
        yield server


def raw(server: ServerProcess, request: bytes) -> tuple[list[bytes], bytes]:
    """The header lines and the body that come back for these bytes; what follows the first answer is in the body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"Content-Length:")), 0)
        if b"Connection: close" in request:
            length = 10**9
        while len(body) < length and (chunk := connection.recv(65536)):
            body += chunk
    return lines, body


def ask(server: ServerProcess, query: str, *lines: str) -> tuple[list[bytes], bytes]:
    head = f"GET /position-environment?{query} HTTP/1.1\r\nHost: desk\r\n"
    return raw(server, (head + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode())


def comparable(answer: tuple[list[bytes], bytes]) -> tuple[list[bytes], bytes]:
    """Without what differs by its nature: id, times, and the length of their digits."""
    lines, body = answer
    if b"Content-Encoding: gzip" in lines:
        body = gzip.decompress(body)
    varying = (b"Date:", b"X-Request-Id:", b"Content-Length:")
    return [line for line in lines if not line.startswith(varying)], VARYING.sub(b"", body)


def hits(server: ServerProcess) -> float:
    text = server.get("/metrics").text
    counted = re.search(r'requests_total\{method="GET",route="/position-environment",status="\d+"\} (\d+)', text)
    return float(counted[1]) if counted else 0.0


books = st.permutations(["CUPS", "YCSO"]).map(",".join)
narrowing = st.one_of(st.just(""), st.lists(st.sampled_from(SECTIONS), min_size=1, unique=True).map(",".join))
request_lines = st.lists(
    st.sampled_from(
        [
            "Accept-Encoding: gzip",
            "Accept-Encoding: br, gzip;q=0.5",
            "Accept-Encoding: gzip;q=0",
            "X-Request-ID: desk-1",
            "X-Request-ID: not a token",
            "Accept: text/html",
            "Connection: keep-alive",
        ]
    ),
    max_size=2,
    unique_by=lambda line: line.partition(":")[0],
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(books, narrowing, request_lines)
def test_both_ways_give_the_same_bytes(kept: ServerProcess, books: str, narrowing: str, lines: list[str]) -> None:
    """A tag that is not the entry's makes a request take the ordinary way, and changes nothing in the answer."""
    query = f"env_date=2025-10-30&pos_date=2025-10-30&books={books}&time_of_day=EOD"
    query += f"&sections={narrowing}" if narrowing else ""
    ordinary = comparable(ask(kept, query, *lines, 'If-None-Match: "another"'))
    before = hits(kept)
    fast = comparable(ask(kept, query, *lines))
    assert fast == ordinary
    assert hits(kept) == before + 1


def test_the_fast_path_off_gives_the_same_bytes(kept: ServerProcess, tmp_path: Path, demo_store: Path) -> None:
    shutil.copy(demo_store, tmp_path)
    query = "env_date=2025-10-30&pos_date=2025-10-30&books=CUPS,YCSO&time_of_day=EOD&sections=futures"
    with serving(tmp_path, env={**calm(), "POSITION_SERVER_SERVER__FAST_PATH": "false"}) as slow:
        slow.wait_until_warm()
        answers = [comparable(ask(server, query)) for server in (slow, slow, kept, kept)]
    changing = re.compile(rb'"(last_updated|environment_id|refresh_duration_ms)":[^,]*|Etag: .*')
    plain = [([changing.sub(b"", line) for line in lines], changing.sub(b"", body)) for lines, body in answers]
    assert plain[1] == plain[3]
    assert plain[0] == plain[2]


def test_a_hit_is_counted_logged_and_carries_its_id(kept: ServerProcess) -> None:
    server = kept
    query = "env_date=2025-10-30&pos_date=2025-10-30&books=YCSO,CUPS&time_of_day=EOD"
    ask(server, query)
    before = hits(server)
    lines, _ = ask(server, query, "X-Request-ID: fast-7")
    assert b"X-Request-Id: fast-7" in lines
    assert hits(server) == before + 1
    logged = until(lambda: [line for line in server.log_lines() if line.get("request_id") == "fast-7"])
    assert logged[0]["uri"] == f"/position-environment?{query}"
    assert logged[0]["status"] == 200
    assert logged[0]["remote"] == "127.0.0.1"


def test_a_matching_etag_is_304_on_both_ways(kept: ServerProcess) -> None:
    server = kept
    query = "env_date=2025-10-30&pos_date=2025-10-30&books=CUPS,YCSO&time_of_day=EOD"
    lines, _ = ask(server, query)
    etag = next(line for line in lines if line.startswith(b"Etag: ")).decode().removeprefix("Etag: ")
    fast = comparable(ask(server, query, f"If-None-Match: {etag}"))
    ordinary = comparable(ask(server, query, f'If-None-Match: "other", {etag}'))
    assert fast == ordinary
    assert fast[0][0] == b"HTTP/1.1 304 Not Modified"
    assert fast[1] == b""


@pytest.mark.parametrize("way", ["", "&max_age=86400"])
def test_gzip_is_one_member_that_every_client_reads(kept: ServerProcess, way: str, tmp_path: Path) -> None:
    server = kept
    url = f"http://127.0.0.1:{server.port}/position-environment?" + "&".join(f"{k}={v}" for k, v in EOD.items()) + way
    plain = httpx.get(url, headers={"Accept-Encoding": "identity"}).json()["sections"]
    assert httpx.get(url).json()["sections"] == plain  # httpx asks for gzip
    curl = subprocess.run(["curl", "-sS", "--compressed", url], capture_output=True, check=True)
    assert json.loads(curl.stdout)["sections"] == plain
    file = tmp_path / "answer.gz"
    subprocess.run(["curl", "-sS", "-H", "Accept-Encoding: gzip", "-o", str(file), url], check=True)
    subprocess.run(["gzip", "-t", str(file)], check=True)
    assert json.loads(gzip.decompress(file.read_bytes()))["sections"] == plain
    assert file.stat().st_size < len(json.dumps(plain)) / 2


def test_gzip_is_read_by_requests(kept: ServerProcess) -> None:
    answer = requests.get(f"http://127.0.0.1:{kept.port}/position-environment", params=EOD, timeout=60)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.json()["error"] is False


def test_gzip_is_read_by_chromium(kept: ServerProcess, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        assert os.environ.get("REQUIRE_SERVICES") != "1", "chromium is not installed"
        pytest.skip("chromium is not installed")
    url = f"http://127.0.0.1:{kept.port}/position-environment?" + "&".join(f"{k}={v}" for k, v in EOD.items())
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    command = [chromium, *flags, f"--user-data-dir={tmp_path}", "--dump-dom", url]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    shown = json.loads(html.unescape(page[page.index("{") : page.rindex("}") + 1]))
    assert shown["sections"] == httpx.get(url).json()["sections"]


@pytest.fixture
def app() -> Application:
    """What pytest-tornado's client wants to be there."""
    return Application([])


@pytest.mark.gen_test
async def test_gzip_is_read_by_tornados_client(kept: ServerProcess, http_client: Any) -> None:
    url = f"http://127.0.0.1:{kept.port}/position-environment?" + "&".join(f"{k}={v}" for k, v in EOD.items())
    answer = await http_client.fetch(url, decompress_response=True)
    assert answer.headers["X-Consumed-Content-Encoding"] == "gzip"
    assert json.loads(answer.body)["error"] is False


def test_small_bodies_stay_plain(kept: ServerProcess) -> None:
    query = "env_date=2025-10-30&pos_date=2025-10-30&books=NOBODY&time_of_day=EOD&sections=new_trades"
    lines, _ = ask(kept, query, "Accept-Encoding: gzip")
    assert not any(line.startswith(b"Content-Encoding") for line in lines)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"HEAD /position-environment?{} HTTP/1.1\r\nHost: desk\r\nConnection: close\r\n\r\n",
        b"GET /position-environment?{} HTTP/1.1\r\nHost: desk\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{",
        b"GET /position-environment?{} HTTP/1.0\r\nHost: desk\r\n\r\n",
    ],
)
def test_unusual_requests_are_answered_too(kept: ServerProcess, request_bytes: bytes) -> None:
    query = b"&".join(f"{k}={v}".encode() for k, v in EOD.items())
    ask(kept, query.decode())
    lines, _ = raw(kept, request_bytes.replace(b"{}", query).replace(b"{{", b"{}"))
    assert lines[0].endswith(b" 200 OK")


def test_a_slow_reader_gets_every_byte_of_every_answer(kept: ServerProcess) -> None:
    query = "&".join(f"{k}={v}" for k, v in EOD.items())
    _, whole = ask(kept, query)
    one = f"GET /position-environment?{query} HTTP/1.1\r\nHost: desk\r\n"
    many = (one + "\r\n") * 59 + one + "Connection: close\r\n\r\n"
    received = b""
    with socket.create_connection(("127.0.0.1", kept.port), timeout=60) as connection:
        connection.sendall(many.encode())
        time.sleep(0.5)  # what is sent meanwhile is more than the sockets hold
        while chunk := connection.recv(65536):
            received += chunk
    answers = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(answers) == 60
    assert {VARYING.sub(b"", answer.partition(b"\r\n\r\n")[2]) for answer in answers} == {VARYING.sub(b"", whole)}


def test_pipelined_requests_are_answered_in_order(kept: ServerProcess) -> None:
    query = "&".join(f"{k}={v}" for k, v in EOD.items()) + "&sections=new_trades"
    ask(kept, query)
    one = f"GET /position-environment?{query} HTTP/1.1\r\nHost: desk\r\nX-Request-ID: number-{{}}\r\n"
    many = "".join(one.format(n) + ("Connection: close\r\n\r\n" if n == 9 else "\r\n") for n in range(10))
    lines, body = raw(kept, many.encode())
    everything = b"\r\n".join(lines) + body
    ids = re.findall(rb'"request_id":"(number-\d)"', everything)
    assert ids == [f"number-{n}".encode() for n in range(10)]
