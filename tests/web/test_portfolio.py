"""`/portfolios/*`, valuations and onboarding on a real server, after two nights of the demo; as the document says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from position_server.store.engine import open_store
from position_server.store.tables import private_valuations
from position_server.web import portfolio_operations as documented
from tests.portfolio.conftest import two_nights_file  # noqa: F401 (a fixture)
from tests.servers import LASTING, NO_WARM_UPS, ServerProcess, serving, until
from tests.web.documented import said

BOOKS = ("CUPS", "EXO", "YCSO")
PRIVATE = "/positions/EXO/PVT-HARBOR-LP/valuation"


@pytest.fixture(scope="module")
def server(two_nights_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:  # noqa: F811
    folder = tmp_path_factory.mktemp("nights-served")
    shutil.copy(two_nights_file, folder)
    with serving(folder, env={**LASTING, **NO_WARM_UPS}) as server:
        yield server


def fields(response: httpx.Response, operation: Any) -> set[str]:
    """The fields that a request is refused for."""
    return {problem["field"] for problem in said(response, operation, 400)["details"]}


# --- what the nights left --------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_and_narrowed(server: ServerProcess) -> None:
    runs = said(server.get("/portfolios/runs"), documented.RUNS)["runs"]
    assert [(run["batch_type"], run["batch_date"]) for run in runs] == [
        ("portfolio_refresh", "2025-10-30"),
        ("symbol_batch", "2025-10-30"),
        ("portfolio_refresh", "2025-10-29"),
        ("symbol_batch", "2025-10-29"),
    ]
    assert {run["status"] for run in runs} == {"completed"}
    assert all(run["started_at"].endswith("+00:00") for run in runs)
    narrowed = server.get("/portfolios/runs", batch_type="symbol_batch", date="2025-10-30", limit=1)
    assert said(narrowed, documented.RUNS)["runs"] == [runs[1]]


def test_arguments_that_are_wrong_are_named_all_at_once(server: ServerProcess) -> None:
    wrong = server.get("/portfolios/runs", batch_type="x", date="2025-02-30", limit="0", colour="red")
    assert fields(wrong, documented.RUNS) == {"batch_type", "date", "limit", "colour"}
    assert fields(server.get("/portfolios/CUPS/snapshots", **{"from": "x", "to": "y"}), documented.SNAPSHOTS) == {
        "from",
        "to",
    }
    backwards = server.get("/portfolios/CUPS/snapshots", **{"from": "2025-10-30", "to": "2025-10-29"})
    assert fields(backwards, documented.SNAPSHOTS) == {"to"}
    for path, operation in (("exposures", documented.EXPOSURES), ("tie-out", documented.TIE_OUT)):
        assert fields(server.get(f"/portfolios/CUPS/{path}", date="20251030"), operation) == {"date"}


@pytest.mark.parametrize("book", BOOKS)
def test_snapshots_are_those_of_the_days_asked_for(server: ServerProcess, book: str) -> None:
    path = f"/portfolios/{book}/snapshots"
    both = said(server.get(path), documented.SNAPSHOTS)["snapshots"]
    assert [one["date"] for one in both] == ["2025-10-29", "2025-10-30"]
    last = said(server.get(path, **{"from": "2025-10-30", "to": "2025-10-30"}), documented.SNAPSHOTS)
    assert last == {"book": book, "snapshots": both[1:]}
    assert both[1]["coverage"]["positions"] == both[1]["counts"]["positions"]


def test_a_book_that_nobody_knows_has_no_snapshots(server: ServerProcess) -> None:
    empty = said(server.get("/portfolios/NO%2FBODY/snapshots"), documented.SNAPSHOTS)
    assert empty == {"book": "NO/BODY", "snapshots": []}
    said(server.get("/portfolios/%00/snapshots"), documented.EXPOSURES, 404)  # PostgreSQL has no such text
    said(server.get("/portfolios/NOBODY/exposures"), documented.EXPOSURES, 404)
    said(server.get("/portfolios/CUPS/exposures", date="2025-10-28"), documented.EXPOSURES, 404)
    said(server.get("/portfolios/CUPS/tie-out", date="2025-10-28"), documented.TIE_OUT, 404)


def test_exposures_are_those_of_the_section_on_the_day_of_the_snapshot(server: ServerProcess) -> None:
    found = said(server.get("/portfolios/EXO/exposures", date="2025-10-29"), documented.EXPOSURES)
    asked = {"env_date": "2025-10-29", "pos_date": "2025-10-29", "books": "EXO", "time_of_day": "EOD"}
    section = server.environment(**asked)["sections"]["exposures"]["data"]["by_book"]["EXO"]
    assert found == {"book": "EXO", "date": "2025-10-29", **section}
    assert found["exposures"]["market_beta"] == pytest.approx(1, abs=0.5)
    assert "USD" in found["note"]
    newest = said(server.get("/portfolios/EXO/exposures"), documented.EXPOSURES)
    assert newest["date"] == "2025-10-30"


@pytest.mark.parametrize("book", BOOKS)
def test_the_demo_ties_out_to_the_cent(server: ServerProcess, book: str) -> None:
    found = said(server.get(f"/portfolios/{book}/tie-out"), documented.TIE_OUT)
    assert (found["date"], found["previous_snapshot"]) == ("2025-10-30", "2025-10-29")
    assert (found["ties_out"], found["positions_off"]) == (True, 0)
    assert found["trades"] > 0
    assert found["totals"]["snapshot"] == pytest.approx(found["totals"]["rolled_forward"], abs=0.005)
    first = said(server.get(f"/portfolios/{book}/tie-out", date="2025-10-29"), documented.TIE_OUT)
    assert (first["ties_out"], first["previous_snapshot"]) == (True, None)


# --- what is entered -------------------------------------------------------------------------------------------------


@pytest.fixture
def no_values_left(server: ServerProcess) -> Iterator[None]:
    """Takes back what a test has entered: others find the demo as it was."""
    yield
    with (
        open_store(f"sqlite:///{server.log.with_name('position_server.sqlite')}") as store,
        store.write() as connection,
    ):
        connection.execute(delete(private_valuations))


@pytest.mark.usefixtures("no_values_left")
def test_a_value_by_hand_shows_in_the_section_and_is_no_longer_what_the_night_had(server: ServerProcess) -> None:
    answer = said(
        server.client.put(PRIVATE, json={"market_value": 2_000_000, "valued_by": "ada"}), documented.VALUATION
    )
    assert (answer["valued_on"], answer["valued_by"], answer["replaced"]) == ("2025-10-30", "ada", False)
    body = {"market_value": 2_100_000.5, "valued_on": "2025-10-30"}
    again = said(server.client.put(PRIVATE, json=body), documented.VALUATION)
    assert (again["valued_by"], again["replaced"], again["currency"]) == ("anonymous", True, "USD")
    asked = {"env_date": "2025-10-30", "pos_date": "2025-10-30", "books": "EXO", "time_of_day": "EOD", "max_age": 0}
    rows = server.environment(**asked)["sections"]["private"]["data"]["positions"]
    row = next(row for row in rows if row["instrument"] == "PVT-HARBOR-LP")
    assert (row["market_value"], row["valued_on"], row["valued_by"]) == (2_100_000.5, "2025-10-30", "anonymous")
    found = said(server.get("/portfolios/EXO/tie-out"), documented.TIE_OUT)
    off = [one["instrument"] for one in found["positions"] if one["differences"]]
    assert (found["ties_out"], off) == (False, ["PVT-HARBOR-LP"])


def test_values_that_make_no_sense_are_refused_field_by_field(server: ServerProcess) -> None:
    put = server.client.put
    wrong = {"market_value": True, "valued_on": "2025-02-30", "valued_by": "", "colour": 1}
    assert fields(put(PRIVATE, json=wrong), documented.VALUATION) == set(wrong)
    assert fields(put(PRIVATE, json={}), documented.VALUATION) == {"market_value"}
    for body in (b"", b"[]", b"{", b'{"market_value": NaN}', b'{"market_value": 1e999}', b"\xff"):
        assert fields(put(PRIVATE, content=body), documented.VALUATION) <= {"body", "market_value"}
    assert fields(put("/positions/CUPS/AAPL/valuation", json={"market_value": 1}), documented.VALUATION) == {
        "instrument"
    }
    said(put("/positions/CUPS/PVT-HARBOR-LP/valuation", json={"market_value": 1}), documented.VALUATION, 404)
    said(put("/positions/NOBODY/X/valuation", json={"market_value": 1}), documented.VALUATION, 404)
    said(put(PRIVATE, content=b"x" * 3_000_000), documented.VALUATION, 413)
    tomorrow = {"market_value": 1, "valued_on": "2025-10-31"}
    assert fields(put(PRIVATE, json=tomorrow), documented.VALUATION) == {"valued_on"}
    assert server.get(PRIVATE).headers["Allow"] == "PUT"


def test_symbols_are_queued_and_can_be_followed(server: ServerProcess) -> None:
    asked = {"symbols": ["NOSUCH", "O:AAPL251121C00240000", "NOSUCH"]}
    answer = said(server.client.post("/onboarding/symbols", json=asked), documented.ONBOARD, 202)
    assert answer["queued"] == ["NOSUCH", "AAPL251121C00240000"]
    assert [job["symbol"] for job in answer["jobs"]] == answer["queued"]
    done = until(lambda: (job := said(server.get("/onboarding/NOSUCH"), documented.ONBOARDING))["completed_at"] and job)
    assert done["status"] == "failed"
    assert done["error_message"].startswith("no source of prices knows it")
    assert said(server.get("/onboarding/O:AAPL251121C00240000"), documented.ONBOARDING)["requested_by"] == "anonymous"
    said(server.get("/onboarding/NEVER"), documented.ONBOARDING, 404)
    audited = [line for line in server.log_lines() if line.get("action") == "onboarding"]
    assert audited[0]["details"] == {"symbols": asked["symbols"]}


def test_what_is_no_symbol_is_refused_and_nothing_queued(server: ServerProcess) -> None:
    post = server.client.post
    bad = {"symbols": ["NVDA", "not a symbol", "EURUSD"]}
    assert fields(post("/onboarding/symbols", json=bad), documented.ONBOARD) == {"symbols.1", "symbols.2"}
    said(server.get("/onboarding/NVDA"), documented.ONBOARDING, 404)
    for symbols in ([], "NVDA", None, [1], ["A"] * 1001):
        refused = fields(post("/onboarding/symbols", json={"symbols": symbols}), documented.ONBOARD)
        assert refused <= {"symbols", "symbols.0"}
