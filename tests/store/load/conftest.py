"""Every test of loading finds two instruments in the store."""

from __future__ import annotations

import pytest

from position_server.store.engine import Store
from tests.store.factories import instrument, put


@pytest.fixture(autouse=True)
def known(store: Store) -> None:
    put(store, "instruments", instrument("A"), instrument("B"))
