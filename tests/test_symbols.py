from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.symbols import OptionSymbol, SymbolKind, kind_of

LETTERS = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LETTERS_AND_DIGITS = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
ROOTS = st.builds(lambda first, rest: first + "".join(rest), LETTERS, st.lists(LETTERS_AND_DIGITS, max_size=5))
OPTIONS = st.builds(
    OptionSymbol,
    root=ROOTS,
    expiry=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    right=st.sampled_from("CP"),
    strike=st.integers(1, 99_999_999).map(lambda thousandths: thousandths / 1000),
)


@given(OPTIONS)
def test_what_was_written_is_read_again_in_every_form(option: OptionSymbol) -> None:
    forms = [option.compact, option.padded, f"O:{option.compact}", f"O:{option.padded}"]
    assert [OptionSymbol.parse(form) for form in forms] == [option] * 4
    assert len(option.padded) == 21
    assert {kind_of(form) for form in forms} == {SymbolKind.OPTION}
    assert int(option.compact[-8:]) == Decimal(str(option.strike)) * 1000


@given(st.text(max_size=24))
def test_no_text_breaks_it(text: str) -> None:
    if kind_of(text) is SymbolKind.OPTION:
        option = OptionSymbol.parse(text)
        assert text.removeprefix("O:") in (option.compact, option.padded)


@given(OPTIONS, st.integers(0, 20), st.characters())
def test_a_symbol_with_one_wrong_character_is_another_one_or_none(option: OptionSymbol, at: int, other: str) -> None:
    """Never silently the same, and never an equity."""
    text = option.compact
    changed = text[: at % len(text)] + other + text[at % len(text) + 1 :]
    if changed == text:
        return
    assert kind_of(changed) in (SymbolKind.OPTION, None)
    if kind_of(changed) is SymbolKind.OPTION:
        assert OptionSymbol.parse(changed).compact == changed


@pytest.mark.parametrize(
    ("text", "root", "expiry", "right", "strike"),
    [
        ("AAPL251219C00250000", "AAPL", date(2025, 12, 19), "C", 250.0),
        ("AAPL  251219C00250000", "AAPL", date(2025, 12, 19), "C", 250.0),
        ("O:AAPL251219C00250000", "AAPL", date(2025, 12, 19), "C", 250.0),
        ("SPXW251031P05900000", "SPXW", date(2025, 10, 31), "P", 5900.0),
        ("BRKB  251219C00505000", "BRKB", date(2025, 12, 19), "C", 505.0),
        ("AAPL7 251219C00250000", "AAPL7", date(2025, 12, 19), "C", 250.0),
        ("AAPL7251219C00250000", "AAPL7", date(2025, 12, 19), "C", 250.0),
        ("GOOGL251219C00190000", "GOOGL", date(2025, 12, 19), "C", 190.0),
        ("TSLA251219P00400000", "TSLA", date(2025, 12, 19), "P", 400.0),
        ("TSLA2251219P00400000", "TSLA2", date(2025, 12, 19), "P", 400.0),
        ("F240229C00012500", "F", date(2024, 2, 29), "C", 12.5),  # a leap day, a root of one letter
        ("SIRI  251219C00000500", "SIRI", date(2025, 12, 19), "C", 0.5),
        ("X251219C00000001", "X", date(2025, 12, 19), "C", 0.001),
        ("NVR   251219C09999999", "NVR", date(2025, 12, 19), "C", 9999.999),
        ("NDXP  251219C25000000", "NDXP", date(2025, 12, 19), "C", 25_000.0),
        ("ABCDEF991231P99999999", "ABCDEF", date(2099, 12, 31), "P", 99_999.999),
    ],
)
def test_hard_cases_are_read(text: str, root: str, expiry: date, right: str, strike: float) -> None:
    assert OptionSymbol.parse(text) == OptionSymbol(root, expiry, right, strike)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("AAPL250229C00250000", "there is no day 250229"),  # 2025 has none
        ("AAPL251301C00250000", "there is no day 251301"),
        ("AAPL251219X00250000", "C or P"),
        ("AAPL251219C00000000", "strike"),
        ("AAPL251219C0250000", "no OCC symbol"),
        ("AAPL251219C002500000", "no OCC symbol"),
        ("AAPL 251219C00250000", "no OCC symbol"),  # padded, but not to 21 characters
        ("AAPL   251219C00250000", "no OCC symbol"),
        ("ABCDEFG251219C00250000", "no OCC symbol"),
        ("7AAPL251219C00250000", "no OCC symbol"),
        ("aapl251219c00250000", "no OCC symbol"),
        ("251219C00250000", "no OCC symbol"),
        ("O:O:AAPL251219C00250000", "no OCC symbol"),
        ("AAPL251219C00250000\n", "no OCC symbol"),
        ("AAPL251219C٠٠٢٥٠٠٠٠", "no OCC symbol"),  # digits, but not those of ASCII
        ("", "no OCC symbol"),
    ],
)
def test_what_is_almost_an_option_is_none_and_no_equity_either(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:
        OptionSymbol.parse(text)
    assert complaint in str(caught.value)
    assert kind_of(text) is None


@pytest.mark.parametrize("text", ["GOOGL", "BRK.B", "F", "ZNEWCO", "PXMKT", "BF.B", "SPX", "BAC-PL", "META"])
def test_an_equity_is_never_taken_for_an_option(text: str) -> None:
    assert kind_of(text) is SymbolKind.EQUITY


@pytest.mark.parametrize("text", ["EURUSD", "USDJPY", "BTCUSD", "ETHUSDT", "XAUUSD"])
def test_a_pair_is_no_equity(text: str) -> None:
    assert kind_of(text) is SymbolKind.PAIR


@pytest.mark.parametrize("text", ["TSLA251", "I:SPX", "^SPX", "US91282CNT44", "ZNZ25", "AAPL~2", "brk.b", ""])
def test_what_cannot_be_told_is_not_guessed(text: str) -> None:
    assert kind_of(text) is None


@pytest.mark.parametrize(
    ("root", "underlying", "multiplier"),
    [
        ("AAPL", "AAPL", 100.0),
        ("AAPL7", "AAPL", 10.0),  # a mini: ten shares
        ("TSLA1", "TSLA", None),  # adjusted: its deliverable is not in the symbol
        ("SPX", "SPX", 100.0),
        ("SPXW", "SPX", 100.0),
        ("NDXP", "NDX", 100.0),
        ("BRKB", "BRK.B", 100.0),
    ],
)
def test_what_a_contract_is_on_follows_from_its_root(root: str, underlying: str, multiplier: float | None) -> None:
    option = OptionSymbol(root, date(2025, 12, 19), "C", 100.0)
    assert (option.underlying, option.multiplier) == (underlying, multiplier)


@pytest.mark.parametrize(
    "terms",
    [
        ("", date(2025, 12, 19), "C", 250.0),
        ("AAPL", date(1999, 12, 17), "C", 250.0),
        ("AAPL", date(2100, 12, 17), "C", 250.0),
        ("AAPL", date(2025, 12, 19), "X", 250.0),
        ("AAPL", date(2025, 12, 19), "C", 0.0),
        ("AAPL", date(2025, 12, 19), "C", -1.0),
        ("AAPL", date(2025, 12, 19), "C", 100_000.0),
        ("AAPL", date(2025, 12, 19), "C", 250.0005),
        ("AAPL", date(2025, 12, 19), "C", 0.0004),
        ("AAPL", date(2025, 12, 19), "C", float("nan")),
        ("AAPL", date(2025, 12, 19), "C", float("inf")),
    ],
)
def test_terms_that_no_symbol_can_say_are_refused(terms: tuple[str, date, str, float]) -> None:
    with pytest.raises(ValueError):
        OptionSymbol(*terms)
