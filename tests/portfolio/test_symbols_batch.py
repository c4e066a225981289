"""`batch symbols` in one process: its phases, its gaps, and that doing it twice changes nothing."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, insert, select, update

from position_server.errors import BatchStopped, RunSuperseded, TooManyGaps
from position_server.portfolio.coordination import Run
from position_server.portfolio.factors import keep_missing
from position_server.portfolio.night import Night
from position_server.portfolio.prices import SourceError, UnknownSymbol, fetch_symbol
from position_server.portfolio.records import factors, runs
from position_server.portfolio.records.factors import Fit
from position_server.portfolio.records.prices import Bar
from position_server.portfolio.records.runs import SYMBOL_BATCH, BatchRun
from position_server.portfolio.symbols_batch import run_symbols
from position_server.store.engine import Store
from position_server.store.tables import closes, instruments, positions, price_histories
from tests.portfolio.desk import CALL, DAYS, FACTORS, HELD, NIGHT, PUT, Source, contents, histories, night
from tests.store.factories import close, instrument, position, put

DATA = ("instruments", "closes", "price_histories", "factor_fits", "factor_exposures")
ASKED_FROM = DAYS[0]


def run(store: Store, source: Source | None = None, **portfolio: Any) -> BatchRun:
    return run_symbols(night(store, **portfolio), lambda: source or Source())


def fits(store: Store, *names: str) -> dict[str, Fit]:
    with store.read() as connection:
        return factors.fits(connection, NIGHT, names or HELD)


def close_of(store: Store, name: str, day: date = NIGHT) -> tuple[float, str] | None:
    query = select(closes.c.close, closes.c.source).where(closes.c.instrument == name, closes.c.close_date == day)
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else (row[0], row[1])


def reference(name: str) -> Any:
    levels = histories()
    returns = {symbol: np.diff(values) / values[:-1] for symbol, values in levels.items()}
    import statsmodels.api as sm  # here: it takes two seconds, of every worker that collects the tests

    design = sm.add_constant(np.column_stack([returns[symbol] for symbol in FACTORS.values()]))
    return sm.OLS(returns[name], design).fit()


def test_a_night_prices_every_symbol_and_fits_every_equity(each_desk_store: Store) -> None:
    source = Source()
    found = run(each_desk_store, source)
    assert found.status == "completed"
    assert close_of(each_desk_store, "AAA") == (histories()["AAA"][-1], "close")
    assert (close_of(each_desk_store, CALL), close_of(each_desk_store, PUT)) == ((7.5, "close"), (3.25, "close"))
    for name, fit in fits(each_desk_store).items():
        expected = reference(name)
        assert list(fit.betas) == sorted(FACTORS)
        assert [fit.betas[factor] for factor in FACTORS] == pytest.approx(list(expected.params[1:]), abs=1e-9)
        assert (fit.r_squared, fit.observations, fit.flags) == (pytest.approx(expected.rsquared, abs=1e-9), 90, ())
    counted = {"symbols": 9, "equities": 4, "factors": 3, "options": 2, "fits": 4, "exposures": 12, "gaps": {}}
    assert {name: found.counts[name] for name in counted} == counted
    assert found.counts["closes_inserted"] == 9
    assert found.counts["skipped"] == {"BOND": ["US-BOND"], "PRIVATE": ["PVT"]}
    assert set(found.counts["seconds"]) == {"prices", "histories", "factors"}
    assert source.calls == [f"stocks {NIGHT}", "options 2"]


def test_options_have_prices_and_no_exposures(desk_store: Store) -> None:
    run(desk_store)
    assert fits(desk_store, CALL, PUT, "FMKT") == {}


def test_a_second_night_of_one_date_changes_no_data_and_asks_only_for_stocks(each_desk_store: Store) -> None:
    first = run(each_desk_store)
    before = contents(each_desk_store, *DATA)
    source = Source()
    second = run(each_desk_store, source)
    assert contents(each_desk_store, *DATA) == before
    assert source.calls == [f"stocks {NIGHT}"]
    assert (second.input_hash, second.supersedes) == (first.input_hash, first.run_id)
    changes = ("closes_inserted", "closes_updated", "fit_rows_inserted", "fit_rows_updated")
    assert [second.counts[name] for name in changes] == [0, 0, 0, 0]


def test_other_inputs_have_another_hash(desk_store: Store) -> None:
    first = run(desk_store)
    corrected = Source()
    corrected.stocks["AAA"] = Bar(NIGHT, 123.0)
    second = run(desk_store, corrected)
    assert second.input_hash != first.input_hash
    assert (second.counts["closes_updated"], close_of(desk_store, "AAA")) == (1, (123.0, "close"))
    assert run(desk_store, corrected, factor_window_days=80).input_hash != second.input_hash


def test_a_symbol_that_nobody_knows_is_a_gap_with_its_name(desk_store: Store) -> None:
    put(desk_store, instruments, instrument("ZZZ"))
    put(desk_store, positions, position("EXO", "ZZZ", NIGHT))
    found = run(desk_store)
    assert found.counts["gaps"] == {"ZZZ": f"no price of {NIGHT}"}
    assert fits(desk_store, "ZZZ")["ZZZ"] == Fit("ZZZ", {}, None, None, 0, ("too_little_history",))
    assert found.counts["flags"] == {"too_little_history": ["ZZZ"]}


def test_what_the_source_says_of_one_symbol_is_why_it_is_a_gap(desk_store: Store) -> None:
    source = Source()
    source.stocks["BBB"] = SourceError("BBB: a bar without its time")
    source.options[CALL] = SourceError(f"{CALL}: the newest quote is of 2025-10-31")
    found = run(desk_store, source)
    assert found.counts["gaps"] == {
        "BBB": "BBB: a bar without its time",
        CALL: f"{CALL}: the newest quote is of 2025-10-31",
    }
    assert fits(desk_store)["BBB"].flags == ("gaps",)
    assert fits(desk_store)["BBB"].observations == 89


def test_too_many_gaps_fail_the_run_and_fit_nothing(desk_store: Store) -> None:
    source = Source(stocks={"AAA": Bar(NIGHT, 100.0)}, options={})
    with pytest.raises(TooManyGaps, match=r"8 of 9 symbols have no price: .*BBB: no price of 2025-10-30"):
        run(desk_store, source)
    with desk_store.read() as connection:
        found = runs.current(connection, SYMBOL_BATCH, NIGHT)
    assert found is not None
    assert (found.status, fits(desk_store)) == ("failed", {})
    assert close_of(desk_store, "AAA") == (100.0, "close")  # it cost a call, and is right
    assert run(desk_store).status == "completed"


def test_a_source_that_is_away_fails_the_night_after_three_tries(desk_store: Store) -> None:
    away = [SourceError("no connection", is_transient=True) for _ in range(6)]
    source = Source(fail=away)
    with pytest.raises(TooManyGaps, match="stocks were not priced: no connection"):
        run(desk_store, source)
    assert source.calls == [f"stocks {NIGHT}"] * 3 + ["options 2"] * 3


def test_a_source_that_was_away_for_a_moment_is_asked_again(desk_store: Store) -> None:
    source = Source(fail=[SourceError("503", is_transient=True)])
    assert run(desk_store, source).counts["gaps"] == {}


def test_a_source_that_is_away_harms_nothing_where_all_prices_are_there(desk_store: Store) -> None:
    run(desk_store)
    refused = Source(fail=[SourceError("not authorised")])
    found = run(desk_store, refused)
    assert (found.status, found.counts["gaps"]) == ("completed", {})
    assert found.counts["warnings"] == ["stocks were not priced: not authorised"]


def test_a_close_that_was_entered_by_hand_stays(each_desk_store: Store) -> None:
    put(each_desk_store, closes, close("AAA", NIGHT, 101.5, "manual"), close(CALL, NIGHT, 9.0, "model"))
    source = Source()
    run(each_desk_store, source)
    assert (close_of(each_desk_store, "AAA"), close_of(each_desk_store, CALL)) == ((101.5, "manual"), (9.0, "model"))
    assert "options 1" in source.calls  # the one that has a close is not asked for


def test_an_option_that_is_quoted_for_another_day_is_priced_from_its_history(desk_store: Store) -> None:
    source = Source(options={CALL: SourceError("of another day"), PUT: Bar(NIGHT, 3.0)})
    source.past[CALL] = [Bar(NIGHT, 6.5)]
    run(desk_store, source)
    assert close_of(desk_store, CALL) == (6.5, "close")
    assert source.calls[-1] == f"history {CALL} {NIGHT} {NIGHT}"


def test_a_history_is_fetched_once_and_kept(each_desk_store: Store) -> None:
    with each_desk_store.write() as connection:
        connection.execute(delete(closes).where(closes.c.instrument == "DDD", closes.c.close_date < DAYS[40]))
        connection.execute(delete(closes).where(closes.c.instrument == "AAA", closes.c.close_date < DAYS[85]))
        connection.execute(insert(price_histories), {"instrument": "AAA", "fetched_from": ASKED_FROM})
    levels = histories()["DDD"]
    past = [Bar(day, level + 0.5) for day, level in zip(DAYS, levels, strict=True)]
    source = Source(past={"DDD": past})
    first = run(each_desk_store, source)
    assert source.calls[-1] == f"history DDD {ASKED_FROM} {NIGHT}"
    assert (first.counts["histories"], first.counts["calls"]) == (1, 3)
    assert fits(each_desk_store)["DDD"].observations == 90
    assert close_of(each_desk_store, "DDD", DAYS[39]) == (levels[39] + 0.5, "close")
    assert close_of(each_desk_store, "DDD", DAYS[40]) == (levels[40], "close")  # what was there is kept
    assert fits(each_desk_store)["AAA"].flags == ("too_little_history",)  # it is young: nobody asks again
    again = Source(past={"DDD": past})
    assert run(each_desk_store, again).counts["histories"] == 0


def test_a_history_that_cannot_be_had_now_is_asked_for_the_next_night(desk_store: Store) -> None:
    with desk_store.write() as connection:
        connection.execute(delete(closes).where(closes.c.instrument == "DDD"))
    source = Source()
    source.history = _refusing  # type: ignore[method-assign]
    assert run(desk_store, source).counts["warnings"] == ["DDD: no history: not authorised"]
    later = Source(past={"DDD": [Bar(DAYS[3], 50.0)]})
    assert run(desk_store, later).counts["histories"] == 1
    assert close_of(desk_store, "DDD", DAYS[3]) == (50.0, "close")


def test_the_universe_adds_instruments_that_the_source_knows_and_no_other(each_desk_store: Store) -> None:
    source = Source(past={"NEW": [Bar(day, 10.0 + n % 3) for n, day in enumerate(DAYS)]})
    source.stocks["NEW"] = Bar(NIGHT, 11.0)
    call = "AAA251219C00120000"
    source.options[call] = Bar(NIGHT, 1.0)
    found = run(each_desk_store, source, universe=("NEW", "NOPE", call))
    with each_desk_store.read() as connection:
        query = select(instruments.c.instrument, instruments.c.kind, instruments.c.strike)
        known = {row[0]: (row[1], row[2]) for row in connection.execute(query)}
    assert (known["NEW"], known[call], "NOPE" in known) == (("EQUITY", None), ("OPTION", 120.0), False)
    assert found.counts["gaps"] == {"NOPE": f"no price of {NIGHT}"}
    assert fits(each_desk_store, "NEW")["NEW"].observations == 90


def test_a_factor_that_the_source_knows_is_added_and_its_history_fetched(desk_store: Store) -> None:
    source = Source(past={"SPY": [Bar(day, 100.0 + n) for n, day in enumerate(DAYS)]})
    source.stocks["SPY"] = Bar(NIGHT, 190.0)
    found = run(desk_store, source, factors={"SPY": "SPY"})
    assert (found.counts["gaps"], found.counts["histories"]) == ({}, 1)
    assert list(fits(desk_store)["AAA"].betas) == ["SPY"]


def test_factors_that_are_gone_from_the_configuration_leave_no_exposures(each_desk_store: Store) -> None:
    run(each_desk_store)
    run(each_desk_store, factors={"SPY": "FMKT"})
    assert list(fits(each_desk_store)["AAA"].betas) == ["SPY"]
    run(each_desk_store, factors={"SPY": "NOPE"}, max_gap_share=1.0)
    fit = fits(each_desk_store)["AAA"]
    assert (fit.betas, fit.r_squared, fit.flags) == ({}, None, ("too_little_history",))


def test_a_split_is_flagged(desk_store: Store) -> None:
    with desk_store.write() as connection:
        mine = (closes.c.instrument == "CCC", closes.c.close_date >= DAYS[50])
        connection.execute(update(closes).where(*mine).values(close=closes.c.close / 4))
    source = Source()
    source.stocks["CCC"] = Bar(NIGHT, histories()["CCC"][-1] / 4)
    found = run(desk_store, source)
    assert found.counts["flags"] == {"jump": ["CCC"]}
    assert fits(desk_store)["CCC"].observations == 89


def test_positions_of_the_newest_day_count_and_those_of_a_closed_book_do_not(each_desk_store: Store) -> None:
    put(each_desk_store, instruments, *(instrument(name) for name in ("OLD", "LATE", "SOLD")))
    put(each_desk_store, positions, position("GONE", "OLD", date(2025, 10, 22)))
    put(each_desk_store, positions, position("LATE", "LATE", date(2025, 10, 27)))
    put(each_desk_store, positions, position("CUPS", "SOLD", date(2025, 10, 29)))
    put(each_desk_store, positions, position("LATE", "OLD", date(2025, 10, 31)))  # after the night
    assert set(run(each_desk_store).counts["gaps"]) == {"LATE"}


def test_a_night_across_midnight_stays_that_of_its_date(desk_store: Store) -> None:
    one, source = night(desk_store), Source()
    bars = source.stocks

    def slowly(day: date, stop: Any) -> dict[str, Any]:
        one.clock.advance(12 * 3600)  # type: ignore[attr-defined]
        return bars

    source.stock_bars = slowly  # type: ignore[assignment,method-assign]
    found = run_symbols(one, lambda: source)
    assert found.completed_at is not None
    assert (found.started_at.day, found.completed_at.day, found.batch_date) == (30, 31, NIGHT)
    assert fits(desk_store).keys() == set(HELD)


def test_a_night_that_was_missed_is_made_up_for(desk_store: Store) -> None:
    missed = DAYS[-2]
    with desk_store.write() as connection:
        connection.execute(delete(closes).where(closes.c.close_date == missed))
    put(desk_store, positions, position("CUPS", "AAA", missed))
    assert run(desk_store).counts["flags"] == {"gaps": list(HELD)}
    late = Source(stocks={name: Bar(missed, levels[-2]) for name, levels in histories().items()}, options={})
    found = run_symbols(night(desk_store, day=missed), lambda: late)
    assert (found.batch_date, found.counts["gaps"], found.counts["fits"]) == (missed, {}, 1)
    assert run(desk_store).counts["flags"] == {}


def test_who_is_superseded_at_work_writes_nothing_more(each_desk_store: Store) -> None:
    """Its process slept through its timeout in the middle of the night, and another one took its place."""
    one = night(each_desk_store)

    def sleep_through(day: date, stop: Any) -> dict[str, Bar]:
        one.clock.advance(500)  # type: ignore[attr-defined]
        other = night(each_desk_store, clock=one.clock)  # type: ignore[arg-type]
        assert isinstance(run_symbols(other, Source), BatchRun)
        return {"AAA": Bar(NIGHT, 999.0)}

    asleep = Source()
    asleep.stock_bars = sleep_through  # type: ignore[assignment,method-assign]
    with pytest.raises(RunSuperseded):
        run_symbols(one, lambda: asleep)
    assert close_of(each_desk_store, "AAA") == (histories()["AAA"][-1], "close")
    with each_desk_store.read() as connection:
        assert [found.status for found in runs.listed(connection)] == ["completed", "superseded"]


def test_a_batch_that_is_told_to_end_asks_nothing_more_and_has_failed(desk_store: Store) -> None:
    one, source = night(desk_store), Source()
    one.stop.set()
    with pytest.raises(BatchStopped):
        run_symbols(one, lambda: source)
    with desk_store.read() as connection:
        found = runs.current(connection, SYMBOL_BATCH, NIGHT)
    assert found is not None
    assert (found.status, source.calls) == ("failed", [])


def test_every_phase_is_shown_with_its_steps(desk_store: Store) -> None:
    one = night(desk_store)
    run_symbols(one, Source)
    shown: Any = one.progress
    assert shown.phases == [("symbols", 1), ("stocks", 7), ("options", 2), ("histories", 0), ("factor exposures", 4)]
    assert shown.done == 14


# --- symbols one by one ----------------------------------------------------------------------------------------------


def onboard(one: Night, source: Source, symbol: str) -> str:
    return fetch_symbol(one.store, source, symbol, NIGHT, one.settings.portfolio, one.calendar, one.stop)


def test_a_symbol_that_the_store_does_not_know_is_priced_and_fitted(desk_store: Store) -> None:
    run(desk_store)
    one, source = night(desk_store), Source(past={"NEW": [Bar(day, 10.0 + n % 3) for n, day in enumerate(DAYS)]})
    assert onboard(one, source, "NEW") == "NEW"
    assert source.calls == [f"history NEW {ASKED_FROM} {NIGHT}"]
    before = fits(desk_store)
    assert keep_missing(desk_store, NIGHT, [*HELD, "NEW"], one.settings.portfolio, one.calendar) == ["NEW"]
    assert keep_missing(desk_store, NIGHT, [*HELD, "NEW"], one.settings.portfolio, one.calendar) == []
    assert fits(desk_store, "NEW")["NEW"].observations == 90
    assert fits(desk_store) == before


def test_fits_that_are_computed_alone_are_those_of_the_night(each_desk_store: Store) -> None:
    run(each_desk_store)
    before = contents(each_desk_store, "factor_fits", "factor_exposures")
    with each_desk_store.write() as connection:
        connection.exec_driver_sql("DELETE FROM factor_fits WHERE instrument = 'CCC'")
    one = night(each_desk_store)
    assert keep_missing(each_desk_store, NIGHT, HELD, one.settings.portfolio, one.calendar) == ["CCC"]
    assert contents(each_desk_store, "factor_fits", "factor_exposures") == before


def test_fits_are_not_written_by_a_run_that_was_superseded(desk_store: Store) -> None:
    one = night(desk_store)
    started = one.coordinator.begin(SYMBOL_BATCH, NIGHT, one.stop)
    assert isinstance(started, Run)
    one.clock.advance(500)  # type: ignore[attr-defined]
    run(desk_store, clock=one.clock)
    with desk_store.write() as connection:
        connection.exec_driver_sql("DELETE FROM factor_fits")
    with pytest.raises(RunSuperseded):
        keep_missing(desk_store, NIGHT, HELD, one.settings.portfolio, one.calendar, started.check)
    assert fits(desk_store) == {}


@pytest.mark.parametrize("symbol", ["NOPE", "EURUSD", "TSLA251", "AAA251219C00999000"])
def test_a_symbol_without_prices_leaves_nothing_behind(desk_store: Store, symbol: str) -> None:
    before = contents(desk_store, *DATA)
    with pytest.raises(UnknownSymbol):
        onboard(night(desk_store), Source(), symbol)
    assert contents(desk_store, *DATA) == before


def test_a_name_of_the_desk_s_own_is_not_looked_up(desk_store: Store) -> None:
    put(desk_store, instruments, instrument("BOND", "BOND"), instrument("SAP", currency="EUR"))
    source = Source(past={"BOND": [Bar(NIGHT, 1.0)], "SAP": [Bar(NIGHT, 1.0)]})
    for symbol in ("BOND", "SAP"):
        with pytest.raises(SourceError, match="loaded from files"):
            onboard(night(desk_store), source, symbol)
    assert source.calls == []


def test_an_option_is_onboarded_with_its_terms(desk_store: Store) -> None:
    name = "AAA251219C00130000"
    source = Source(past={name: [Bar(NIGHT, 0.4)]})
    assert onboard(night(desk_store), source, f"O:{name}") == name
    assert close_of(desk_store, name) == (0.4, "close")


def _refusing(*_: object) -> list[Bar]:
    raise SourceError("not authorised")
