"""Futures, equities, spot, deltas and new trades on the demo desk: against arithmetic anyone can redo."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from position_server.sections.base.wrapper import Workbench, open_workbench
from position_server.store.engine import open_store
from tests.desk import Compute, outcome_of
from tests.store.factories import close, instrument, position, put

ALL = ("CUPS", "YCSO", "EXO")


def by_key(data: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["book"], row["instrument"]): row for row in data["positions"]}


def test_a_future_is_worth_what_it_gained_and_shows_its_notional(compute: Compute) -> None:
    for row in compute("futures", books=ALL)["positions"]:
        size = row["quantity"] * row["multiplier"]
        assert row["notional"] == pytest.approx(size * row["price"])
        assert row["market_value"] == pytest.approx(size * (row["price"] - row["entry_price"]))
        assert row["total_pnl"] == row["market_value"]
        assert row["daily_pnl"] == pytest.approx(size * (row["price"] - row["previous_close"]))
        assert row["days_to_expiry"] == (date.fromisoformat(row["expiry"]) - date(2025, 10, 30)).days
        assert row["price_source"] == "model"


def test_a_shock_by_root_moves_its_contracts_and_one_by_contract_goes_first(compute: Compute) -> None:
    plain = by_key(compute("futures"))
    key = next(key for key in plain if key[1].startswith("ZN"))
    data = compute("futures", {"price_shock_pct": {"ZN": 1, key[1]: -2, "XX": 5}})
    for place, row in by_key(data).items():
        factor = 0.98 if place[1] == key[1] else 1.01 if place[1].startswith("ZN") else 1
        assert row["price"] == pytest.approx(plain[place]["price"] * factor)
        assert (row["price_source"] == "override") == (factor != 1)
    assert data["warnings"] == ["price_shock_pct: no position in XX"]


def test_a_price_override_goes_before_a_shock(compute: Compute) -> None:
    contract = compute("futures")["positions"][0]["instrument"]
    data = compute("futures", {"price_shock_pct": 10, "live_price_overrides": {contract: 0.0}})
    assert {row["price"] for row in data["positions"] if row["instrument"] == contract} == {0.0}


@pytest.mark.parametrize("shock", [-100.5, {"AAPL": -101}])
def test_a_share_cannot_lose_more_than_all(workbench: Workbench, shock: Any) -> None:
    outcome = outcome_of(workbench, "equities", {"price_shock_pct": shock})
    assert outcome.data is None
    assert "greater than or equal to -100" in outcome.error_line


def test_a_share_can_lose_all(compute: Compute) -> None:
    rows = by_key(compute("equities", {"price_shock_pct": {"AAPL": -100}}))
    assert (rows["CUPS", "AAPL"]["price"], rows["CUPS", "AAPL"]["market_value"]) == (0, 0)


@pytest.mark.parametrize("section", ["equities", "spot"])
def test_value_is_quantity_times_price(compute: Compute, section: str) -> None:
    for row in compute(section, books=ALL)["positions"]:
        if row["price"] is None:
            assert row["instrument"] == "ZNEWCO"
            assert row["market_value"] is None
            continue
        assert row["market_value"] == pytest.approx(row["quantity"] * row["price"])
        assert row["total_pnl"] == pytest.approx(row["quantity"] * (row["price"] - row["entry_price"]), abs=1e-4)
        assert row["daily_pnl"] == pytest.approx(row["quantity"] * (row["price"] - row["previous_close"]), abs=1e-4)


def test_times_of_day_use_their_own_prices(compute: Compute) -> None:
    sod, eod, live = (by_key(compute("equities", time_of_day=t)) for t in ("SOD", "EOD", "LIVE"))
    before = by_key(compute("equities", env_date=date(2025, 10, 29)))
    key = ("CUPS", "AAPL")
    assert sod[key]["price"] == before[key]["price"]
    assert (sod[key]["price_date"], eod[key]["price_date"]) == ("2025-10-29", "2025-10-30")
    assert (eod[key]["price"], eod[key]["price_source"]) == (271.4, "close")
    assert (live[key]["price_source"], live[key]["price_date"]) == ("live", "2025-10-30")


def test_an_instrument_without_any_price_is_named_and_left_out_of_totals(compute: Compute) -> None:
    data = compute("equities", books=("EXO",))
    (unpriced,) = [row for row in data["positions"] if row["price"] is None]
    assert unpriced["instrument"] == "ZNEWCO"
    assert "no price for ZNEWCO" in data["warnings"]
    assert data["coverage"]["priced"] == data["coverage"]["positions"] - 1
    assert 0 < data["coverage"]["gross_share"] < 1
    known = sum(row["market_value_base"] for row in data["positions"] if row["price"] is not None)
    assert data["totals"]["by_book"]["EXO"]["market_value_base"] == pytest.approx(known)


def test_a_future_without_an_entry_price_has_no_value_and_is_named(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'desk.sqlite'}"
    with open_store(url) as store:
        store.upgrade()
        put(store, "instruments", instrument("ESZ25", kind="FUTURE", multiplier=50.0))
        put(store, "positions", position("CUPS", "ESZ25", date(2025, 10, 29), entry_price=None))
        put(store, "closes", close("ESZ25", date(2025, 10, 30), 6900.0))
    outcome = outcome_of(open_workbench(url, "XNYS", "USD"), "futures", books=("CUPS",))
    assert outcome.data is not None, outcome.error_stack
    data = orjson.loads(outcome.data)
    (row,) = data["positions"]
    assert (row["price"], row["market_value"], row["total_pnl"]) == (6900.0, None, None)
    assert data["warnings"] == ["no entry price for ESZ25"]


def test_money_in_another_currency_is_translated_at_the_snapshots_rate(compute: Compute) -> None:
    rows = [row for row in compute("spot", books=ALL)["positions"] if row["instrument"] == "USDJPY"]
    assert rows
    for row in rows:
        assert row["currency"] == "JPY"
        assert row["fx_rate"] == pytest.approx(1 / row["price"], rel=1e-4)
        assert row["market_value_base"] == pytest.approx(row["market_value"] * row["fx_rate"])


def test_live_spot_shows_its_quote(compute: Compute) -> None:
    quoted = [
        row for row in compute("spot", time_of_day="LIVE", books=ALL)["positions"] if row["price_source"] == "live"
    ]
    assert quoted
    for row in quoted:
        assert row["bid"] <= row["price"] <= row["ask"]
        assert row["spread"] == pytest.approx(row["ask"] - row["bid"])
        assert row["quote_age_seconds"] > 0
    closing = compute("spot", time_of_day="EOD", books=ALL)["positions"]
    assert all(row["quote_age_seconds"] is None for row in closing)


@pytest.mark.parametrize("section", ["futures", "equities", "spot", "bonds"])
def test_totals_are_the_sums_of_rows(compute: Compute, section: str) -> None:
    data = compute(section, books=ALL)
    for book in ALL:
        rows = [row for row in data["positions"] if row["book"] == book and row["market_value_base"] is not None]
        totals = data["totals"]["by_book"][book]
        assert totals["market_value_base"] == pytest.approx(sum(row["market_value_base"] for row in rows))
        assert totals["daily_pnl_base"] == pytest.approx(sum(row["daily_pnl"] * row["fx_rate"] for row in rows))
    whole = sum(totals["market_value_base"] for totals in data["totals"]["by_book"].values())
    assert data["totals"]["all"]["market_value_base"] == pytest.approx(whole)


def test_the_delta_of_a_book_without_rate_futures_is_that_of_its_bonds(compute: Compute) -> None:
    deltas, bonds = compute("ir_delta", books=ALL), compute("bonds", books=ALL)
    for book in ALL:
        from_bonds = bonds["totals"]["by_book"][book]["curve_dv01_base"]
        rate_futures = [
            row
            for row in compute("futures", books=(book,))["positions"]
            if row["root"] in {"ZT", "ZF", "ZN", "TN", "ZB", "UB"}
        ]
        whole = deltas["totals"]["by_book"][book]["curve_dv01_base"]
        if not rate_futures:
            assert whole == pytest.approx(from_bonds)
        else:
            assert whole != pytest.approx(from_bonds)
        assert sum(deltas["by_tenor"]["by_book"][book].values()) == pytest.approx(whole, rel=0.005)
    assert deltas["positions"] == []


def test_the_delta_of_a_treasury_future_is_near_its_cheapest_bonds(compute: Compute) -> None:
    """A basis point moves ZN by about 0.06 points and ZB by about 0.12 (CME's published DV01s of the last years)."""
    held = compute("futures", books=ALL)["positions"]
    bonds, deltas = compute("bonds", books=ALL), compute("ir_delta", books=ALL)
    from_futures = deltas["totals"]["all"]["curve_dv01_base"] - bonds["totals"]["all"]["curve_dv01_base"]
    about = {"ZT": 0.018, "ZF": 0.042, "ZN": 0.062, "TN": 0.083, "ZB": 0.125, "UB": 0.19}
    expected = sum(row["quantity"] * row["multiplier"] * about[row["root"]] for row in held if row["root"] in about)
    assert from_futures == pytest.approx(expected, rel=0.35)


def test_a_shift_changes_the_deltas(compute: Compute) -> None:
    plain, moved = compute("ir_delta"), compute("ir_delta", {"curve_shift_bp": 100})
    assert moved["totals"]["all"]["curve_dv01_base"] < plain["totals"]["all"]["curve_dv01_base"]
    assert moved["curve_shift_bp"] == 100


def test_the_deltas_cover_a_share_of_the_money_not_of_the_face(compute: Compute) -> None:
    """A curve on which nothing after 20 years is worth anything leaves the long bonds and futures without a delta."""
    shift = {"curve_shift_bp": {"30Y": 20_000}}
    data, bonds = compute("ir_delta", shift, books=("CUPS",)), compute("bonds", shift, books=("CUPS",))
    unknown_futures = {"UBZ25"}
    (warning,) = data["warnings"]
    assert unknown_futures == set(warning.removeprefix("no interest-rate delta for ").split(", ")) - {
        row["isin"] for row in bonds["positions"]
    }
    known, whole = 0.0, 0.0
    for row in bonds["positions"]:
        gross = abs(row["face"] * row["entry_price"] / 100)
        whole += gross
        known += gross if row["curve_dv01"] is not None else 0.0
    for row in compute("futures", books=("CUPS",))["positions"]:
        if row["root"] in {"ZT", "ZF", "ZN", "TN", "ZB", "UB"}:
            gross = abs(row["quantity"] * row["multiplier"] * row["entry_price"])
            whole += gross
            known += 0.0 if row["instrument"] in unknown_futures else gross
    assert data["coverage"]["gross_share"] == pytest.approx(known / whole)


@pytest.mark.parametrize("time_of_day", ["SOD", "EOD", "LIVE"])
def test_new_trades_are_those_after_pos_date_up_to_env_date(compute: Compute, time_of_day: str) -> None:
    rows = compute("new_trades", time_of_day=time_of_day)["positions"]
    assert rows
    for row in rows:
        assert row["trade_time"].startswith("2025-10-30")
        assert row["trade_time"].endswith("+00:00")
        assert (row["quantity"] < 0) == (row["side"] == "SELL")
    assert compute("new_trades", pos_date=date(2025, 10, 30), time_of_day=time_of_day)["positions"] == []


def test_new_trades_explain_the_change_of_positions(compute: Compute) -> None:
    before = {k: r["quantity"] for k, r in by_key(compute("equities")).items()}
    after = {k: r["quantity"] for k, r in by_key(compute("equities", pos_date=date(2025, 10, 30))).items()}
    for row in compute("new_trades")["positions"]:
        key = (row["book"], row["instrument"])
        if key in before or key in after:
            before[key] = before.get(key, 0) + row["quantity"]
    assert {k: v for k, v in before.items() if v} == after
