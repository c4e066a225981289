"""Addresses as they may be shown, in `/health` and in logs. Opens nothing."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

SQLITE = "sqlite:///"


def shown(url: str) -> str:
    """The URL without user, password and arguments, any of which may be a secret; of what is no URL, the scheme."""
    if url.startswith(SQLITE) or "://" not in url:
        return url  # a file's path, whatever is in its name; or a word
    scheme = url.partition(":")[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{scheme}://..."
    if "@" in parts.path + parts.query + parts.fragment:  # a password with a slash in it ends up there
        return f"{scheme}://..."
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def secrets_in(url: str) -> list[str]:
    """The password of a URL (a user without one may be a token), as it stands there and as it is meant.

    The longer first, so that it is cut out whole.
    """
    if url.startswith(SQLITE):
        return []
    user_info, _, _ = url.partition("://")[2].rpartition("@")
    user, colon, password = user_info.partition(":")
    secret = password if colon else user
    return sorted({text for text in (secret, unquote(secret)) if text}, key=len, reverse=True)


def without_secrets(url: str) -> str:
    """The URL with its password cut out: still another text for another place, user or argument."""
    for secret in secrets_in(url):
        url = url.replace(secret, "")
    return url
