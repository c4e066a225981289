"""What crosses between the serving process and the workers."""

from __future__ import annotations

import pickle
from datetime import date

from position_server.outcomes import SectionCall
from tests.environment.examples import base_params
from tests.fakes import failure, outcome


def test_an_outcome_without_data_has_failed() -> None:
    assert failure("bonds").failed
    assert not outcome("bonds", b"{}").failed


def test_calls_and_outcomes_come_out_of_a_pickle_as_they_went_in() -> None:
    call = SectionCall("bonds", base_params(), date(2025, 10, 30), {"curve_shift_bp": 5})
    done = outcome("bonds", symbols=frozenset({"ZNZ25"}), oldest_price_date="2025-10-29")
    assert pickle.loads(pickle.dumps((call, done, failure("bonds")))) == (call, done, failure("bonds"))


def test_a_call_of_fifty_books_stays_small() -> None:
    books = tuple(f"BOOK{n}" for n in range(50))
    assert len(pickle.dumps(SectionCall("bonds", base_params(books), date(2025, 10, 30)))) < 2_000
