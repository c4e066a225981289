"""What a key looks like, and that its text alone finds it."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.access import Role, keys
from position_server.access.keys import KEY, KEY_LENGTH, find_key
from position_server.logs import logging_to, without_secrets
from tests.access.factories import key
from tests.fakes import NOON


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The costs of every hash that is computed, in order."""
    costs: list[tuple[int, ...]] = []
    scrypt = keys._scrypt

    def noted(secret: str, salt: bytes, cost: int, block: int, lanes: int, size: int) -> bytes:
        costs.append((cost, block, lanes, len(salt), size))
        return scrypt(secret, salt, cost, block, lanes, size)

    monkeypatch.setattr(keys, "_scrypt", noted)
    return costs


def test_a_key_is_found_by_its_text_among_others() -> None:
    (ours, text), (other, _) = key(), key()
    known = {ours.key_id: ours, other.key_id: other}
    assert find_key(text, known) == ours
    assert KEY.fullmatch(text)
    assert len(text) == KEY_LENGTH


def test_the_id_of_one_with_the_secret_of_another_is_no_key() -> None:
    (ours, text), (other, others) = key(), key()
    mixed = f"ps_{ours.key_id}_{others.rpartition('_')[2]}"
    assert find_key(mixed, {ours.key_id: ours, other.key_id: other}) is None
    assert find_key(text, {}) is None


def test_an_unknown_id_costs_what_a_wrong_secret_costs(hashed: list[tuple[int, ...]]) -> None:
    (ours, text), (_, unknown) = key(), key()
    hashed.clear()
    wrong = text[:-1] + ("0" if text[-1] != "0" else "1")
    assert find_key(wrong, {ours.key_id: ours}) is None
    assert find_key(unknown, {ours.key_id: ours}) is None
    assert hashed[0] == hashed[1]
    assert len(hashed) == 2


@given(st.text(max_size=100) | st.from_regex(r"ps_[0-9A-F]{12}_[0-9a-f]{60,70}", fullmatch=True))
def test_what_does_not_look_like_a_key_is_none_at_once(text: str) -> None:
    if not KEY.fullmatch(text):
        assert find_key(text, {}) is None


def test_a_key_that_was_made_at_another_cost_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "COST", 2**10)
    ours, text = key()
    monkeypatch.undo()
    assert find_key(text, {ours.key_id: ours}) == ours


def test_two_keys_have_nothing_in_common() -> None:
    (one, text), (two, other) = key(), key()
    assert one.key_id != two.key_id
    assert one.secret_hash != two.secret_hash
    assert text != other


def test_neither_the_key_nor_its_picture_shows_the_secret_or_its_hash() -> None:
    ours, text = key()
    secret = text.rpartition("_")[2]
    assert secret not in ours.secret_hash
    assert "scrypt" not in repr(ours)


def test_a_key_is_good_until_it_expires_or_is_revoked() -> None:
    ours, _ = key(expires_at=NOON + timedelta(days=1))
    assert ours.status(NOON) == "active"
    assert ours.status(NOON + timedelta(days=1)) == "expired"
    assert replace(ours, revoked_at=NOON).status(NOON) == "revoked"


def test_roles_include_those_below_them() -> None:
    assert Role.READER < Role.ANALYST < Role.ADMIN
    assert [Role.of(role.word) for role in Role] == list(Role)


def test_no_line_of_the_log_shows_a_secret() -> None:
    ours, text = key()
    stream = io.StringIO()
    with logging_to("INFO", stream):
        logging.getLogger("tornado.general").info("Malformed HTTP message: Invalid header value %r", text + "\r")
        try:
            raise ValueError(text)
        except ValueError:
            logging.getLogger("position_server.tests").exception("failed", extra={"given": [text]})
    assert text.rpartition("_")[2][:4] not in stream.getvalue()
    assert stream.getvalue().count(ours.key_id) >= 3
    assert without_secrets(f"GET /?k={text}&x=1") == f"GET /?k=ps_{ours.key_id}_...&x=1"
