"""A worker between two runs: what it keeps of the store, and that a load in another process is seen at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import Select, Table
from sqlalchemy.sql import visitors

from position_server.params import BaseParams
from position_server.sections.base import Needs
from position_server.sections.base.wrapper import Workbench, list_sections, open_workbench
from position_server.store.arrow import Columns
from position_server.store.columns import ColumnReader
from position_server.store.engine import open_store
from position_server.store.location import parse_location
from tests.desk import outcome_of
from tests.fakes import NOON, VirtualClock
from tests.postgres import fresh_schema
from tests.servers import REPOSITORY
from tests.store.factories import close, instrument, position, put
from tests.store.writers import Writers, open_writers

POS_DATE, BEFORE, TODAY = date(2025, 10, 29), date(2025, 10, 29), date(2025, 10, 30)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A desk of two shares, on either backend."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'desk.sqlite'}"
        _fill(url)
        yield url
    else:
        with fresh_schema() as url:
            _fill(url)
            yield url


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    """Processes that write to a store."""
    with open_writers() as writers:
        yield writers


def _fill(url: str) -> None:
    with open_store(url) as store:
        store.upgrade()
        put(store, "instruments", instrument("AAA"), instrument("BBB"))
        put(store, "positions", *(position("CUPS", name, POS_DATE) for name in ("AAA", "BBB")))
        put(store, "closes", *(close(name, day, 20.0) for name in ("AAA", "BBB") for day in (BEFORE, TODAY)))


def load(url: str, folder: Path, kind: str, text: str) -> None:
    """What an operator does meanwhile."""
    file = folder / f"{kind}.csv"
    file.write_text(text)
    command = [sys.executable, "-m", "position_server", "load", kind, str(file)]
    env = {**os.environ, "POSITION_SERVER_STORE__URL": url}
    subprocess.run(command, cwd=REPOSITORY, env=env, check=True, stdout=subprocess.DEVNULL)


def rows(workbench: Workbench, section: str = "equities", **given: Any) -> dict[str, dict[str, Any]]:
    outcome = outcome_of(workbench, section, books=("CUPS",), **given)
    assert outcome.data is not None, outcome.error_stack
    return {row["instrument"]: row for row in orjson.loads(outcome.data)["positions"]}


def test_a_load_in_another_process_is_in_the_next_answer(store_url: str, tmp_path: Path) -> None:
    workbench = open_workbench(store_url, "XNYS", "USD")
    assert {name: row["price"] for name, row in rows(workbench).items()} == {"AAA": 20.0, "BBB": 20.0}
    load(store_url, tmp_path, "closes", "close_date,instrument,close\n2025-10-30,AAA,21\n")
    assert {name: row["price"] for name, row in rows(workbench).items()} == {"AAA": 21.0, "BBB": 20.0}
    load(store_url, tmp_path, "closes", "close_date,instrument,close\n2025-10-29,BBB,18\n")
    assert rows(workbench)["BBB"]["previous_close"] == 18.0
    held = "pos_date,book,instrument,quantity,investment_class\n2025-10-29,CUPS,AAA,7,PUBLIC\n"
    load(store_url, tmp_path, "positions", held + "2025-10-29,CUPS,BBB,100,PUBLIC\n")
    assert rows(workbench)["AAA"]["quantity"] == 7.0
    load(store_url, tmp_path, "instruments", "instrument,kind,currency,exchange\nBBB,EQUITY,EUR,XETR\n")
    assert (rows(workbench)["BBB"]["currency"], rows(workbench)["BBB"]["market_value_base"]) == ("EUR", None)
    load(store_url, tmp_path, "fx", "fx_date,pair,rate\n2025-10-30,EURUSD,1.25\n")
    assert rows(workbench)["BBB"]["market_value_base"] == 2500.0


def test_each_question_has_its_own_answer_from_what_is_kept(store_url: str) -> None:
    """Other days, times, books and sections than those just asked for are not mixed up."""
    workbench = open_workbench(store_url, "XNYS", "USD")
    fresh: Any = {}
    asked: list[dict[str, Any]] = [
        {},
        {"time_of_day": "SOD"},
        {"time_of_day": "LIVE"},
        {"env_date": date(2025, 10, 28)},
        {"pos_date": date(2025, 10, 28)},
        {"section": "spot"},
    ]
    for place, question in enumerate(asked):
        fresh[place] = rows(open_workbench(store_url, "XNYS", "USD"), **question)
    for _ in range(2):
        for place, question in enumerate(asked):
            assert rows(workbench, **question) == fresh[place]


class RecordingReader(ColumnReader):
    """A reader that knows which tables it read from."""

    def __init__(self, store_url: str) -> None:
        super().__init__(parse_location(store_url))
        self.tables: set[str] = set()

    def read(self, query: Select[Any]) -> Columns:
        self.tables |= {part.name for part in visitors.iterate(query) if isinstance(part, Table)}
        return super().read(query)


def tables_read(workbench: Workbench, reader: RecordingReader, **given: Any) -> set[str]:
    """The tables that an answer reads from."""
    reader.tables = set()
    rows(workbench, **given)
    return reader.tables


QUOTE = (
    "connection.execute(insert(quotes), {'instrument': 'AAA', 'quote_date': date(2025, 10, 30), 'last_price': 22.0,"
    " 'quote_time': datetime(2025, 10, 30, 15, tzinfo=UTC)})"
)
BOOKKEEPING = "connection.execute(insert(asset_sync), {'symbol': 'AAA', 'provider': 'p', 'sync_status': 'pending'})"


def test_a_quote_has_quotes_read_again_and_bookkeeping_nothing(store_url: str, writers: Writers) -> None:
    workbench = open_workbench(store_url, "XNYS", "USD")
    workbench.source = replace(workbench.source, reader=(reader := RecordingReader(store_url)))
    times: list[Any] = ["SOD", "EOD", "LIVE"]
    read = [tables_read(workbench, reader, time_of_day=time) for time in times]
    assert read[0] == {"instruments", "positions", "closes", "fx"}
    writers.commit(store_url, BOOKKEEPING)
    assert [tables_read(workbench, reader, time_of_day=time) for time in times] == [set(), set(), set()]
    writers.commit(store_url, QUOTE)
    assert [tables_read(workbench, reader, time_of_day=time) for time in times[:2]] == [set(), set()]
    assert tables_read(workbench, reader, time_of_day="LIVE") == {"instruments", "quotes"}  # names, by their key
    assert rows(workbench, time_of_day="LIVE")["AAA"]["price"] == 22.0


FIT = (
    "connection.execute(insert(factor_fits), {'instrument': 'AAA', 'fit_date': date(2025, 10, 30), 'market_beta': 1.5,"
    " 'observations': 60, 'flags': '[]'})"
)
VALUATION = (
    "connection.execute(insert(private_valuations), {'book': 'CUPS', 'instrument': 'AAA', 'market_value': 7.0,"
    " 'valued_on': date(2025, 10, 30), 'valued_by': 'desk', 'entered_at': datetime(2025, 10, 30, 15, tzinfo=UTC)})"
)


def test_fits_and_valuations_are_read_again_when_they_changed(store_url: str, writers: Writers) -> None:
    reader = RecordingReader(store_url)
    source = replace(open_workbench(store_url, "XNYS", "USD").source, reader=reader)
    needs = Needs(positions="EQUITY", valuations=True, factors=True, previous=False)
    base = BaseParams(env_date=TODAY, pos_date=POS_DATE, books=("CUPS",), time_of_day="EOD")

    def found() -> tuple[float, float, set[str]]:
        reader.tables = set()
        market = source.read(needs, base, TODAY, NOON, None).market
        assert market.factors is not None
        assert market.valuations is not None
        return market.factors.market_beta[0], market.valuations.market_value[0], reader.tables

    assert np.isnan(found()[:2]).all()
    writers.commit(store_url, FIT)
    assert found()[0] == 1.5
    writers.commit(store_url, VALUATION)
    assert found() == (1.5, 7.0, {"private_valuations"})
    writers.commit(store_url, QUOTE)
    assert found() == (1.5, 7.0, set())


CHANGES = {
    "closes": "connection.execute(update(closes).values(close=closes.c.close * 1.01))",
    "curves": "connection.execute(update(curves).values(rate=curves.c.rate + 0.001))",
    "fx": "connection.execute(update(fx).values(rate=fx.c.rate * 1.01))",
    "instruments": "connection.execute(update(instruments).values(multiplier=instruments.c.multiplier * 2))",
    "positions": "connection.execute(delete(positions).where(positions.c.book == 'YCSO'))",
    "quotes": "connection.execute(update(quotes).values(last_price=quotes.c.last_price * 1.01))",
    "trades": "connection.execute(update(trades).values(price=trades.c.price * 1.01))",
}


def test_what_is_kept_answers_as_a_new_worker_does_whichever_table_changed(
    demo_store: Path, tmp_path: Path, writers: Writers
) -> None:
    """Every section at every time of day: a table that a kept value did not name would show."""
    path = shutil.copy(demo_store, tmp_path)
    url = f"sqlite:///{path}"
    workbench = _timeless(url)
    answers = _answers(workbench)
    for table, change in CHANGES.items():
        writers.commit(url, change)
        fresh = _answers(_timeless(url))
        assert fresh != answers, f"no answer depends on {table}"
        answers = _answers(workbench)
        assert [question for question, answer in answers.items() if answer != fresh[question]] == [], table


def _timeless(url: str) -> Workbench:
    """A workbench to which it is always noon: some answers say how old a quote is."""
    return replace(open_workbench(url, "XNYS", "USD"), clock=VirtualClock())


def _answers(workbench: Workbench) -> dict[tuple[str, str], bytes | None]:
    """What every section answers on the business date, by its name and the time of day."""
    names = [section.name for section in list_sections(workbench)]
    questions = [(name, time) for name in names for time in ("SOD", "EOD", "LIVE")]
    return {(name, time): outcome_of(workbench, name, time_of_day=time).data for name, time in questions}
