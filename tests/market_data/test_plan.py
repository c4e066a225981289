"""What the plan promises holds on every schedule that its model allows, and reads as documented."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.errors import BadRequest
from position_server.market_data.ages import Budget
from position_server.market_data.assets import Asset, assets_of
from position_server.market_data.plan import Plan, SymbolPlan, plan, plan_answer
from position_server.market_data.priority_queue import Level
from position_server.settings import CONFIG_FILE, MarketDataSettings, Settings, load_settings
from tests.market_data.day import simulated
from tests.market_data.timetable import Ages, Timetable

SHIPPED = Budget(
    calls=5,
    window_seconds=60.0,
    priority_interval_seconds=300.0,
    queue_interval_seconds=15.0,
    secondary_interval_seconds=1800.0,
    stale_after_seconds=900.0,
    answer_seconds=10.0,
)
LEVELS = {
    "XAUUSD": Level.CRITICAL,
    "EURUSD": Level.CRITICAL,
    "BTCUSD": Level.CRITICAL,
    "ETHUSDT": Level.HIGH,
    "GBPUSD": Level.HIGH,
    "XAGUSD": Level.MEDIUM,
    "AUDUSD": Level.LOW,
}
EPSILON = 1e-6
SECONDS = st.floats(1, 60, allow_nan=False).map(lambda x: round(x, 2))
BUDGETS = st.builds(
    Budget,
    calls=st.integers(1, 12),
    window_seconds=SECONDS,
    priority_interval_seconds=st.one_of(SECONDS, SECONDS.map(lambda x: 6 * x)),
    queue_interval_seconds=st.one_of(st.just(5.0), SECONDS),
    secondary_interval_seconds=SECONDS.map(lambda x: 20 * x),
    stale_after_seconds=SECONDS.map(lambda x: 10 * x),
    answer_seconds=st.one_of(st.just(0.1), SECONDS.map(lambda x: x / 4)),
    symbols_per_call=st.integers(1, 6),
    queue_size=st.sampled_from([6, 1000]),
)


@st.composite
def desks(draw: st.DrawFn) -> dict[str, Level]:
    counts = {level: draw(st.integers(0, 9)) for level in Level}
    names = [f"{level.name}{n}" for level, count in counts.items() for n in range(count)]
    return {name: Level[name.rstrip("0123456789")] for name in draw(st.permutations(names))}


def ages_of(symbol: str, found: Plan) -> SymbolPlan:
    return next(one for one in found.symbols if one.symbol == symbol)


def ages(found: Plan) -> dict[str, tuple[float | None, float | None]]:
    return {one.symbol: (one.expected_age_seconds, one.worst_case_age_seconds) for one in found.symbols}


# --- the bounds hold -------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(BUDGETS, desks(), st.randoms(use_true_random=False), st.sampled_from(["slow", "quick", "mixed"]))
def test_no_quote_gets_older_than_the_plan_says(
    budget: Budget, levels: dict[str, Level], dice: random.Random, answers: str
) -> None:
    longest = budget.answer_seconds
    answer = {
        "slow": lambda: longest,
        "quick": lambda: longest / 100,
        "mixed": lambda: longest * dice.choice((0.0, dice.random(), 1.0)),
    }[answers]
    phases = (
        dice.uniform(0, budget.priority_interval_seconds),
        dice.uniform(0, budget.secondary_interval_seconds),
        dice.uniform(0, budget.queue_interval_seconds),
    )
    table = Timetable(budget, levels, answer, phases)
    seen = table.run(6 * budget.secondary_interval_seconds + 1000)
    for one in plan(budget, levels).symbols:
        if one.worst_case_age_seconds is not None:
            ages_then = seen.get(one.symbol, Ages(sent=0.0, stored=0.0))  # where its first turn is still to come
            assert ages_then.largest <= one.worst_case_age_seconds + EPSILON, one
            assert table.now - ages_then.sent <= one.worst_case_age_seconds + longest + EPSILON, one


@settings(max_examples=60)
@given(BUDGETS, desks())
def test_where_nothing_waits_for_long_quotes_are_as_old_as_expected(budget: Budget, levels: dict[str, Level]) -> None:
    """With immediate answers, on the beats of a start at zero.

    Fetched every T seconds and up to d late, a quote is between T/2 and (T + d²/T)/2 old in the mean, and a third of T
    makes 11 percent; first and last quote of 30 rounds another two.
    """
    seconds = max(budget.secondary_interval_seconds, budget.priority_interval_seconds)
    found = plan(budget, levels)
    seen = Timetable(budget, levels).run(30 * seconds)
    for one in found.symbols:
        is_critical = one.level is Level.CRITICAL
        asked = budget.priority_interval_seconds if is_critical else budget.secondary_interval_seconds
        worst = one.worst_case_age_seconds
        if one.expected_age_seconds == asked / 2 and worst is not None and worst - asked <= asked / 3:
            assert seen[one.symbol].mean == pytest.approx(one.expected_age_seconds, rel=0.15), one


# --- on the real beats -----------------------------------------------------------------------------------------------


def of_levels(**counts: int) -> list[Asset]:
    """So many assets of each level."""
    return [
        Asset(f"{name}{n}", f"C:{name}{n}", "forex", Level[name])
        for name, count in counts.items()
        for n in range(count)
    ]


@settings(max_examples=25)
@given(
    calls=st.integers(1, 6),
    window=st.sampled_from([60.0, 20.0, 100.0]),
    beats=st.sampled_from([(300.0, 15.0, 1800.0), (240.0, 20.0, 600.0), (100.0, 7.0, 300.0)]),
    counts=st.fixed_dictionaries({level.name: st.sampled_from([0, 1, 3, 249, 260, 600]) for level in Level}),
    longest=st.sampled_from([0.0, 0.2, 5.0]),
    dice=st.randoms(use_true_random=False),
)
def test_a_day_of_the_real_updater_keeps_what_the_plan_says(
    calls: int,
    window: float,
    beats: tuple[float, float, float],
    counts: dict[str, int],
    longest: float,
    dice: random.Random,
) -> None:
    """Its thread's own code on the limiter and the queue of the house, each answer within `longest`."""
    found = MarketDataSettings(
        calls=calls,
        window_seconds=window,
        timeout_seconds=max(longest / 2, 0.1),
        priority_interval_seconds=beats[0],
        queue_interval_seconds=beats[1],
        secondary_interval_seconds=beats[2],
    )
    assets = of_levels(**counts)
    day = simulated(assets, found, 4 * beats[2], answer=lambda: longest * dice.random())
    for one in plan(Budget.of(found), {asset.symbol: asset.level for asset in assets}).symbols:
        if one.worst_case_age_seconds is not None:
            times = [0.0, *day.refreshes.get(one.symbol, []), 4 * beats[2]]
            ages_then = [later - earlier for earlier, later in pairwise(times)]
            assert max(ages_then) <= one.worst_case_age_seconds, one


def test_the_shipped_day_is_as_old_as_planned() -> None:
    found = load_settings(CONFIG_FILE).market_data
    assets = assets_of(found)
    day = simulated(assets, found)
    for one in plan(Budget.of(found), {asset.symbol: asset.level for asset in assets}).symbols:
        gaps = [later - earlier for earlier, later in pairwise(day.refreshes[one.symbol])]
        assert max(gaps) <= one.worst_case_age_seconds  # type: ignore[operator]
        assert sum(gap * gap for gap in gaps) / 2 / sum(gaps) == pytest.approx(one.expected_age_seconds)


# --- the shipped schedule --------------------------------------------------------------------------------------------


def test_of_the_shipped_schedule_the_ages_are_these() -> None:
    """A call of the queue under way and the batch's own, 10 s each; what joins late by as much waits for a beat, is cut
    off by a batch until the next one, and takes a call of its own."""
    found = plan(SHIPPED, LEVELS)
    assert ages(found) == {
        **dict.fromkeys(("XAUUSD", "EURUSD", "BTCUSD"), (150.0, 300.0 + 20.0)),
        **dict.fromkeys(
            ("ETHUSDT", "GBPUSD", "XAGUSD", "AUDUSD"), (900.0, 1800.0 + 20.0 + 15.0 + (20.0 + 15.0) + 10.0)
        ),
    }
    assert (found.priority_calls, found.queue_calls) == (1, 1)
    assert found.utilisation_pct == pytest.approx(100 * (1 / 300 + 1 / 1800) * 60 / 5)


def test_what_the_settings_say_is_the_budget(settings: Settings) -> None:
    assert replace(Budget.of(settings.market_data), answer_seconds=10.0) == SHIPPED
    assert Budget.of(settings.market_data).answer_seconds == 2 * settings.market_data.timeout_seconds


def test_of_the_shipped_schedule_what_is_fetched_every_half_hour_goes_stale_half_of_the_time() -> None:
    found = plan(SHIPPED, LEVELS)
    assert ages_of("XAUUSD", found).stale_pct == 0
    assert ages_of("AUDUSD", found).stale_pct == 50
    assert found.to_dict()["goes_stale"] == ["ETHUSDT", "GBPUSD", "XAGUSD", "AUDUSD"]


def test_up_to_what_a_call_carries_more_symbols_cost_the_others_nothing() -> None:
    full = {**LEVELS, **{f"LOW{n}": Level.LOW for n in range(246)}}
    assert ages(plan(SHIPPED, LEVELS)).items() <= ages(plan(SHIPPED, full)).items()
    one_more = plan(SHIPPED, {**full, "LOW246": Level.LOW})
    assert ages_of("XAUUSD", one_more).worst_case_age_seconds == 320.0
    assert ages_of("ETHUSDT", one_more).worst_case_age_seconds == 1890.0  # it may join during a drain of two calls
    assert ages_of("LOW246", one_more).worst_case_age_seconds == 1900.0  # and waits for two itself


def test_without_critical_symbols_no_batch_is_in_the_way() -> None:
    found = plan(SHIPPED, {"AUDUSD": Level.LOW})
    assert ages(found) == {"AUDUSD": (900.0, 1800.0 + 10.0 + 15.0 + 10.0)}
    assert found.priority_calls == 0


def test_without_symbols_there_is_nothing_to_say() -> None:
    found = plan(SHIPPED, {})
    assert (found.symbols, found.utilisation_pct) == ((), 0.0)


# --- overload --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"calls": 1, "priority_interval_seconds": 130.0},
            "the priority batches (1 of 1 calls) leave the queue no call that is sure",
        ),
        ({"priority_interval_seconds": 15.0}, "priority batches may hold the queue up for 95 s of every 15 s"),
    ],
)
def test_a_queue_that_gets_no_sure_call_has_no_bound_and_says_why(change: dict[str, float], reason: str) -> None:
    found = plan(replace(SHIPPED, **change), LEVELS)  # type: ignore[arg-type]
    low = ages_of("AUDUSD", found)
    assert (low.worst_case_age_seconds, low.reason, low.goes_stale) == (None, reason, True)
    assert ages_of("XAUUSD", found).worst_case_age_seconds is not None


def test_with_a_single_call_a_minute_the_queue_is_served_between_the_batches() -> None:
    found = ages_of("AUDUSD", plan(replace(SHIPPED, calls=1), LEVELS))
    assert found.reason is None
    assert 1800 < found.worst_case_age_seconds < 1800 + 3 * 300  # type: ignore[operator]


def test_levels_that_take_every_call_starve_those_below_and_nobody_above() -> None:
    """A symbol a call, and some 70 calls sure in 1800 s: ten high ones fit, 200 medium ones take their turns."""
    few = replace(SHIPPED, symbols_per_call=1)
    levels = {
        f"{level.name}{n}": level for level, count in ((Level.HIGH, 10), (Level.MEDIUM, 200)) for n in range(count)
    }
    found = plan(few, {**levels, "AUDUSD": Level.LOW})
    high, medium, low = (ages_of(name, found) for name in ("HIGH0", "MEDIUM0", "AUDUSD"))
    assert high.worst_case_age_seconds is not None
    assert medium.worst_case_age_seconds is not None
    assert high.worst_case_age_seconds < medium.worst_case_age_seconds
    assert (low.worst_case_age_seconds, low.reason) == (None, "higher levels join the queue as fast as calls are sure")
    assert (low.expected_age_seconds, low.stale_pct) == (None, 100.0)


def test_what_a_full_queue_refuses_is_never_fetched() -> None:
    found = plan(replace(SHIPPED, queue_size=3), LEVELS)
    assert [one.reason for one in found.symbols if one.worst_case_age_seconds is None] == [
        "the queue is full at 3 symbols and refuses it"
    ]
    assert ages_of("AUDUSD", found).expected_age_seconds is None


def test_critical_symbols_of_more_calls_than_a_window_has_wait_for_the_next_ones() -> None:
    many = {f"PAIR{n}": Level.CRITICAL for n in range(7)}
    found = ages_of("PAIR6", plan(replace(SHIPPED, symbols_per_call=1, answer_seconds=1.0), many))
    assert found.expected_age_seconds == (300 + 60.2) / 2
    assert found.worst_case_age_seconds == 300 + 2 * 60.2 + 7 * 1.0


@settings(max_examples=100)
@given(BUDGETS, desks(), st.sampled_from(list(Level)))
def test_one_more_symbol_makes_no_other_one_younger_in_the_worst_case(
    budget: Budget, levels: dict[str, Level], level: Level
) -> None:
    before, after = ages(plan(budget, levels)), ages(plan(budget, {**levels, "ONE-MORE": level}))
    for symbol, (_, worst) in before.items():
        assert (after[symbol][1] or math.inf) >= (worst or math.inf) - EPSILON


@settings(max_examples=100)
@given(BUDGETS, desks())
def test_an_expected_age_is_within_the_bound_and_there_where_a_bound_is(
    budget: Budget, levels: dict[str, Level]
) -> None:
    for one in plan(budget, levels).symbols:
        assert (one.worst_case_age_seconds is None) == (one.reason is not None)
        if one.worst_case_age_seconds is not None:
            assert one.expected_age_seconds is not None
            assert one.expected_age_seconds <= one.worst_case_age_seconds


def test_a_plan_of_ten_thousand_symbols_takes_no_longer_than_it_may() -> None:
    many = {f"PAIR{n}": Level.LOW for n in range(10_000)}
    found = plan(replace(SHIPPED, queue_size=20_000), many)
    assert len({one.worst_case_age_seconds for one in found.symbols}) == 1


# --- the answer ------------------------------------------------------------------------------------------------------


def test_additions_are_shown_beside_what_was_without_them() -> None:
    answer = plan_answer(replace(SHIPPED, symbols_per_call=4), LEVELS, {"NZDUSD": Level.LOW})
    rows = {row["symbol"]: row for row in answer["symbols"]}
    assert [name for name, row in rows.items() if row["added"]] == ["NZDUSD"]
    assert rows["NZDUSD"]["before"] is None
    assert (answer["queue_calls"], answer["before"]["queue_calls"]) == (2, 1)
    assert "NZDUSD" in answer["goes_stale"]
    assert "NZDUSD" not in answer["before"]["goes_stale"]
    high = rows["ETHUSDT"]
    assert (high["worst_case_age_seconds"], high["before"]["worst_case_age_seconds"]) == (1890.0, 1880.0)
    assert high["before"].keys() == high.keys() - {"symbol", "level", "added", "before"}


def test_without_additions_there_is_no_before() -> None:
    answer = plan_answer(SHIPPED, LEVELS, {})
    assert answer["before"] is None
    assert {row["before"] for row in answer["symbols"]} == {None}


def test_a_bound_is_rounded_up() -> None:
    one = SymbolPlan("EURUSD", Level.CRITICAL, 150.04, 320.0001, False, 0.0, None)
    assert (one.to_dict()["expected_age_seconds"], one.to_dict()["worst_case_age_seconds"]) == (150.0, 320.1)


def test_an_addition_that_is_an_asset_already_is_refused() -> None:
    with pytest.raises(BadRequest, match="add: EURUSD is an asset already") as refused:
        plan_answer(SHIPPED, LEVELS, {"EURUSD": Level.LOW, "NZDUSD": Level.LOW, "AUDUSD": Level.HIGH})
    assert [problem.message for problem in refused.value.problems] == [
        "EURUSD is an asset already",
        "AUDUSD is an asset already",
    ]
