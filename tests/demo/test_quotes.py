from __future__ import annotations

from position_server.demo.build import LAST_DAY, Demo
from position_server.demo.desk import ONBOARDED


def test_a_quote_bids_no_more_than_it_asks_and_last_is_between(demo: Demo):
    assert all(0 < quote.bid <= quote.last_price <= quote.ask for quote in demo.quotes)


def test_spreads_are_tight(demo: Demo):
    assert all((quote.ask - quote.bid) / quote.last_price < 0.003 for quote in demo.quotes)


def test_quotes_with_a_real_day_stay_inside_it(demo: Demo):
    for quote in demo.quotes:
        bar = demo.market.bars.get(quote.instrument, {}).get(quote.quote_date)
        if bar and quote.high is not None and quote.low is not None:
            assert bar.low <= quote.low <= quote.last_price <= quote.high <= bar.high


def test_the_last_day_is_quoted_from_the_middle_of_the_session(demo: Demo):
    times = {quote.quote_time for quote in demo.quotes if quote.quote_date == LAST_DAY}
    assert {(moment.hour, moment.minute) for moment in times} == {(17, 30)}
    assert all(quote.quote_time.date() == quote.quote_date for quote in demo.quotes)


def test_most_but_not_all_equities_pairs_and_futures_are_quoted(demo: Demo):
    quoted = {quote.instrument for quote in demo.quotes}
    for kind, least in (("EQUITY", 80), ("SPOT", 10), ("FUTURE", 10)):
        names = {row.instrument for row in demo.desk if row.kind == kind}
        assert least <= len(names & quoted) < len(names)


def test_what_was_onboarded_without_prices_has_neither_quote_nor_close(demo: Demo):
    assert ONBOARDED not in {quote.instrument for quote in demo.quotes}
    assert ONBOARDED not in {*demo.model_closes, *demo.market.bars}
