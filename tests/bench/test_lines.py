from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.lines import at_least, at_most, exactly, line, not_measured, number, percentile, ratios, table
from bench.report import BEGIN, END, replaced, report
from bench.run import summary

VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50)


def test_a_line_is_the_median_of_its_rounds_with_their_spread() -> None:
    one = line("hits", [3.0, 9.0, 4.0], "×", at_least(3.5))
    assert (one.value, one.spread, one.goal, one.met) == (4.0, (3.0, 9.0), "≥ 3.5", True)


def test_one_number_is_a_line_without_a_spread() -> None:
    assert line("start", 0.6, "s").to_dict() == {
        "name": "start",
        "value": 0.6,
        "unit": "s",
        "goal": None,
        "met": None,
        "spread": None,
        "note": "",
    }


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (at_least(0.8), 0.8, True),
        (at_least(0.8), 0.79, False),
        (at_most(0.7), 0.7, True),
        (at_most(0.7), 0.71, False),
        (exactly(1), 1, True),
        (exactly(1), 2, False),
        (exactly(1), 0, False),
    ],
)
def test_a_goal_is_met_at_its_bound_and_missed_beyond_it(goal: object, value: float, met: bool) -> None:
    assert goal.met(value) is met  # type: ignore[attr-defined]


def test_ratios_pair_the_rounds() -> None:
    assert ratios([10.0, 30.0], [5.0, 10.0]) == [2.0, 3.0]


def test_ratios_of_unequal_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_the_nearest_rank_percentile_of_a_hundred_values() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, percent) for percent in (50, 90, 99, 99.9, 100)] == [50, 90, 99, 100, 100]


@given(VALUES, st.floats(0, 100))
def test_a_percentile_is_a_value_that_was_observed_with_no_more_than_its_share_above(
    values: list[float], percent: float
) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value > found for value in values) <= len(values) * (100 - percent) / 100 + 1e-6


def test_the_table_says_met_missed_and_what_could_not_be_measured() -> None:
    text = table(
        [
            line("a", 2.0, "×", at_least(1)),
            line("b", 2.0, "×", at_most(1)),
            not_measured("c", "s", "market data are not built"),
        ]
    ).splitlines()
    assert ["met" in row for row in text] == [False, True, False, False]
    assert "MISSED" in text[2]
    assert text[3].endswith("market data are not built")


def test_the_summary_counts_goals_only() -> None:
    assert summary([line("a", 2.0, "×", at_least(1)), line("b", 1.0, "×")]) == "1 of 1 goals met."


@pytest.mark.parametrize(
    ("value", "text"), [(19_612.4, "19,612"), (0.8512, "0.851"), (3.0, "3"), (12.34, "12.3"), (0.0, "0")]
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_the_report_replaces_what_is_between_the_marks_only() -> None:
    page = f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    lines = [
        line("GET hit, 7 KB: nginx", 54_773.0, "/s"),
        line("start", 0.6, "s", at_most(0.7)),
        not_measured("age", "s", "not yet"),
    ]
    text = replaced(page, report(lines, "Remark."))
    assert text.startswith(f"before\n\n{BEGIN}\n\nRemark.")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "| nginx | 54,773 /s |" in text
    assert "| start | ≤ 0.7 | 0.6 s | | met |" in text
    assert "old" not in text


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        replaced("page", "text")
