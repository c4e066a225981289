"""Settings: the file, environment variables over it, flags over both; and every mistake named by its key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from position_server.errors import ConfigError
from position_server.settings import CONFIG_FILE, Settings, load_settings

Load = Callable[..., Settings]


def refused(load: Load, text: str = "", variables: dict[str, str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(text, variables)
    return caught.value


def test_the_projects_own_config_is_valid_and_pins_the_demo_day(clean_environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.business_date == date(2025, 10, 30)
    assert [entry["name"] for entry in settings.warmup_configs] == ["SOD_MAIN", "LIVE_EXO", "EOD_MAIN"]


def test_the_projects_own_config_shows_every_setting_with_its_default(
    load: Load, clean_environment: pytest.MonkeyPatch
) -> None:
    shown = load_settings(CONFIG_FILE).model_dump()
    defaults = load("").model_dump()
    of_the_demo = {"business_date", "warmup_configs", "timeouts"}
    shown["market_data"].pop("assets"), defaults["market_data"].pop("assets")
    assert shown["portfolio"].pop("factors").keys() == load("").portfolio.factor_symbols.keys()
    assert defaults["portfolio"].pop("factors") == {}
    shown["portfolio"].pop("universe"), defaults["portfolio"].pop("universe")
    assert {k: v for k, v in shown.items() if k not in of_the_demo} == {
        k: v for k, v in defaults.items() if k not in of_the_demo
    }


def test_factors_that_are_given_are_all_there_are(load: Load) -> None:
    portfolio = load("PORTFOLIO = {'factors': {'SPY': 'PXMKT'}}").portfolio
    assert portfolio.factor_symbols == {"SPY": "PXMKT"}
    assert load("").portfolio.factor_symbols["VUG"] == "VUG"
    with pytest.raises(ConfigError, match="market_factor 'SPY' is none of factors"):
        load("PORTFOLIO = {'factors': {'TLT': 'TLT'}}")


def test_the_file_is_found_whatever_the_current_directory(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean_environment.chdir(tmp_path)
    assert load_settings().calendar == "XNYS"


def test_a_value_of_the_file_wins_over_the_default_and_leaves_its_neighbours(load: Load) -> None:
    server = load("SERVER = {'port': 9000}").server
    assert (server.port, server.host) == (9000, "127.0.0.1")


def test_an_environment_variable_wins_over_one_key_of_the_file(load: Load) -> None:
    server = load("SERVER = {'port': 9000, 'host': '::1'}", {"SERVER__PORT": "9001"}).server
    assert (server.port, server.host) == (9001, "::1")


def test_an_environment_variable_without_the_file_leaves_the_other_defaults(load: Load) -> None:
    assert load("", {"CACHE__MAX_ENTRIES": "7"}).cache.ttl_seconds == {"SOD": 3600.0, "EOD": 900.0, "LIVE": 15.0}


def test_a_plain_name_is_set_by_an_environment_variable(load: Load) -> None:
    assert load("", {"BUSINESS_DATE": "2025-10-29"}).business_date == date(2025, 10, 29)


def test_a_blank_variable_unpins_the_business_date_and_the_store(load: Load) -> None:
    settings = load(
        "BUSINESS_DATE = '2025-10-30'\nSTORE = {'url': 'sqlite:////x'}", {"BUSINESS_DATE": "", "STORE__URL": ""}
    )
    assert settings.business_date is None
    assert settings.store.url is None


@pytest.mark.parametrize(
    "variables",
    [
        {"CACHE__TTL_SECONDS__LIVE": "5"},
        {"CACHE__TTL_SECONDS": '{"LIVE": 5}'},
        {"CACHE": '{"ttl_seconds": {"LIVE": 5}}'},
    ],
)
def test_a_variable_reaches_a_nested_dictionary_and_keeps_its_other_keys(load: Load, variables: dict[str, str]) -> None:
    text = "CACHE = {'ttl_seconds': {'SOD': 1.0, 'EOD': 2.0, 'LIVE': 3.0}}"
    assert load(text, variables).cache.ttl_seconds == {"SOD": 1.0, "EOD": 2.0, "LIVE": 5.0}


def test_a_variable_sets_the_timeout_of_one_section(load: Load) -> None:
    settings = load("TIMEOUTS = {'default': 4.0}", {"TIMEOUTS__BONDS": "2.5"})
    assert (settings.timeout_of("bonds"), settings.timeout_of("futures")) == (2.5, 4.0)


def test_flags_win_over_variables_and_file(load: Load) -> None:
    settings = load(
        "SERVER = {'port': 1}",
        {"SERVER__PORT": "2", "SERVER__HOST": "::1"},
        {"server": {"port": 3}, "data_dir": Path("d")},
    )
    assert (settings.server.port, settings.server.host, settings.data_dir) == (3, "::1", Path("d"))


def test_a_bad_flag_is_named_by_its_key(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load("", {}, {"server": {"port": 99_999}})
    assert caught.value.key == 'SERVER["port"]'


def test_lower_case_names_of_the_file_are_the_files_own(load: Load) -> None:
    assert load("port = 5\nSERVER = {'port': port + 1}").server.port == 6


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("SERVER = {'port': 'x'}", 'SERVER["port"]', "valid integer"),
        ("SERVER = {'port': 70000}", 'SERVER["port"]', "65535"),
        ("SERVER = {'prot': 1}", 'SERVER["prot"]', "unknown key"),
        ("SERVER = 5", "SERVER", "dictionary"),
        ("SERVR = {}", "SERVR", "unknown name"),
        ("TIMEZONE = 'Mars/Olympus'", "TIMEZONE", "no time zone is known by the name 'Mars/Olympus'"),
        ("CALENDAR = 'XMARS'", "CALENDAR", "no calendar is known by the name 'XMARS'"),
        ("BASE_CURRENCY = 'dollars'", "BASE_CURRENCY", "pattern"),
        ("VALID_TIME_OF_DAY = []", "VALID_TIME_OF_DAY", "at least 1"),
        ("VALID_TIME_OF_DAY = ['NOON']", "VALID_TIME_OF_DAY[0]", "'SOD', 'EOD' or 'LIVE'"),
        ("BUSINESS_DATE = '2025-02-30'", "BUSINESS_DATE", "2025-02-30"),
        ("COMPUTE = {'workers': 0}", 'COMPUTE["workers"]', "greater than or equal to 1"),
        ("COMPUTE = {'nice': -5}", 'COMPUTE["nice"]', "greater than or equal to 0"),
        ("TIMEOUTS = {'bonds': 0}", 'TIMEOUTS["bonds"]', "greater than 0"),
        ("TIMEOUTS = {'bonds': float('nan')}", 'TIMEOUTS["bonds"]', "finite"),
        ("CACHE = {'ttl_seconds': {'NOON': 1}}", 'CACHE["ttl_seconds"]["NOON"]', "'SOD', 'EOD' or 'LIVE'"),
        ("CACHE = {'grace_seconds': {'LIVE': -1}}", 'CACHE["grace_seconds"]["LIVE"]', "greater than or equal to 0"),
        ("CACHE = {'max_mb': 0}", 'CACHE["max_mb"]', "greater than 0"),
        ("LOGS = {'level': 'LOUD'}", 'LOGS["level"]', "'DEBUG'"),
        ("EXPOSE_TRACEBACKS = 'perhaps'", "EXPOSE_TRACEBACKS", "boolean"),
        ("WARMUP_CONFIGS = [5]", "WARMUP_CONFIGS[0]", "dictionary"),
        ("SIMULATION = {'tool_servers': {'math': 'tools:8004'}}", 'SIMULATION["tool_servers"]["math"]', "https?://"),
        ("SIMULATION = {'tool_servers': {'a b': 'http://tools:8004'}}", 'SIMULATION["tool_servers"]["a b"]', "pattern"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_its_key(load: Load, text: str, key: str, what: str) -> None:
    error = refused(load, text)
    assert error.key == key
    assert error.message.startswith(f"{key}: ")
    assert what in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("SERVER__PORT", "x", 'SERVER["port"]'),
        ("SERVER__PROT", "1", 'SERVER["prot"]'),
        ("SERVER__PORT__DEEPER", "1", 'SERVER["port"]'),
        ("SERVER", "{bad", "POSITION_SERVER_SERVER"),
        ("VALID_TIME_OF_DAY", "SOD,EOD", "POSITION_SERVER_VALID_TIME_OF_DAY"),
        ("TIMEZONE", "Mars", "TIMEZONE"),
    ],
)
def test_a_mistake_in_a_variable_names_it(load: Load, name: str, value: str, key: str) -> None:
    error = refused(load, "", {name: value})
    assert error.key == key
    assert "\n" not in error.message


def test_the_providers_key_of_the_environment_wins_and_is_never_shown(load: Load) -> None:
    for variables in ({}, {"MARKET_DATA__API_KEY": "open sesame"}):
        settings = load("MARKET_DATA = {'api_key': 'sesame'}", variables)
        assert settings.market_data.api_key is not None
        assert settings.market_data.api_key.get_secret_value() == variables.get("MARKET_DATA__API_KEY", "sesame")
        assert "sesame" not in f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("MARKET_DATA = {'apikey': 'sesame'}", 'MARKET_DATA["apikey"]'),
        ("MARKET_DATA = 'sesame'", "MARKET_DATA"),
        ("MARKET_DATA = {'base_url': 'ftp://u:sesame@host'}", 'MARKET_DATA["base_url"]'),
        ("REDIS_URL = 'http://:sesame@host'", "REDIS_URL"),
    ],
)
def test_what_may_be_a_secret_is_not_shown(load: Load, text: str, key: str) -> None:
    error = refused(load, text)
    assert error.key == key
    assert "sesame" not in error.message


def test_a_blank_variable_is_no_key_and_no_redis(load: Load) -> None:
    settings = load("", {"MARKET_DATA__API_KEY": "", "REDIS_URL": ""})
    assert settings.market_data.api_key is None
    assert settings.redis_url is None


ASSET = {"symbol": "EURUSD", "provider_ticker": "C:EURUSD", "asset_type": "forex"}


@pytest.mark.parametrize(
    ("asset", "key", "what"),
    [
        ({"level": "URGENT"}, 'MARKET_DATA["assets"][1]["level"]', "'CRITICAL'"),
        ({"asset_type": "coin"}, 'MARKET_DATA["assets"][1]["asset_type"]', "'forex'"),
        ({"symbol": "A,B"}, 'MARKET_DATA["assets"][1]["symbol"]', "pattern"),
        ({"colour": "red"}, 'MARKET_DATA["assets"][1]["colour"]', "unknown key"),
        ({"symbol": "EURUSD"}, 'MARKET_DATA["assets"]', "symbol EURUSD is there twice"),
        ({"provider_ticker": "C:EURUSD"}, 'MARKET_DATA["assets"]', "provider_ticker C:EURUSD is there twice"),
    ],
)
def test_a_wrong_asset_is_named_by_its_place(load: Load, asset: dict[str, str], key: str, what: str) -> None:
    other = {**ASSET, "symbol": "GBPUSD", "provider_ticker": "C:GBPUSD", **asset}
    error = refused(load, f"MARKET_DATA = {{'assets': [{ASSET}, {other}]}}")
    assert error.key == key
    assert what in error.message


def test_the_projects_own_assets_are_three_priority_ones_and_six_others(clean_environment: pytest.MonkeyPatch) -> None:
    assets = load_settings().market_data.assets
    critical = [asset.symbol for asset in assets if asset.level == "CRITICAL"]
    assert critical == ["XAUUSD", "EURUSD", "BTCUSD"]
    others = [asset.symbol for asset in assets if asset.level != "CRITICAL"]
    assert others == ["ETHUSDT", "GBPUSD", "USDJPY", "XAGUSD", "AUDUSD", "USDCAD"]


def test_a_password_in_a_bad_url_is_not_shown(load: Load) -> None:
    error = refused(load, "STORE = {'url': 'mysql://desk:secret@host/db'}")
    assert error.key == 'STORE["url"]'
    assert "secret" not in error.message


@pytest.mark.parametrize("text", ["1/0", "this is not python", "import no_such_module"])
def test_a_file_that_cannot_run_is_named(load: Load, tmp_path: Path, text: str) -> None:
    assert refused(load, text).key == str(tmp_path / "config.py")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FileNotFoundError") as caught:
        load_settings(tmp_path / "absent.py")
    assert caught.value.key == str(tmp_path / "absent.py")


def test_without_a_url_the_store_is_sqlite_in_the_data_folder(settings: Settings, tmp_path: Path) -> None:
    assert settings.store_url == f"sqlite:///{tmp_path / 'data' / 'position_server.sqlite'}"


def test_a_configured_url_is_the_store(load: Load) -> None:
    assert load("STORE = {'url': 'postgresql://desk@db/positions'}").store_url == "postgresql://desk@db/positions"


def test_there_are_at_least_two_workers_unless_fewer_are_asked_for(load: Load) -> None:
    assert load("").compute.worker_count >= 2
    assert load("COMPUTE = {'workers': 1}").compute.worker_count == 1


def test_a_section_without_a_timeout_has_ten_seconds_even_without_a_default(load: Load) -> None:
    assert load("TIMEOUTS = {'bonds': 1.0}").timeout_of("futures") == 10.0


def test_settings_cannot_be_changed(settings: Settings) -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.calendar = "XSIF"  # type: ignore[misc]
