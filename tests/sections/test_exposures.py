"""Exposures: weighted by PUBLIC equities, as the sections value them, null and named where nothing was fitted."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.analytics.exposures import allocation_pct, weighted_exposures
from position_server.sections.base.wrapper import Workbench, open_workbench
from position_server.store.engine import open_store
from tests.desk import Compute, outcome_of
from tests.store.factories import Row, close, instrument, position, put

ALL = ("CUPS", "YCSO", "EXO")
WEDNESDAY, TODAY = date(2025, 10, 29), date(2025, 10, 30)
VALUED = ("bonds", "equities", "futures", "options", "private", "spot")
Amounts = st.lists(st.floats(-1e9, 1e9).filter(lambda value: abs(value) > 1e-6), min_size=1, max_size=20)


@pytest.mark.parametrize("time_of_day", ["SOD", "EOD", "LIVE"])
def test_every_position_is_valued_as_in_its_section(compute: Compute, time_of_day: str) -> None:
    totals = compute("exposures", books=ALL, time_of_day=time_of_day)["totals"]
    sections = [compute(name, books=ALL, time_of_day=time_of_day)["totals"] for name in VALUED]
    for book in ALL:
        by_section = [totals_of["by_book"].get(book, {}).get("market_value_base") or 0.0 for totals_of in sections]
        assert totals["by_book"][book]["market_value_base"] == pytest.approx(sum(by_section), rel=1e-12)


def test_before_any_night_the_exposures_are_null_and_a_warning_says_why(compute: Compute) -> None:
    data = compute("exposures", books=ALL)
    assert data["positions"] == []
    assert data["by_book"].keys() == set(ALL)
    for one in (*data["by_book"].values(), data["all"]):
        assert one["exposures"] == {"market_beta": None}
        assert one["coverage"] == 0.0
        assert one["exposures_as_of"] is None
    assert data["by_book"]["EXO"]["options_allocation_pct"] > 5
    assert data["by_book"]["YCSO"]["options_allocation_pct"] == 0
    expected = "no factor exposures on or before 2025-10-30: they come from the nightly symbols batch"
    assert expected in data["warnings"]


def fit(name: str, day: date, market_beta: float | None) -> Row:
    return {"instrument": name, "fit_date": day, "observations": 252, "market_beta": market_beta, "flags": "[]"}


def beta(name: str, day: date, factor: str, value: float) -> Row:
    return {"instrument": name, "exposure_date": day, "factor": factor, "beta": value}


@pytest.fixture
def fitted(tmp_path: Path) -> Workbench:
    """A long and a short with betas, one without, a fund, an option and a share that is held as PRIVATE."""
    url = f"sqlite:///{tmp_path / 'fitted.sqlite'}"
    with open_store(url) as store:
        store.upgrade()
        put(store, "instruments", *(instrument(name) for name in ("LONG", "SHORT", "YOUNG", "STAKE")))
        put(
            store,
            "instruments",
            instrument("FUND", kind="PRIVATE"),
            instrument("CALL", kind="OPTION", multiplier=100.0),
        )
        held: list[tuple[str, float, str]] = [
            ("LONG", 30.0, "PUBLIC"),
            ("SHORT", -10.0, "PUBLIC"),
            ("YOUNG", 10.0, "PUBLIC"),
            ("STAKE", 10.0, "PRIVATE"),
            ("FUND", 30.0, "PRIVATE"),
            ("CALL", 0.1, "OPTIONS"),
        ]
        for name, quantity, kind in held:
            put(store, "positions", position("CUPS", name, TODAY, quantity=quantity, investment_class=kind))
            put(store, "closes", close(name, TODAY, 10.0))
        put(store, "factor_fits", fit("LONG", WEDNESDAY, 9.0), fit("LONG", TODAY, 1.5), fit("SHORT", WEDNESDAY, 0.5))
        put(store, "factor_fits", fit("YOUNG", TODAY, None), fit("STAKE", TODAY, 7.0))
        put(store, "factor_exposures", beta("LONG", WEDNESDAY, "SPY", 9.0))
        put(store, "factor_exposures", beta("LONG", TODAY, "SPY", 1.0), beta("LONG", TODAY, "TLT", 0.2))
        put(store, "factor_exposures", beta("SHORT", WEDNESDAY, "SPY", 2.0), beta("SHORT", WEDNESDAY, "TLT", 0.6))
    return open_workbench(url, "XNYS", "USD")


def exposures(workbench: Workbench, **given: Any) -> dict[str, Any]:
    outcome = outcome_of(workbench, "exposures", **{"pos_date": TODAY, "books": ("CUPS",), **given})
    assert outcome.data is not None, outcome.error_stack
    return orjson.loads(outcome.data)


def test_weights_are_of_public_equities_with_betas_over_their_gross_value(fitted: Workbench) -> None:
    data = exposures(fitted)
    found = data["by_book"]["CUPS"]
    # 300 long and 100 short, over 400; 100 of YOUNG have no betas
    assert found["exposures"]["SPY"] == pytest.approx((300 * 1.0 - 100 * 2.0) / 400)
    assert found["exposures"]["TLT"] == pytest.approx((300 * 0.2 - 100 * 0.6) / 400)
    assert found["exposures"]["market_beta"] == pytest.approx((300 * 1.5 - 100 * 0.5) / 400)
    assert found["coverage"] == pytest.approx(400 / 500)
    assert found["private_allocation_pct"] == pytest.approx(100 * 400 / 1000)
    assert found["options_allocation_pct"] == pytest.approx(100 * 100 / 1000)
    assert found["exposures_as_of"] == "2025-10-29"
    assert found["note"].startswith(
        "weights: market values of 2 PUBLIC equities with factor exposures, over their gross"
    )
    assert "400.00 USD" in found["note"]
    assert data["all"] == found
    assert data["warnings"] == [
        "no factor exposures for YOUNG",
        "factor exposures from before 2025-10-30 for SHORT",
    ]


def test_the_receipt_dates_what_was_used_the_curve_and_the_value_by_hand(tmp_path: Path) -> None:
    monday, entered = date(2025, 10, 27), datetime(2025, 10, 29, 12, tzinfo=UTC)
    url = f"sqlite:///{tmp_path / 'desk.sqlite'}"
    with open_store(url) as store:
        store.upgrade()
        put(store, "instruments", instrument("NOTE", kind="BOND", isin="NOTE", coupon=0.04, maturity=date(2035, 8, 15)))
        put(store, "instruments", instrument("FUND", kind="PRIVATE"))
        put(store, "positions", position("CUPS", "NOTE", TODAY), position("EXO", "FUND", TODAY))
        put(store, "curves", *(curve_point(tenor, monday) for tenor in ("1Y", "10Y")))
        put(store, "closes", close("FUND", date(2025, 6, 30), 20.0, "manual"))
        by_hand = {"valued_on": WEDNESDAY, "valued_by": "ada", "entered_at": entered}
        put(store, "private_valuations", {"book": "EXO", "instrument": "FUND", "market_value": 1.0} | by_hand)
    workbench = open_workbench(url, "XNYS", "USD")
    for books, oldest, newest in (
        (("CUPS",), monday, monday),
        (("EXO",), WEDNESDAY, WEDNESDAY),
        (("CUPS", "EXO"), monday, WEDNESDAY),
    ):
        outcome = outcome_of(workbench, "exposures", pos_date=TODAY, books=books)
        assert outcome.error_stack == ""
        assert (outcome.oldest_price_date, outcome.market_data_as_of) == (str(oldest), str(newest))


def curve_point(tenor: str, day: date) -> Row:
    return {"curve": "UST_PAR", "curve_date": day, "tenor": tenor, "rate": 0.04}


def test_a_fit_of_later_than_the_prices_is_not_used(fitted: Workbench) -> None:
    found = exposures(fitted, env_date=WEDNESDAY)["by_book"]["CUPS"]
    assert found["exposures"]["market_beta"] is None  # and no price yet either
    assert found["coverage"] is None


@given(Amounts)
def test_the_exposure_of_equal_betas_is_the_beta_times_the_net_weight(amounts: list[float]) -> None:
    values = np.array(amounts)
    found = weighted_exposures(values, np.full((len(values), 2), 1.25))
    net = values.sum() / np.abs(values).sum()
    assert found.exposures == pytest.approx([1.25 * net] * 2, abs=1e-9)
    assert found.coverage == pytest.approx(1.0)


@given(Amounts)
def test_what_is_unknown_changes_no_exposure_and_no_allocation(amounts: list[float]) -> None:
    values = np.array(amounts)
    betas = np.linspace(-1, 2, len(values))[:, None]
    more, more_betas = np.append(values, np.nan), np.append(betas, [[1.0]], axis=0)
    assert weighted_exposures(more, more_betas).exposures == pytest.approx(weighted_exposures(values, betas).exposures)
    chosen = np.arange(len(values)) % 2 == 0
    assert allocation_pct(more, np.append(chosen, True)) == pytest.approx(allocation_pct(values, chosen))


def test_nothing_to_weigh_is_unknown_not_zero() -> None:
    nothing = weighted_exposures(np.empty(0), np.empty((0, 3)))
    assert np.isnan(nothing.exposures).all()
    assert nothing.coverage is None
    assert allocation_pct(np.array([np.nan]), np.array([True])) is None
