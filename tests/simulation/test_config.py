"""Configurations: the shipped one, what is refused and by which key, and that nothing outside configs/ is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from position_server.compute.pool import ComputePool
from position_server.errors import InvalidConfig
from position_server.settings import CONFIG_FILE
from position_server.simulation import registry
from position_server.simulation.assembly import checked_by
from position_server.simulation.config import DEFAULT_CONFIG, parse_config, read_config

ROOT = CONFIG_FILE.parent
ENTRY = {"name": "a", "kind": "buy_and_hold"}


def wrong(**content: Any) -> list[str]:
    """The keys that are named for a configuration with this content."""
    with pytest.raises(InvalidConfig) as refused:
        parse_config(json.dumps({"models": [ENTRY], "initial_cash": 1000, **content}))
    return [problem.field for problem in refused.value.problems]


def test_the_shipped_configuration_has_the_four_models_and_knows_the_kinds_parameters() -> None:
    config = read_config(ROOT, None)
    assert [entry.name for entry in config.models] == ["buy_and_hold", "equal_weight", "momentum", "min_variance"]
    assert registry.problems_of([(entry.name, entry.kind, entry.params) for entry in config.models]) == []
    assert config.initial_cents == 100_000_000
    assert len(config.universe or ()) == 101


def test_every_wrong_key_is_named_at_once() -> None:
    entries = [{"name": "a b", "kind": "x"}, {"kind": "x"}, {"name": "c", "kind": "x", "enabled": "perhaps"}]
    named = wrong(models=entries, initial_cash=-1, costs={"bps": -1, "fees": 1}, universe=["A", "A"], extra=1)
    assert set(named) == {
        "models[0].name", "models[1].name", "models[2].enabled", "initial_cash", "costs.bps", "costs.fees", "universe",
        "extra",
    }  # fmt: skip


@pytest.mark.parametrize("cash", [0, 1.001, "a", None, 10**13, True and float("nan")])
def test_initial_cash_is_a_positive_amount_of_whole_cents(cash: object) -> None:
    assert wrong(initial_cash=cash) == ["initial_cash"]


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".", "..", ".hidden", "a" * 65, "ä", "a b", "a\n"])
def test_a_name_that_could_be_a_path_or_a_list_is_refused(name: str) -> None:
    assert wrong(models=[{**ENTRY, "name": name}]) == ["models[0].name"]


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "gpt-5.1", "0"])
def test_letters_digits_dots_dashes_and_underscores_make_a_name(name: str) -> None:
    assert parse_config(json.dumps({"models": [{**ENTRY, "name": name}], "initial_cash": 1})).models[0].name == name


def test_a_name_that_is_there_twice_is_refused() -> None:
    assert wrong(models=[ENTRY, ENTRY]) == ["models"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"models": []', b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidConfig, match="config"):
        parse_config(text)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret.json", "configs/../secret.json", "secret.json", "configs/link.json", "a\0b"]
)
def test_a_path_out_of_the_folder_is_refused_before_it_is_read(path: str, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "secret.json").write_text("not json")
    (tmp_path / "configs" / "link.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(InvalidConfig, match=r"config_path: (must be inside configs/|is no path)"):
        read_config(tmp_path, path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="config_path: cannot be read: No such file"):
        read_config(tmp_path, "configs/nothing.json")


def test_models_are_chosen_by_name_or_because_they_are_enabled() -> None:
    entries = [{**ENTRY, "name": "b"}, {**ENTRY, "name": "a"}, {**ENTRY, "name": "c", "enabled": False}]
    config = parse_config(json.dumps({"models": entries, "initial_cash": 1}))
    assert [entry.name for entry in config.chosen(None).models] == ["a", "b"]
    assert [entry.name for entry in config.chosen(["c"]).models] == ["c"]
    with pytest.raises(InvalidConfig, match="'x' is not in the configuration"):
        config.chosen(["a", "x"])


def test_a_configuration_without_enabled_models_is_refused() -> None:
    config = parse_config(json.dumps({"models": [{**ENTRY, "enabled": False}], "initial_cash": 1}))
    with pytest.raises(InvalidConfig, match="none is enabled"):
        config.chosen(None)


def test_the_text_of_a_configuration_reads_as_the_same_one() -> None:
    config = read_config(ROOT, DEFAULT_CONFIG)
    assert parse_config(config.as_json()) == config


def test_the_serving_process_has_a_worker_check_the_parameters() -> None:
    entries = [("models.a", "momentum", {"hold": 0}), ("models.b", "buy_and_hold", {})]
    with ComputePool("tests.compute.remote:open_workbench", (), workers=1, queue=8) as pool:
        assert checked_by(pool)(entries) == registry.problems_of(entries)


def test_parameters_of_a_kind_are_checked_by_name_and_value() -> None:
    entries = [
        ("models.a", "momentum", {"lookback_days": 0}),
        ("models.b", "momentum", {"lookback": 5}),
        ("models.c", "astrology", {}),
        ("models.d", "base", {}),
        ("models.e", "equal_weight", {"rebalance": "weekly"}),
    ]
    named = [problem.field for problem in registry.problems_of(entries)]
    assert named == ["models.a.lookback_days", "models.b.lookback", "models.c.kind", "models.d.kind"]
