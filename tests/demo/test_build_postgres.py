"""The demo on PostgreSQL: loaded in place. Skipped without a server, or failed with REQUIRE_SERVICES=1."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from position_server.demo.build import build_demo
from tests.postgres import fresh_schema


@pytest.fixture
def schema_url() -> Iterator[str]:
    """The URL of a schema of its own."""
    with fresh_schema() as url:
        yield url


def test_the_demo_loads_in_place_and_twice_is_the_same(schema_url: str):
    counts = build_demo(schema_url)
    assert counts["positions"] > 7000
    assert build_demo(schema_url) == counts
