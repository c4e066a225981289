"""Addresses are shown without what may be a secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from position_server.settings.addresses import secrets_in, shown, without_secrets

PASSWORDS = st.text(st.characters(codec="ascii", exclude_characters="@"), min_size=3, max_size=12)


@pytest.mark.parametrize(
    ("url", "as_shown"),
    [
        ("postgresql://desk:geheim@db:5432/desk?password=geheim", "postgresql://db:5432/desk"),
        ("redis://:geheim@127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://geheim@cache/1", "rediss://cache/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("https://api.example.com", "https://api.example.com"),
        ("sqlite:////srv/desk@2/a?b.sqlite", "sqlite:////srv/desk@2/a?b.sqlite"),
        ("postgresql://desk:ge/heim@db/desk", "postgresql://..."),
        ("postgresql://[::1/desk", "postgresql://..."),
        ("demo", "demo"),
    ],
)
def test_an_address_is_shown_without_user_password_and_arguments(url: str, as_shown: str) -> None:
    assert shown(url) == as_shown


@given(PASSWORDS)
def test_a_password_is_never_shown_whatever_is_in_it(password: str) -> None:
    url = f"postgresql://desk:{password}@DATABASE/NAME"
    assert password not in shown(url).partition("://")[2]
    assert password in secrets_in(url)
    assert password not in without_secrets(url).partition("://")[2]


def test_a_url_without_a_password_keeps_its_identity() -> None:
    assert without_secrets("postgresql://db/desk?schema=a") == "postgresql://db/desk?schema=a"
    assert secrets_in("https://api.example.com/a@b") in ([], ["api.example.com/a"])
    assert secrets_in("sqlite:////srv/a:b@c") == []
