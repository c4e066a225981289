from __future__ import annotations

from collections import Counter
from datetime import UTC, date, time
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from position_server.business_days import Calendar
from position_server.demo.build import FIRST_POSITIONS, LAST_DAY, Demo
from position_server.demo.desk import ONBOARDED
from position_server.demo.holdings import after

NEW_YORK = ZoneInfo("America/New_York")
LEAST = {"FUTURE": 40, "BOND": 90, "EQUITY": 60, "OPTION": 30, "SPOT": 6, "PRIVATE": 5}


def test_the_books_stand_on_every_business_day_of_the_window(demo: Demo):
    days = list(demo.history.positions)
    assert Calendar.named("XNYS").between(FIRST_POSITIONS, LAST_DAY) == days
    assert len(days) >= 20
    assert days[-1] == date(2025, 10, 30)


@pytest.mark.parametrize(("kind", "least"), LEAST.items())
def test_enough_different_instruments_of_each_kind_are_held_every_day(demo: Demo, kind: str, least: int):
    kinds = _kinds(demo)
    for books in demo.history.positions.values():
        held = {name for holdings in books.values() for name in holdings if kinds[name] == kind}
        assert len(held) >= least


@pytest.mark.parametrize("book", ["CUPS", "YCSO"])
def test_both_cash_books_hold_futures_bonds_equities_and_spot_every_day(demo: Demo, book: str):
    kinds = _kinds(demo)
    for books in demo.history.positions.values():
        assert {"FUTURE", "BOND", "EQUITY", "SPOT"} <= {kinds[name] for name in books[book]}


def test_yesterdays_positions_and_todays_trades_are_todays_positions(demo: Demo):
    for before, today in pairwise(demo.history.positions):
        for book, holdings in demo.history.positions[today].items():
            done = [trade for trade in demo.history.trades if trade.book == book and trade.on == today]
            assert after(demo.history.positions[before][book], done) == holdings


def test_the_first_day_has_no_trades(demo: Demo):
    assert min(trade.on for trade in demo.history.trades) > FIRST_POSITIONS


def test_no_position_is_empty(demo: Demo):
    books = [book for books in demo.history.positions.values() for book in books.values()]
    assert all(holding.quantity for book in books for holding in book.values())


@pytest.mark.parametrize("book", ["CUPS", "YCSO"])
def test_the_last_day_has_trades_in_several_kinds(demo: Demo, book: str):
    kinds = _kinds(demo)
    traded = Counter(
        kinds[trade.instrument] for trade in demo.history.trades if (trade.book, trade.on) == (book, LAST_DAY)
    )
    assert {"FUTURE", "BOND", "EQUITY", "SPOT"} <= set(traded)


def test_trade_ids_are_unique(demo: Demo):
    ids = [trade.trade_id for trade in demo.history.trades]
    assert len(set(ids)) == len(ids)


def test_trades_happen_in_new_york_hours_and_are_told_in_utc(demo: Demo):
    for trade in demo.history.trades:
        local = trade.time.astimezone(NEW_YORK)
        assert trade.time.tzinfo is UTC
        assert local.date() == trade.on
        assert time(9, 30) <= local.time() <= time(16)


def test_trades_of_equities_and_coins_are_inside_the_days_real_range(demo: Demo):
    bars = demo.market.bars
    priced = [(trade, bars[trade.instrument][trade.on]) for trade in demo.history.trades if trade.instrument in bars]
    assert len(priced) > 50
    assert all(bar.low <= trade.price <= bar.high for trade, bar in priced)


def test_no_bond_is_traded_before_it_is_issued_or_while_its_market_is_closed(demo: Demo):
    bonds = {bond.isin: bond for bond in demo.market.treasuries}
    open_days = Calendar.named("XSIF")
    traded = [trade for trade in demo.history.trades if trade.instrument in bonds]
    assert all(bonds[trade.instrument].is_issued(trade.on) for trade in traded)
    assert all(open_days.is_business_day(trade.on) for trade in traded)


def test_what_was_onboarded_without_prices_is_in_exo_alone(demo: Demo):
    holders = {book for books in demo.history.positions.values() for book, held in books.items() if ONBOARDED in held}
    assert holders == {"EXO"}
    assert ONBOARDED in demo.history.positions[LAST_DAY]["EXO"]


def test_some_positions_are_not_in_dollars(demo: Demo):
    currencies = {row.instrument: row.currency for row in demo.desk}
    held = {name for book in demo.history.positions[LAST_DAY].values() for name in book}
    assert {"USD", "EUR", "JPY"} <= {currencies[name] for name in held}


def _kinds(demo: Demo) -> dict[str, str]:
    return {row.instrument: row.kind for row in demo.desk}
