"""Keys in the store, on both backends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from position_server.access import Role
from position_server.access.records import add_key, read_keys, revoke_key
from position_server.access.watch import stored_keys
from position_server.errors import NotFound, StoreUnavailable
from position_server.store.engine import Store, open_store
from tests.access.factories import key
from tests.fakes import NOON


def test_keys_are_read_as_they_were_written_oldest_first(store: Store, store_url: str) -> None:
    late, _ = key(now=NOON + timedelta(seconds=1), role=Role.ADMIN)
    early, _ = key("das Büro", expires_at=NOON + timedelta(days=1, microseconds=5))
    for one in (late, early):
        add_key(store, one)
    assert stored_keys(store_url) == read_keys(store) == (early, late)


def test_a_revoked_key_keeps_its_time_and_stays(store: Store) -> None:
    ours, _ = key()
    other, _ = key(now=NOON + timedelta(seconds=1))
    for one in (ours, other):
        add_key(store, one)
    revoked = revoke_key(store, ours.key_id, NOON)
    assert revoked.revoked_at == NOON
    assert revoke_key(store, ours.key_id, NOON + timedelta(hours=1)) == revoked
    assert read_keys(store) == (revoked, other)


def test_an_id_that_no_key_has_cannot_be_revoked(store: Store) -> None:
    with pytest.raises(NotFound):
        revoke_key(store, "0123456789ab", NOON)


def test_a_store_without_the_table_has_no_keys(store: Store) -> None:
    with store.write() as connection:
        connection.execute(text("DROP TABLE api_keys"))
    assert read_keys(store) == ()


def test_a_store_that_was_never_made_has_no_keys_and_is_not_made_by_asking(store_url: str) -> None:
    with open_store(store_url) as store:
        assert read_keys(store) == ()
        if store.location.backend == "sqlite":
            assert not store.location.path.exists()


def test_a_store_that_is_down_says_so() -> None:
    with pytest.raises(StoreUnavailable):
        stored_keys("postgresql://desk@127.0.0.1:1/desk")
