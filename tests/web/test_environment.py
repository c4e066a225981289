"""`/position-environment` on the demo desk, served by the shipped configuration."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.servers import ServerProcess, until

SOD = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS,YCSO", "time_of_day": "SOD"}
LIVE = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "EXO", "time_of_day": "LIVE"}
EOD = {"env_date": "2025-10-30", "pos_date": "2025-10-30", "books": "CUPS,YCSO", "time_of_day": "EOD"}
BODY = {**SOD, "books": ["CUPS", "YCSO"]}
ENVELOPE = {
    "request_id",
    "request_timestamp",
    "duration_ms",
    "curl_command",
    "request_params",
    "section_params",
    "cache_hit",
    "server_status",
    "environment_id",
    "age_seconds",
    "error",
    "error_stack",
    "sections",
}
METADATA = {
    "last_updated",
    "status",
    "refresh_duration_ms",
    "version",
    "market_data_as_of",
    "positions_as_of",
    "oldest_price_date",
}
ROW = {
    "book",
    "instrument",
    "currency",
    "quantity",
    "price",
    "price_date",
    "price_source",
    "market_value",
    "market_value_base",
    "fx_rate",
    "daily_pnl",
    "total_pnl",
}
ROW_OF = {
    "futures": {"root", "expiry", "multiplier", "tick_size", "exchange", "entry_price", "previous_close", "notional"}
    | {"notional_base", "days_to_expiry"},
    "bonds": {"isin", "coupon", "maturity", "face", "settlement", "clean_price", "accrued", "dirty_price", "yield"}
    | {"macaulay_duration", "modified_duration", "convexity", "dv01", "curve_dv01", "key_rate_dv01", "entry_price"},
    "equities": {"exchange"},
    "spot": {"pair", "bid", "ask", "spread", "quote_age_seconds"},
    "new_trades": {"trade_id", "trade_time", "side", "price"},
    "options": {"occ_symbol", "underlying", "expiry", "right", "strike", "multiplier", "underlying_price", "moneyness"},
    "private": {"valued_on", "valued_by"},
}
SECTIONS = [*ROW_OF, "ir_delta", "exposures"]


def post(server: ServerProcess, section_params: Any = None, **fields: Any) -> httpx.Response:
    return server.client.post("/position-environment", json={**BODY, "section_params": section_params, **fields})


def problems(response: httpx.Response) -> list[str]:
    body = response.json()
    assert response.status_code == 400, body
    assert body["error"] is True
    assert body["error_code"] == "bad_request"
    assert body["sections"] is None
    assert "\n" not in body["message"]
    return [problem["field"] for problem in body["problems"]]


@pytest.mark.parametrize("asked", [SOD, LIVE, EOD], ids=["SOD_MAIN", "LIVE_EXO", "EOD_MAIN"])
def test_the_first_ask_after_a_warm_up_hits(demo_server: ServerProcess, asked: dict[str, str]) -> None:
    answer = demo_server.environment(**asked)
    assert answer["cache_hit"] is True
    assert answer["server_status"] == "warmed_up"
    assert {s["metadata"]["status"] for s in answer["sections"].values()} == {"ok"}


@pytest.mark.parametrize("asked", [SOD, LIVE, EOD], ids=["SOD", "LIVE", "EOD"])
def test_every_documented_field_is_there(demo_server: ServerProcess, asked: dict[str, str]) -> None:
    answer = demo_server.environment(**asked)
    assert answer.keys() == ENVELOPE
    assert answer["request_timestamp"].endswith("+00:00")
    for name in SECTIONS:
        section = answer["sections"][name]
        assert section["metadata"].keys() >= METADATA
        assert section["metadata"]["last_updated"].endswith("+00:00")
        assert section["data"].keys() >= {"positions", "totals", "coverage", "warnings"}
        assert section["data"]["totals"].keys() == {"by_book", "all"}
        assert section["data"]["coverage"].keys() == {"positions", "priced", "gross_share"}
        for row in section["data"]["positions"]:
            assert row.keys() >= ROW | ROW_OF[name]


def test_rows_are_ordered_by_book_then_instrument(demo_server: ServerProcess) -> None:
    sections = demo_server.environment(**EOD)["sections"]
    for name in ("futures", "bonds", "equities", "spot"):
        keys = [(row["book"], row["instrument"]) for row in sections[name]["data"]["positions"]]
        assert keys == sorted(keys)
        assert len(keys) > 5


def test_order_and_repetition_of_books_do_not_matter(demo_server: ServerProcess) -> None:
    turned = demo_server.environment(**{**SOD, "books": "YCSO,CUPS,YCSO"})
    assert turned["cache_hit"] is True
    assert turned["environment_id"] == demo_server.environment(**SOD)["environment_id"]
    assert turned["request_params"]["books"] == ["YCSO", "CUPS", "YCSO"]


def test_a_narrowed_answer_has_the_bytes_of_the_whole(demo_server: ServerProcess) -> None:
    whole = demo_server.environment(**SOD)
    narrow = demo_server.environment(**SOD, sections="spot,futures")
    assert narrow["sections"] == {name: whole["sections"][name] for name in ("futures", "spot")}
    assert narrow["environment_id"] == whole["environment_id"]


def test_a_matching_etag_is_304_without_a_body(demo_server: ServerProcess) -> None:
    whole = demo_server.get("/position-environment", **SOD)
    etag = whole.headers["ETag"]
    assert etag.startswith('W/"')
    assert whole.headers["Vary"] == "Accept-Encoding"
    again = demo_server.client.get("/position-environment", params=SOD, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    narrow = demo_server.client.get(
        "/position-environment", params={**SOD, "sections": "spot"}, headers={"If-None-Match": etag}
    )
    assert narrow.status_code == 200  # another representation


@pytest.mark.parametrize(
    "arguments",
    [SOD, {**SOD, "sections": "spot", "max_age": "86400"}, {**SOD, "books": 'it\'s a "book" & $(co), ünïcode'}],
)
def test_the_curl_command_replays_a_get(demo_server: ServerProcess, arguments: dict[str, str]) -> None:
    first = demo_server.environment(**arguments)
    replayed = json.loads(subprocess.run(first["curl_command"], shell=True, capture_output=True, check=True).stdout)
    assert replayed["request_params"] == first["request_params"]
    assert replayed["sections"] == first["sections"]


def test_the_curl_command_replays_a_post(demo_server: ServerProcess) -> None:
    first = post(demo_server, {"spot": {"live_price_overrides": {"EURUSD": 1.5}}}, books=["CUPS", "o'Neil"]).json()
    replayed = json.loads(subprocess.run(first["curl_command"], shell=True, capture_output=True, check=True).stdout)
    assert replayed["section_params"] == first["section_params"]
    assert replayed["sections"]["spot"]["data"] == first["sections"]["spot"]["data"]


def test_head_answers_the_headers_of_get(demo_server: ServerProcess) -> None:
    get, head = (
        demo_server.get("/position-environment", **SOD),
        demo_server.client.head("/position-environment", params=SOD),
    )
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["ETag"] == get.headers["ETag"]


def test_a_what_if_moves_its_row_and_nothing_else_and_never_the_cache(demo_server: ServerProcess) -> None:
    before = demo_server.environment(**SOD)
    answer = post(demo_server, {"equities": {"live_price_overrides": {"AAPL": 1000.0, "NOPE": 1.0}}}).json()
    assert answer["cache_hit"] is False
    assert answer["section_params"] == {"equities": {"live_price_overrides": {"AAPL": 1000.0, "NOPE": 1.0}}}
    data = answer["sections"]["equities"]["data"]
    assert data["overrides_applied"] == {"AAPL": 1000.0}
    assert any("NOPE" in warning for warning in data["warnings"])
    old = {(r["book"], r["instrument"]): r for r in before["sections"]["equities"]["data"]["positions"]}
    for row in data["positions"]:
        if row["instrument"] == "AAPL":
            assert (row["price"], row["price_source"]) == (1000.0, "override")
        else:
            assert row == old[row["book"], row["instrument"]]
    assert demo_server.environment(**SOD)["environment_id"] == before["environment_id"]


def test_a_bad_value_fails_only_its_own_section(demo_server: ServerProcess) -> None:
    failures = demo_server.status()["sections"]["bonds"]["failures"]
    sections = post(demo_server, {"bonds": {"curve_shift_bp": "lots"}}).json()["sections"]
    assert sections["bonds"]["metadata"]["status"] == "error"
    assert "section_params.bonds.curve_shift_bp" in sections["bonds"]["error_stack"]
    assert {s["metadata"]["status"] for name, s in sections.items() if name != "bonds"} == {"ok"}
    assert demo_server.status()["sections"]["bonds"]["failures"] == failures


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", ["env_date", "pos_date", "books", "time_of_day"]),
        ("env_date=2025-02-30&pos_date=2025-10-29&books=A&time_of_day=SOD", ["env_date"]),
        ("env_date=30.10.2025&pos_date=2025-10-29&books=A&time_of_day=SOd", ["env_date", "time_of_day"]),
        ("env_date=2025-10-30&pos_date=2025-10-29&books=&time_of_day=SOD", ["books[0]"]),
        ("env_date=2025-10-30&pos_date=2025-10-29&books=A,%20,B&time_of_day=SOD", ["books[1]"]),
        ("env_date=2025-10-30&pos_date=2025-10-29&books=A&time_of_day=SOD&colour=red", ["colour"]),
        ("env_date=2025-10-30&env_date=2025-10-30&pos_date=2025-10-29&books=A&time_of_day=SOD", ["env_date"]),
        ("env_date=2025-10-30&pos_date=2025-10-29&books=A&time_of_day=SOD&sections=futures,bondz", ["sections"]),
        ("env_date=2025-10-30&pos_date=2025-10-29&books=A&time_of_day=SOD&max_age=NaN", ["max_age"]),
        ("env_date=2025-10-30&pos_date=2025-10-29&books=A&time_of_day=SOD&require=old", ["require"]),
        ("env_date=2025-10-30&pos_date=2025-10-29&books=%ff&time_of_day=SOD", ["query"]),
        ("env_date=x&pos_date=2025-10-29&books=A&time_of_day=SOD&sections=bondz", ["env_date", "sections"]),
    ],
)
def test_a_bad_query_names_every_field(demo_server: ServerProcess, query: str, fields: list[str]) -> None:
    response = demo_server.client.get(f"/position-environment?{query}")
    assert problems(response)[: len(fields)] == fields


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", ["body"]),
        (b"[1]", ["body"]),
        (b'"text"', ["body"]),
        (b'{"env_date": "2025-10-30"', ["body"]),
        (b'{"env_date": NaN}', ["body"]),
        (b'{"books": [Infinity]}', ["body"]),
        (b"\xff\xfe", ["body"]),
        (b"[" * 100_000, ["body"]),
        (json.dumps({**BODY, "books": "CUPS"}).encode(), ["books"]),
        (json.dumps({**BODY, "books": []}).encode(), ["books"]),
        (json.dumps({**BODY, "books": ["A", "  "]}).encode(), ["books[1]"]),
        (json.dumps({**BODY, "books": [1]}).encode(), ["books[0]"]),
        (json.dumps({**BODY, "env_date": 20251030}).encode(), ["env_date"]),
        (json.dumps({**BODY, "time_of_day": None}).encode(), ["time_of_day"]),
        (json.dumps({**BODY, "colour": "red"}).encode(), ["colour"]),
        (json.dumps({**BODY, "section_params": []}).encode(), ["section_params"]),
        (json.dumps({**BODY, "section_params": {"bonds": 3}}).encode(), ["section_params.bonds"]),
        (json.dumps({**BODY, "section_params": {"bondz": {}}}).encode(), ["section_params.bondz"]),
        (json.dumps({**BODY, "section_params": {"bonds": {"shift": 1}}}).encode(), ["section_params.bonds.shift"]),
        (
            json.dumps({**BODY, "books": [], "section_params": {"bondz": {}, "bonds": 3}}).encode(),
            ["books", "section_params.bonds", "section_params.bondz"],
        ),
    ],
)
def test_a_bad_body_names_every_field_and_computes_nothing(
    demo_server: ServerProcess, body: bytes, fields: list[str]
) -> None:
    runs = demo_server.status()["sections"]["bonds"]["runs"]
    assert problems(demo_server.client.post("/position-environment", content=body)) == fields
    assert demo_server.status()["sections"]["bonds"]["runs"] <= runs + 1  # a warm-up may have run meanwhile


def test_a_post_with_a_query_string_is_refused_and_its_curl_command_too(demo_server: ServerProcess) -> None:
    response = demo_server.client.post("/position-environment?sections=spot", json=BODY)
    assert problems(response) == ["sections"]
    curl = response.json()["curl_command"]
    replayed = json.loads(subprocess.run(curl, shell=True, capture_output=True, check=True).stdout)
    assert replayed["problems"] == response.json()["problems"]


def test_the_curl_command_of_another_method_asks_by_it(demo_server: ServerProcess) -> None:
    refused = demo_server.client.delete("/position-environment")
    curl = refused.json()["curl_command"]
    replayed = json.loads(subprocess.run(curl, shell=True, capture_output=True, check=True).stdout)
    assert (refused.status_code, replayed["error_code"]) == (405, "method_not_allowed")


def test_a_body_of_20_mb_is_413(demo_server: ServerProcess) -> None:
    response = demo_server.client.post("/position-environment", content=b" " * 20_000_000)
    assert response.status_code == 413
    assert response.json()["error_code"] == "payload_too_large"


def test_ten_thousand_books_are_answered(demo_server: ServerProcess) -> None:
    names = [f"BOOK {number}" for number in range(9_999)] + ["CUPS"]
    posted = post(demo_server, books=names).json()["sections"]["equities"]["data"]
    assert {row["book"] for row in posted["positions"]} == {"CUPS"}
    assert "and 9979 more" in posted["warnings"][0]
    query = urlencode({**SOD, "books": ",".join(names), "sections": "equities"})  # longer than httpx would send
    with urllib.request.urlopen(f"{demo_server.client.base_url}/position-environment?{query}") as response:
        read = json.load(response)
    assert read["sections"]["equities"]["data"]["positions"] == posted["positions"]


@pytest.mark.parametrize("name", ["it's", 'say "hi"', "a b", "ünï-코드-🦉", "'; DROP TABLE positions; --", "%", "\\"])
def test_a_book_of_any_printable_name_is_answered(demo_server: ServerProcess, name: str) -> None:
    answer = demo_server.environment(**{**SOD, "books": name})
    assert answer["request_params"]["books"] == [name]
    data = answer["sections"]["equities"]["data"]
    assert data["positions"] == []
    assert data["warnings"] == [f"no positions on 2025-10-29 in {name}"]


def test_a_date_without_data_answers_with_nulls_and_warnings(demo_server: ServerProcess) -> None:
    answer = demo_server.environment(**{**SOD, "env_date": "2019-01-02", "pos_date": "2025-10-29"})
    for name in ("futures", "equities", "bonds", "spot"):
        section = answer["sections"][name]
        assert section["metadata"]["status"] == "ok"
        assert all(row["price"] is None and row["market_value"] is None for row in section["data"]["positions"])
        assert section["data"]["coverage"]["priced"] == 0
        assert any(warning.startswith("no price for") for warning in section["data"]["warnings"])


def test_another_method_is_405_in_the_envelope(demo_server: ServerProcess) -> None:
    response = demo_server.client.delete("/position-environment")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD, POST"
    assert response.json().keys() == ENVELOPE | {"error_code", "message", "problems"}


def test_a_request_id_is_kept_and_logged(demo_server: ServerProcess) -> None:
    demo_server.client.get("/position-environment", params=SOD, headers={"X-Request-ID": "desk-42"})
    lines = until(lambda: [line for line in demo_server.log_lines() if line.get("request_id") == "desk-42"])
    assert lines[0]["message"] == "request"
    assert lines[0]["status"] == 200
