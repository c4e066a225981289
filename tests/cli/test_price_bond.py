"""price-bond: the numbers of one bond, and one line for every mistake."""

from __future__ import annotations

import json
from typing import Any

import pytest

from position_server.cli import main

BOND = ["--coupon", "4.25", "--maturity", "2035-08-15", "--settlement", "2025-10-15"]
FIELDS = [
    "clean_price",
    "accrued",
    "dirty_price",
    "yield",
    "yield_pct",
    "macaulay_duration",
    "modified_duration",
    "convexity",
    "dv01",
    "previous_coupon",
    "next_coupon",
    "convention",
]


def priced(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    """The JSON answer."""
    assert main(["price-bond", *flags, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_street_is_the_default_convention(capsys: pytest.CaptureFixture[str]) -> None:
    found = priced(capsys, *BOND, "--yield", "4.117")
    assert list(found) == FIELDS
    assert round(found["clean_price"], 6) == 101.061897
    assert found["convention"] == "street"
    assert (found["yield"], found["yield_pct"]) == (0.04117, 4.117)
    assert (found["previous_coupon"], found["next_coupon"]) == ("2025-08-15", "2026-02-15")
    assert found["dirty_price"] == pytest.approx(found["clean_price"] + found["accrued"])
    assert found["accrued"] == pytest.approx(2.125 * 61 / 184)
    assert found["dv01"] == pytest.approx(found["dirty_price"] * found["modified_duration"] * 1e-4, rel=1e-3)


def test_treasury_discounts_the_first_period_with_simple_interest(capsys: pytest.CaptureFixture[str]) -> None:
    found = priced(capsys, *BOND, "--yield", "4.117", "--convention", "treasury")
    assert round(found["clean_price"], 6) == 101.057226


@pytest.mark.parametrize("convention", ["street", "treasury"])
def test_a_price_gives_the_yield_it_came_from(capsys: pytest.CaptureFixture[str], convention: str) -> None:
    there = priced(capsys, *BOND, "--yield", "4.117", "--convention", convention)
    back = priced(capsys, *BOND, "--clean-price", repr(there["clean_price"]), "--convention", convention)
    assert back == pytest.approx(there, abs=1e-12)


def test_the_price_given_is_the_price_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert priced(capsys, *BOND, "--clean-price", "99.1")["clean_price"] == 99.1


def test_a_bill_has_no_accrued_interest(capsys: pytest.CaptureFixture[str]) -> None:
    found = priced(capsys, "--coupon", "0", "--maturity", "2026-01-15", "--settlement", "2025-10-15", "--yield", "-0.5")
    assert found["accrued"] == 0
    assert found["clean_price"] > 100


def test_without_json_there_is_an_aligned_line_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["price-bond", *BOND, "--yield", "4.117"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == FIELDS
    assert len({len(line) for line in lines}) == 1
    assert "101.061897" in lines[0]


def with_flag(flag: str, value: str) -> list[str]:
    """The bond at a yield, with one flag changed or added."""
    flags = [*BOND, "--yield", "4"]
    if flag in flags:
        flags[flags.index(flag) + 1] = value
        return flags
    return [*flags, flag, value]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--coupon", "nan"),
        ("--coupon", "-1"),
        ("--coupon", "four"),
        ("--coupon", "1e400"),
        ("--maturity", "2035-02-30"),
        ("--maturity", "soon"),
        ("--settlement", "2035-08-15"),
        ("--settlement", "2040-01-01"),
        ("--settlement", "2025-13-01"),
        ("--yield", "nan"),
        ("--yield", "inf"),
        ("--yield", "-200"),
        ("--yield", "four"),
        ("--clean-price", "99"),
        ("--convention", "simple"),
    ],
)
def test_a_bad_flag_is_named_in_one_line(capsys: pytest.CaptureFixture[str], flag: str, value: str) -> None:
    assert main(["price-bond", *with_flag(flag, value)]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert f"{flag}:" in answer.err


@pytest.mark.parametrize("price", ["0", "-5", "nan", "inf", "dear", "1e308"])
def test_a_bad_price_is_named_in_one_line(capsys: pytest.CaptureFixture[str], price: str) -> None:
    assert main(["price-bond", *BOND, "--clean-price", price]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "--clean-price:" in error


@pytest.mark.parametrize("missing", ["--coupon", "--maturity", "--settlement", "--yield"])
def test_a_missing_flag_is_named_in_one_line(capsys: pytest.CaptureFixture[str], missing: str) -> None:
    flags = [*BOND, "--yield", "4"]
    at = flags.index(missing)
    assert main(["price-bond", *flags[:at], *flags[at + 2 :]]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert f"{missing}:" in error
