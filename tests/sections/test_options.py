"""Options on the demo desk: their terms, the price of what they are on, overrides, and what is named."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from position_server.sections.base.wrapper import Workbench, open_workbench
from position_server.store.engine import open_store
from position_server.symbols import OptionSymbol
from tests.desk import Compute, outcome_of
from tests.store.factories import close, instrument, position, put, quote

ALL = ("CUPS", "YCSO", "EXO")
TODAY = date(2025, 10, 30)


def test_an_option_is_worth_contracts_times_shares_times_price(compute: Compute) -> None:
    rows = compute("options", books=ALL)["positions"]
    assert len(rows) > 20
    for row in rows:
        size = row["quantity"] * row["multiplier"]
        assert row["market_value"] == pytest.approx(size * row["price"])
        assert row["daily_pnl"] == pytest.approx(size * (row["price"] - row["previous_close"]))
        assert row["total_pnl"] == pytest.approx(size * (row["price"] - row["entry_price"]))


@pytest.mark.parametrize("time_of_day", ["SOD", "EOD", "LIVE"])
def test_the_terms_are_those_that_the_symbol_says_and_moneyness_is_price_over_strike(
    compute: Compute, time_of_day: str
) -> None:
    held = {
        row["instrument"]: row["price"] for row in compute("equities", books=ALL, time_of_day=time_of_day)["positions"]
    }
    seen = 0
    for row in compute("options", books=ALL, time_of_day=time_of_day)["positions"]:
        said = OptionSymbol.parse(row["occ_symbol"])
        assert (row["right"], row["strike"], row["expiry"]) == (said.right, said.strike, said.expiry.isoformat())
        assert row["underlying"] == said.underlying
        assert row["moneyness"] == pytest.approx(row["underlying_price"] / row["strike"])
        if row["underlying"] in held:
            assert row["underlying_price"] == held[row["underlying"]]
            seen += 1
    assert seen > 5


def test_an_override_moves_one_option_and_a_stranger_is_named(compute: Compute) -> None:
    plain = {(r["book"], r["instrument"]): r for r in compute("options", books=ALL)["positions"]}
    name = next(iter(plain))[1]
    moved = compute("options", {"live_price_overrides": {name: 5.0, "NOBODY": 1.0}}, books=ALL)
    assert moved["overrides_applied"] == {name: 5.0}
    assert "live_price_overrides: no position in NOBODY" in moved["warnings"]
    for row in moved["positions"]:
        if row["instrument"] == name:
            assert (row["price"], row["price_source"]) == (5.0, "override")
        else:
            assert row == plain[row["book"], row["instrument"]]


def test_a_quote_of_the_underlying_concerns_the_section(workbench: Workbench) -> None:
    outcome = outcome_of(workbench, "options", books=("CUPS",))
    assert outcome.data is not None
    rows = orjson.loads(outcome.data)["positions"]
    assert outcome.symbols == {row[field] for row in rows for field in ("instrument", "underlying")}


OPTION: Any = {"kind": "OPTION", "multiplier": 100.0, "option_right": "C", "strike": 10.0, "underlying": "AAA"}


@pytest.fixture
def odd_desk(tmp_path: Path) -> Workbench:
    """Options that lack something: expired, without an underlying's price, unpriced, with a name of its own."""
    url = f"sqlite:///{tmp_path / 'odd.sqlite'}"
    with open_store(url) as store:
        store.upgrade()
        put(
            store,
            "instruments",
            instrument("AAA"),
            instrument("AAA251017C00010000", **OPTION, expiry=date(2025, 10, 17)),
        )
        put(store, "instruments", instrument("AAA261218C00010000", **OPTION, expiry=date(2026, 12, 18)))
        put(store, "instruments", instrument("FLEX-1", **{**OPTION, "underlying": "ZZZ"}))
        put(store, "instruments", instrument("FLEX-2", **{**OPTION, "underlying": None}))
        names = ("AAA251017C00010000", "AAA261218C00010000", "FLEX-1", "FLEX-2")
        put(store, "positions", *(position("CUPS", name, investment_class="OPTIONS") for name in names))
        put(store, "closes", close("AAA251017C00010000", date(2025, 10, 17), 2.0))
        put(store, "closes", *(close(name, TODAY, 1.5) for name in ("FLEX-1", "FLEX-2")), close("AAA", TODAY, 12.0))
        put(store, "quotes", quote("AAA", TODAY, last_price=13.0))
    return open_workbench(url, "XNYS", "USD")


def test_what_an_option_lacks_is_null_and_named(odd_desk: Workbench) -> None:
    outcome = outcome_of(odd_desk, "options", pos_date=TODAY, books=("CUPS",))
    assert outcome.data is not None, outcome.error_stack
    data = orjson.loads(outcome.data)
    expired, unpriced, strange, bare = data["positions"]
    assert (expired["price"], expired["price_source"], expired["price_date"]) == (2.0, "carried", "2025-10-17")
    assert (unpriced["price"], unpriced["market_value"]) == (None, None)
    assert unpriced["moneyness"] == 1.2
    assert (strange["occ_symbol"], strange["underlying_price"], strange["moneyness"]) == (None, None, None)
    assert (bare["underlying"], bare["underlying_price"], bare["market_value"]) == (None, None, 15000.0)
    assert data["coverage"]["priced"] == 3
    assert data["warnings"] == [
        "no price for AAA261218C00010000",
        "expired before 2025-10-30: AAA251017C00010000",
        "no price of the underlying: ZZZ",
    ]


def test_live_takes_the_quote_of_the_underlying(odd_desk: Workbench) -> None:
    outcome = outcome_of(odd_desk, "options", pos_date=TODAY, books=("CUPS",), time_of_day="LIVE")
    assert outcome.data is not None, outcome.error_stack
    assert orjson.loads(outcome.data)["positions"][0]["underlying_price"] == 13.0
