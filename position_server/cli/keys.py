"""`keys create|list|revoke`: the API keys in the store. A running server counts them within a second or two.

The secret is printed once, by `create`, and kept nowhere. `create` makes the store where it is missing, the demo's too
where config asks for it: a store with keys alone would keep `serve` from building the demo.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from position_server.access.keys import KEY, KEY_ID, ApiKey, Role, new_key
from position_server.access.records import add_key, read_keys, revoke_key
from position_server.cli.arguments import add_settings_arguments, settings_of
from position_server.cli.demo_store import build_demo_if_missing
from position_server.clock import Clock, SystemClock
from position_server.errors import ConfigError, StoreUnavailable
from position_server.settings import Settings
from position_server.store.engine import Store, open_store

LONGEST_NAME = 100
MOST_DAYS = 36_500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The three commands, each with its arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
    create = actions.add_parser("create", help="make a key and print it, this once")
    create.add_argument("--name", required=True, metavar="NAME", help="whose key it is, or what it is for")
    create.add_argument("--role", required=True, choices=[role.word for role in Role], help="what it may do")
    create.add_argument(
        "--expires", metavar="DATE|DAYS", help="its last day (YYYY-MM-DD, in TIMEZONE), or for how many days it is good"
    )
    list_all = actions.add_parser("list", help="show every key, without its secret")
    revoke = actions.add_parser("revoke", help="end a key, for good")
    revoke.add_argument("key_id", metavar="KEY_ID", help="the id that `create` and `list` show")
    for action in (create, list_all, revoke):
        add_settings_arguments(action)
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Runs the command; 0 done, 1 where the store is unavailable. Raises ConfigError for a wrong argument."""
    settings, clock = settings_of(args), SystemClock()
    try:
        with open_store(settings.store_url) as store:
            if args.action == "list":
                return _list(store, clock.now(), as_json=args.json)
            if args.action == "revoke":
                return _revoke(store, args.key_id, clock.now(), as_json=args.json)
            return _create(store, settings, args, clock)
    except StoreUnavailable as error:
        print(error.message, file=sys.stderr)
        return 1


def _create(store: Store, settings: Settings, args: argparse.Namespace, clock: Clock) -> int:
    now = clock.now()
    name, expires_at = _name(args.name), _expiry(args.expires, now, ZoneInfo(settings.timezone))
    role = Role.of(args.role)
    _make(store, settings)
    is_first = not read_keys(store)
    key, text = new_key(name, role, now=now, expires_at=expires_at, random_bytes=secrets.token_bytes)
    add_key(store, key)
    fields = {name: value for name, value in _fields(key, now).items() if name not in ("status", "revoked_at")}
    if args.json:
        print(json.dumps({**fields, "key": text}))
    else:
        print("\n".join(f"{name:<10}  {value}" for name, value in {**_shown(fields), "key": text}.items()))
    print("Keep the key now: it is not shown again.", file=sys.stderr)
    if is_first:
        print("It is the first one: from now on every route but /health and /health/* needs a key.", file=sys.stderr)
    return 0


def _list(store: Store, now: datetime, *, as_json: bool) -> int:
    keys = [_fields(key, now) for key in read_keys(store)]
    if as_json:
        print(json.dumps({"keys": keys}))
    elif keys:
        print(_table([_shown(fields) for fields in keys]))
    else:
        print("There are no keys: whoever reaches the server may do anything.")
    return 0


def _revoke(store: Store, given: str, now: datetime, *, as_json: bool) -> int:
    whole = KEY.fullmatch(given)  # whoever has a lost key at hand need not look for its id
    key_id = whole[1] if whole else given
    if not KEY_ID.fullmatch(key_id):  # and is not repeated, since it may be most of a secret
        raise ConfigError("KEY_ID", "is no id of a key; `keys list` shows them")
    if key_id not in {key.key_id for key in read_keys(store)}:
        raise ConfigError("KEY_ID", f"there is no key {key_id}; `keys list` shows them")
    key = revoke_key(store, key_id, now)
    if as_json:
        print(json.dumps(_fields(key, now)))
    else:
        print(f"{key.key_id} ({key.name}) was revoked at {_shown(_fields(key, now))['revoked_at']}")
    return 0


def _make(store: Store, settings: Settings) -> None:
    """Makes the store where it is missing, as `serve` and `load` would, and brings its tables up to date."""
    build_demo_if_missing(settings)
    store.upgrade()


def _name(given: str) -> str:
    name = given.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ConfigError("--name", f"must be 1 to {LONGEST_NAME} printable characters")
    return name


def _expiry(given: str | None, now: datetime, zone: ZoneInfo) -> datetime | None:
    """The instant from which the key is no longer good: so many days from now, or the end of a day of the desk's."""
    if given is None:
        return None
    if given.isascii() and given.isdecimal():
        if not 1 <= int(given[:9]) <= MOST_DAYS:
            raise ConfigError("--expires", f"must be 1 to {MOST_DAYS} days, is {given[:20]}")
        return now + timedelta(days=int(given))
    try:
        end = datetime.combine(date.fromisoformat(given) + timedelta(days=1), time(), zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError("--expires", f"{given!r} is neither a date (YYYY-MM-DD) nor a number of days") from None
    if end <= now:
        raise ConfigError("--expires", f"{given} is over")
    return end


def _fields(key: ApiKey, now: datetime) -> dict[str, Any]:
    """What may be shown of a key."""
    return {
        "key_id": key.key_id,
        "name": key.name,
        "role": key.role.word,
        "status": key.status(now),
        "created_at": _iso(key.created_at),
        "expires_at": _iso(key.expires_at),
        "revoked_at": _iso(key.revoked_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _shown(fields: dict[str, Any]) -> dict[str, str]:
    return {name: "never" if value is None else value for name, value in fields.items()}


def _table(rows: Sequence[dict[str, str]]) -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
