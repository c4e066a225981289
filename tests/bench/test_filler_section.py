from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from bench.filler_section import SECTION
from position_server.params import BaseParams
from position_server.sections.base import SectionParams


def answered(*books: str) -> bytes:
    day = date(2025, 10, 30)
    inputs: Any = SimpleNamespace(base=BaseParams(env_date=day, pos_date=day, books=books, time_of_day="EOD"))
    return orjson.dumps(SECTION.compute(inputs, SectionParams()))


@pytest.mark.parametrize("wanted", [5_000, 200_000, 1_200_000])
def test_it_answers_about_as_many_bytes_as_the_book_says(wanted: int) -> None:
    assert len(answered(f"BYTES-{wanted}")) == pytest.approx(wanted, rel=0.05)


def test_other_books_add_nothing_but_another_content() -> None:
    assert answered("CUPS") == b'{"filler":[]}'
    assert answered("BYTES-5000", "K1") != answered("BYTES-5000", "K2")
