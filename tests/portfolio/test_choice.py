from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from position_server.portfolio.choice import Choice, choose, configured_names, new_instrument
from position_server.portfolio.records.prices import Terms
from position_server.settings import PortfolioSettings

NIGHT = date(2025, 10, 30)
NOVEMBER, OCTOBER = "AAPL251121C00250000", "AAPL251017C00250000"
AAPL, QQQ = Terms("AAPL", "EQUITY", "USD"), Terms("QQQ", "EQUITY", "USD")


def chosen(*held: tuple[Terms, str], known: tuple[Terms, ...] = (), listed: str = "", **settings: Any) -> Choice:
    given = PortfolioSettings(**({"factors": {"SPY": "SPY"}} | settings))
    return choose(held, {terms.instrument: terms for terms in known}, listed.split(), given, NIGHT)


def test_equities_and_options_are_processed_by_their_kind() -> None:
    choice = chosen((AAPL, "PUBLIC"), (Terms(NOVEMBER, "OPTION", "USD"), "OPTIONS"))
    assert choice.equities == ("AAPL",)
    assert [option.root for option in choice.options.values()] == ["AAPL"]
    assert choice.needed == ("AAPL", NOVEMBER, "SPY")


@pytest.mark.parametrize("kind", ["BOND", "FUTURE", "SPOT"])
def test_what_comes_from_files_is_named_instead(kind: str) -> None:
    """Whatever its name looks like: a bond that is called like a stock is a bond."""
    choice = chosen((Terms("AAPL", kind, "USD"), "PUBLIC"))
    assert (choice.equities, choice.skipped) == ((), {kind: ("AAPL",)})


def test_private_positions_are_never_looked_up() -> None:
    choice = chosen((AAPL, "PRIVATE"), (Terms("PVT", "PRIVATE", "USD"), "PRIVATE"))
    assert (choice.equities, choice.skipped) == ((), {"PRIVATE": ("AAPL", "PVT")})


def test_what_one_book_holds_privately_and_another_one_does_not_is_processed() -> None:
    choice = chosen((AAPL, "PRIVATE"), (AAPL, "PUBLIC"))
    assert (choice.equities, choice.skipped) == (("AAPL",), {})


def test_an_equity_of_another_currency_is_not_taken_for_the_one_of_the_provider() -> None:
    choice = chosen((Terms("SAP", "EQUITY", "EUR"), "PUBLIC"))
    assert (choice.equities, choice.skipped) == ((), {"not_in_usd": ("SAP",)})


def test_an_expired_option_is_named_and_one_that_expires_tonight_is_priced() -> None:
    tonight = "AAPL251030C00250000"
    choice = chosen(*((Terms(name, "OPTION", "USD"), "OPTIONS") for name in (OCTOBER, tonight)))
    assert (list(choice.options), choice.skipped) == ([tonight], {"expired": (OCTOBER,)})


def test_an_option_whose_name_is_no_symbol_is_named() -> None:
    choice = chosen((Terms("AAPL DEC CALL", "OPTION", "USD"), "OPTIONS"))
    assert (choice.options, choice.skipped) == ({}, {"no_symbol": ("AAPL DEC CALL",)})


def test_every_other_equity_of_the_store_is_priced_along_but_missed_by_nobody() -> None:
    choice = chosen((AAPL, "PUBLIC"), (Terms("PVT", "EQUITY", "USD"), "PRIVATE"), listed="AAPL MSFT PVT SPY")
    assert (choice.priced_only, choice.stocks) == (("MSFT",), ("AAPL", "MSFT", "SPY"))
    assert choice.needed == ("AAPL", "SPY")


def test_the_universe_is_routed_by_what_the_store_knows_else_by_the_text() -> None:
    universe = ("QQQ", "MSFT", f"O:{NOVEMBER}", "AAPL  251219P00200000", "EURUSD", "TSLA251", "TSLA1251121C00250000")
    choice = chosen(known=(QQQ,), universe=universe)
    assert choice.equities == ("MSFT", "QQQ")
    assert list(choice.options) == [NOVEMBER, "AAPL251219P00200000"]
    assert choice.added.keys() == {"MSFT", "SPY", NOVEMBER, "AAPL251219P00200000"}
    assert choice.skipped == {"no_symbol": ("EURUSD", "TSLA1251121C00250000", "TSLA251")}


def test_a_universe_name_that_the_store_knows_as_something_else_is_named() -> None:
    assert chosen(known=(Terms("QQQ", "FUTURE", "USD"),), universe=("QQQ",)).skipped == {"FUTURE": ("QQQ",)}


def test_factors_are_needed_in_whatever_currency_and_have_no_exposures_of_their_own() -> None:
    choice = chosen(known=(Terms("PXMKT", "EQUITY", "XXX"),), factors={"SPY": "PXMKT"})
    assert (choice.factors, choice.equities, choice.needed, choice.added) == (("PXMKT",), (), ("PXMKT",), {})


def test_a_factor_that_is_held_has_exposures_too() -> None:
    spy = Terms("SPY", "EQUITY", "USD")
    choice = chosen((spy, "PUBLIC"), known=(spy,))
    assert (choice.equities, choice.factors, choice.stocks) == (("SPY",), ("SPY",), ("SPY",))


def test_configured_names_are_those_of_the_store() -> None:
    settings = PortfolioSettings(factors={"SPY": "PXMKT"}, universe=(f"O:{NOVEMBER}", "QQQ"))
    assert configured_names(settings) == {"PXMKT", NOVEMBER, "QQQ"}


def test_a_new_instrument_is_what_its_symbol_says() -> None:
    assert new_instrument("MSFT") == {"instrument": "MSFT", "kind": "EQUITY", "currency": "USD", "multiplier": 1.0}
    option = new_instrument("O:AAPL7 251219P00250000")
    assert option == {
        "instrument": "AAPL7251219P00250000",
        "kind": "OPTION",
        "currency": "USD",
        "multiplier": 10.0,
        "expiry": date(2025, 12, 19),
        "underlying": "AAPL",
        "option_right": "P",
        "strike": 250.0,
    }


@pytest.mark.parametrize("symbol", ["EURUSD", "TSLA251", "", "AAPL1251219P00250000"])
def test_no_instrument_is_made_of_what_is_neither_equity_nor_standard_option(symbol: str) -> None:
    with pytest.raises(ValueError):
        new_instrument(symbol)
