"""Files that are refused: every bad line named, nothing loaded, on both backends."""

from __future__ import annotations

from pathlib import Path

import pytest

from position_server.errors import LoadError, StoreUnavailable
from position_server.store.engine import Store, open_store
from position_server.store.load import load_file
from tests.store.load.files import FILES, problems_of


def test_every_bad_line_is_named_with_its_field_and_nothing_is_loaded(store: Store) -> None:
    lines = [
        "close_date,instrument,close,volume,source",
        "2025-10-30,A,1,,",
        "2025-02-30,A,1,,",
        "30.10.2025,A,one,,",
        "2025-10-30,NOPE,1,-5,",
        "",
        "2025-10-30,B,,,guess",
        "2025-10-30,B",
        "2025-10-30,A,2,,",
    ]
    assert problems_of(store, "closes", lines) == [
        (3, "close_date: no such day: '2025-02-30'"),
        (4, "close: not a number: 'one'"),
        (4, "close_date: not a date (YYYY-MM-DD): '30.10.2025'"),
        (5, "instrument: not known: 'NOPE'"),
        (5, "volume: must not be negative: '-5'"),
        (7, "close: missing"),
        (7, "source: must be one of close, model, manual: 'guess'"),
        (8, "2 values, but the header names 5 columns"),
        (9, "the same instrument, close_date as on line 2"),
    ]


@pytest.mark.parametrize(
    "cell", ["nan", "NaN", "inf", "-Infinity", "1_000", "1,5", "0x10", "\u0661", "1e", "--1", "$5"]
)
def test_what_is_no_number_is_refused(store: Store, cell: str) -> None:
    assert problems_of(store, "fx", ["fx_date,pair,rate", f'2025-10-30,EURUSD,"{cell}"']) == [
        (2, f"rate: not a number: {cell!r}")
    ]


@pytest.mark.parametrize("cell", ["1e999", "-1e400"])
def test_number_beyond_all_bounds_is_refused(store: Store, cell: str) -> None:
    lines = ["close_date,instrument,close", f"2025-10-30,A,{cell}"]
    assert problems_of(store, "closes", lines) == [(2, f"close: too large a number: {cell!r}")]


@pytest.mark.parametrize("cell", ["0", "-1.5"])
def test_rate_of_exchange_must_be_positive(store: Store, cell: str) -> None:
    lines = ["fx_date,pair,rate", f"2025-10-30,EURUSD,{cell}"]
    assert problems_of(store, "fx", lines) == [(2, f"rate: must be greater than zero: {cell!r}")]


@pytest.mark.parametrize("cell", ["EURGBP", "USDUSD", "eurusd", "EUR/USD", "EUR"])
def test_pair_without_the_dollar_is_refused(store: Store, cell: str) -> None:
    [(line, message)] = problems_of(store, "fx", ["fx_date,pair,rate", f"2025-10-30,{cell},1"])
    assert (line, message.startswith("pair: not a currency pair")) == (2, True)


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("2025-10-30T11:30:00", "needs its offset"),
        ("2025-10-30", "needs its offset"),
        ("11:30", "not a timestamp"),
        ("0001-01-01T00:00:00+14:00", "no such time in UTC"),
    ],
)
def test_bad_timestamp_is_refused(store: Store, cell: str, complaint: str) -> None:
    lines = ["quote_time,instrument,last_price", f"{cell},A,1"]
    [(line, message)] = problems_of(store, "quotes", lines)
    assert (line, complaint in message) == (2, True)


def test_header_problems_are_all_named(store: Store) -> None:
    lines = ["close_date,instrument,close_price,open,open", "2025-10-30,A,1,1,1"]
    problems = problems_of(store, "closes", lines)
    assert [line for line, _ in problems] == [1, 1, 1]
    assert [message.split(" (")[0] for _, message in problems] == [
        "unknown column 'close_price'", "column 'open' is named twice", "column 'close' is missing",
    ]  # fmt: skip


@pytest.mark.parametrize("lines", [[], ["\n", "  \n"], ["\ufeff"]])
def test_empty_file_is_refused(store: Store, lines: list[str]) -> None:
    [(line, message)] = problems_of(store, "fx", lines)
    assert (line, message) == (1, "the file is empty; its first line names the columns: fx_date,pair,rate")


def test_file_without_a_header_is_refused(store: Store) -> None:
    problems = problems_of(store, "fx", FILES["fx"][1:])
    assert ("unknown column '2025-10-30'" in problems[0][1], problems[-1]) == (True, (1, "column 'rate' is missing"))


def test_broken_quotes_are_named_by_the_line_the_record_begins_on(store: Store) -> None:
    lines = ["fx_date,pair,rate\n", '"2025-10-30,EURUSD,1\n', "2025-10-30,EURUSD,1\n"]
    [(line, message)] = problems_of(store, "fx", lines)
    assert (line, message.startswith("not CSV")) == (2, True)


def test_line_numbers_count_lines_inside_quotes(store: Store) -> None:
    lines = ["instrument,kind,currency,name\n", 'X,EQUITY,USD,"two\n', 'lines"\n', "Y,STOCK,USD,\n"]
    assert [line for line, _ in problems_of(store, "instruments", lines)] == [2, 4]


@pytest.mark.parametrize("raw", [b"caf\xe9", b"a\x00b", b"a\x07b"])
def test_bytes_that_are_no_text_are_refused(store: Store, tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "instruments.csv"
    path.write_bytes(b"instrument,kind,currency\nX,EQUITY,USD\n" + raw + b",EQUITY,USD\n")
    with pytest.raises(LoadError) as caught:
        load_file(store, "instruments", path)
    [(line, message)] = caught.value.problems
    assert (line, "instrument: has characters" in message) == (3, True)
    message.encode()


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("BOND", ["coupon_pct", "maturity"]),
        ("OPTION", ["expiry", "right", "strike", "underlying"]),
        ("SPOT", ["base_currency"]),
        ("EQUITY", []),
    ],
)
def test_instrument_names_what_its_kind_needs(store: Store, kind: str, missing: list[str]) -> None:
    lines = ["instrument,kind,currency", f"X,{kind},USD"]
    if not missing:
        assert load_file(store, "instruments", lines).inserted == 1
        return
    assert problems_of(store, "instruments", lines) == [(2, f"{name}: missing") for name in missing]


def test_unknown_kind_is_a_key_error(store: Store) -> None:
    with pytest.raises(KeyError):
        load_file(store, "prices", [])


def test_store_that_is_not_migrated_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    with open_store(f"sqlite:///{tmp_path / 'empty.sqlite'}") as store, pytest.raises(StoreUnavailable):
        load_file(store, "fx", FILES["fx"])
