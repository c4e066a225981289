"""The `keys` command: what it makes, shows and refuses, and that a secret is seen once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from position_server.access import keys as formats
from position_server.cli import main
from position_server.store.engine import open_store
from tests.fakes import NOON

SECONDS = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, clean_environment: pytest.MonkeyPatch) -> None:
    """A current directory and settings of the test's own, without the demo."""
    clean_environment.chdir(tmp_path)
    clean_environment.setenv("POSITION_SERVER_STORE__DEMO", "false")
    clean_environment.setenv("POSITION_SERVER_TIMEZONE", "America/New_York")


class Keys:
    """The command, on a store of the test's own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def run(self, *words: str) -> tuple[int, str, str]:
        code = main(["keys", *words, "--data-dir", str(self.folder)])
        printed = self.capsys.readouterr()
        return code, printed.out, printed.err

    def create(self, *words: str, name: str = "desk", role: str = "reader") -> dict[str, Any]:
        code, out, _ = self.run("create", "--name", name, "--role", role, "--json", *words)
        assert code == 0
        return json.loads(out)

    def list(self) -> list[dict[str, Any]]:
        code, out, _ = self.run("list", "--json")
        assert code == 0
        return json.loads(out)["keys"]

    def refused(self, *words: str) -> str:
        code, out, err = self.run(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Keys:
    return Keys(tmp_path / "var", capsys)


def test_a_created_key_is_listed_without_its_secret(keys: Keys) -> None:
    made = keys.create(name=" the desk's dashboard ", role="analyst")
    assert formats.KEY.fullmatch(made["key"])
    (listed,) = keys.list()
    assert listed == {
        "key_id": made["key_id"],
        "name": "the desk's dashboard",
        "role": "analyst",
        "status": "active",
        "created_at": made["created_at"],
        "expires_at": None,
        "revoked_at": None,
    }
    assert keys.run("list")[1].splitlines()[0].split() == list(listed)


def test_the_secret_is_kept_nowhere(keys: Keys) -> None:
    _, _, secret = keys.create()["key"].split("_")
    with open_store(f"sqlite:///{keys.folder / 'position_server.sqlite'}") as store, store.write():
        pass  # and whatever is in the write-ahead log
    kept = b"".join(file.read_bytes() for file in keys.folder.iterdir())
    assert b"scrypt$" in kept
    assert secret.encode() not in kept
    assert bytes.fromhex(secret) not in kept


def test_the_table_of_a_new_key_has_it_on_its_last_line(keys: Keys) -> None:
    code, out, err = keys.run("create", "--name", "x", "--role", "admin")
    assert code == 0
    assert formats.KEY.fullmatch(out.splitlines()[-1].split()[1])
    assert "not shown again" in err
    assert "first one" in err
    assert "first one" not in keys.run("create", "--name", "y", "--role", "admin")[2]


@pytest.mark.parametrize(
    ("given", "expires"),
    [
        ("30", NOON + timedelta(days=30)),
        ("2025-10-30", datetime(2025, 10, 31, 4, tzinfo=UTC)),  # the end of today in New York
        ("2025-11-02", datetime(2025, 11, 3, 5, tzinfo=UTC)),  # the day on which summer time ends
    ],
)
def test_a_key_expires_after_days_or_at_the_end_of_a_day_of_the_desk(keys: Keys, given: str, expires: datetime) -> None:
    with freeze_time(NOON):
        assert datetime.fromisoformat(keys.create("--expires", given)["expires_at"]) == expires
    with freeze_time(expires - SECONDS):
        assert keys.list()[0]["status"] == "active"
    with freeze_time(expires):
        assert keys.list()[0]["status"] == "expired"


@pytest.mark.parametrize(
    "given", ["0", "-1", "36501", "9" * 5000, "2020-01-01", "2025-02-30", "soon", "9999-12-31", "٣"]
)
def test_an_expiry_that_is_none_is_refused_in_one_line_and_makes_nothing(keys: Keys, given: str) -> None:
    assert "--expires" in keys.refused("create", "--name", "x", "--role", "reader", f"--expires={given}")
    assert not (keys.folder / "position_server.sqlite").exists()


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 101])
def test_a_name_that_is_none_is_refused(keys: Keys, name: str) -> None:
    assert "--name" in keys.refused("create", "--name", name, "--role", "reader")


def test_a_revoked_key_stays_revoked_at_its_first_time(keys: Keys) -> None:
    made = keys.create()
    with freeze_time(NOON):
        code, out, _ = keys.run("revoke", made["key_id"])
    assert (code, "2025-10-30T16:00:00" in out) == (0, True)
    _, out, _ = keys.run("revoke", made["key"], "--json")  # by the whole key, as it was found somewhere
    assert json.loads(out) == keys.list()[0]
    assert json.loads(out)["revoked_at"] == "2025-10-30T16:00:00+00:00"
    assert keys.list()[0]["status"] == "revoked"


def test_an_unknown_id_is_refused_and_what_is_no_id_is_not_repeated(keys: Keys) -> None:
    keys.create()
    assert "0123456789ab" in keys.refused("revoke", "0123456789ab")
    assert "c0ffee" not in keys.refused("revoke", "c0ffee" * 10)


def test_without_keys_the_list_says_what_that_means(keys: Keys) -> None:
    code, out, _ = keys.run("list")
    assert (code, "no keys" in out) == (0, True)
    assert keys.list() == []
    assert not (keys.folder / "position_server.sqlite").exists()
    assert "0123456789ab" in keys.refused("revoke", "0123456789ab")


def test_the_demo_is_built_first_where_config_asks_for_it(keys: Keys, clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("POSITION_SERVER_STORE__DEMO", "true")
    keys.create()
    with open_store(f"sqlite:///{keys.folder / 'position_server.sqlite'}") as store, store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM positions").scalar_one() > 0


def test_an_unavailable_store_exits_1_in_one_line(keys: Keys, clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("POSITION_SERVER_STORE__URL", "postgresql://desk:hunter2@127.0.0.1:1/desk")
    for words in (["list"], ["revoke", "0123456789ab"], ["create", "--name", "x", "--role", "admin"]):
        code, out, err = keys.run(*words)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "hunter2" not in err
