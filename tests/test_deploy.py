"""What `deploy/` and its page name exists: commands, flags, variables, ports, paths, routes, times; and the container's
command and its health check run, without a container.
"""

from __future__ import annotations

import argparse
import configparser
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from pydantic import BaseModel

from position_server.business_days import Calendar
from position_server.cli import COMMANDS
from position_server.settings import ENV_PREFIX, Settings
from tests.house.pages import page
from tests.house.sources import REPOSITORY
from tests.ports import reserved_port
from tests.servers import NO_MARKET_DATA, ONE_WORKER, until
from tests.test_docs import routes

DEPLOY = REPOSITORY / "deploy"
FILES = sorted(DEPLOY.iterdir())
PAGE = page("deployment.md")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVER = COMPOSE["services"]["server"]
UNITS = [file for file in FILES if file.suffix in {".service", ".timer"}]
ROOT = "/opt/position-server"
EVENING = time(16, 30)  # from when on New York's day has ended, as the batches see it
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def texts() -> dict[str, str]:
    """What can name something, by file: the files without their comments, and the page's examples."""
    plain = {file.name: re.sub(r"^#.*$", "", file.read_text(), flags=re.MULTILINE) for file in FILES}
    return {**plain, "deployment.md": "\n".join(example.text for example in PAGE.examples("sh"))}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line of position-server, with the file that has it; `%i` of the template in both its meanings."""
    for name, text in texts().items():
        for words in re.findall(r"-m position_server ([^\n\]]*)", text):
            line = words.replace('\\"', "").replace('"', "").replace("$PORT", "8888")
            for batch in ("symbols", "portfolios") if "%i" in line else ("",):
                yield name, shlex.split(line.replace("%i", batch))


def unit(file: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(file.read_text())
    return parser


def field_of(variable: str) -> Any:
    """The setting that a variable names; fails where there is none."""
    model: type[BaseModel] = Settings
    *groups, last = variable.removeprefix(ENV_PREFIX).lower().split("__")
    for group in groups:
        model = model.model_fields[group].annotation  # type: ignore[assignment]
    return model.model_fields[last]


def environment_of_the_image() -> dict[str, str]:
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    return dict(word.split("=", 1) for word in block.replace("\\\n", " ").split())


# --- what they name --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "words"), commands(), ids=lambda value: value if isinstance(value, str) else None)
def test_every_command_is_one_with_these_words_and_flags(file: str, words: list[str]) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(f"position_server.cli.{COMMANDS[words[0]].module}").add_arguments(parser)
    parser.parse_args(words[1:])


def test_the_commands_of_a_deployment_are_all_there() -> None:
    named = {(name, " ".join(words[:2])) for name, words in commands()}
    assert {("Dockerfile", "serve --port"), ("position-server.service", "serve")} <= named
    for batch in ("batch symbols", "batch portfolios"):
        assert {("crontab", batch), ("position-server-batch@.service", batch), ("deployment.md", batch)} <= named


def test_every_variable_is_a_setting() -> None:
    named = {variable for text in texts().values() for variable in re.findall(rf"{ENV_PREFIX}\w+", text)}
    assert len(named) >= 3
    for variable in named:
        field_of(variable)


def test_every_file_is_on_the_page_and_no_other() -> None:
    assert set(re.findall(r"`deploy/([^`]+)`", PAGE.part("Deployment"))) == {file.name for file in FILES}


def test_what_the_image_copies_is_there() -> None:
    lines = re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE)
    copied = [source for line in lines for source in line.split()]
    assert {"requirements.txt", "position_server", "config.py", "configs"} == set(copied)
    assert all((REPOSITORY / source).exists() for source in copied)
    assert "3.11" in (REPOSITORY / "pyproject.toml").read_text()
    assert re.search(r"^FROM python:3\.11-", DOCKERFILE, re.MULTILINE)


def test_the_port_is_the_default_one_and_that_of_the_variable() -> None:
    default = str(field_of("POSITION_SERVER_SERVER__PORT").default)
    assert environment_of_the_image()["PORT"] == default
    assert re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE) == [default]
    assert SERVER["environment"]["PORT"] == f"${{PORT:-{default}}}"
    assert SERVER["ports"] == [f"127.0.0.1:${{PORT:-{default}}}:${{PORT:-{default}}}"]


def test_the_data_are_in_the_volume_and_the_mounted_config_is_there() -> None:
    data_dir = environment_of_the_image()["POSITION_SERVER_DATA_DIR"]
    assert re.findall(r"^VOLUME (.*)$", DOCKERFILE, re.MULTILINE) == [data_dir]
    volume, config = SERVER["volumes"]
    assert volume == f"{next(iter(COMPOSE['volumes']))}:{data_dir}"
    source, target, mode = config.split(":")
    assert (DEPLOY / source).resolve() == REPOSITORY / "config.py"
    assert (target, mode) == ("/app/config.py", "ro")
    assert "WORKDIR /app\n" in DOCKERFILE


def test_compose_builds_the_dockerfile_from_the_root() -> None:
    context = (DEPLOY / SERVER["build"]["context"]).resolve()
    assert context == REPOSITORY
    assert (context / SERVER["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")


def test_a_server_that_stops_has_the_time_that_it_takes() -> None:
    needed = field_of("POSITION_SERVER_SERVER__SHUTDOWN_GRACE_SECONDS").default + 40  # and the last copy of the cache
    assert int(SERVER["stop_grace_period"].removesuffix("s")) >= needed
    assert int(unit(DEPLOY / "position-server.service")["Service"]["TimeoutStopSec"]) >= needed


def test_the_health_check_asks_a_route_that_needs_no_key() -> None:
    asked = [path for text in texts().values() for path in re.findall(r"/health[/\w]*", text)]
    open_to_all = {path for path, handler in routes() if handler.for_everybody}
    assert asked == ["/health/ready"]
    assert set(asked) <= open_to_all


# --- systemd and cron ------------------------------------------------------------------------------------------------


def test_units_name_paths_of_the_project_and_one_data_folder() -> None:
    for file in UNITS:
        for path in re.findall(rf"{ROOT}/([\w./-]+)", file.read_text()):
            assert path.startswith(".venv/") or (REPOSITORY / path).exists(), f"{file.name}: {path}"
    services = [unit(file)["Service"] for file in UNITS if file.suffix == ".service"]
    for service in services:
        assert service["Environment"] == f"POSITION_SERVER_DATA_DIR=/var/lib/{service['StateDirectory']}"
        assert service["WorkingDirectory"] == ROOT
    assert f"POSITION_SERVER_DATA_DIR=/var/lib/{services[0]['StateDirectory']}\n" in (DEPLOY / "crontab").read_text()


def test_every_timer_starts_a_unit_that_is_there() -> None:
    timers = [file for file in UNITS if file.suffix == ".timer"]
    started = {unit(file)["Timer"]["Unit"] for file in timers}
    assert started == {f"position-server-batch@{batch}.service" for batch in ("symbols", "portfolios")}
    for name in started:
        assert (DEPLOY / re.sub(r"@\w+", "@", name)).exists()


def nights() -> dict[str, tuple[list[int], time]]:
    """By file: the days of the week (Monday is 0) on which it starts something, and when in UTC."""
    found = {}
    for file in UNITS:
        if file.suffix == ".timer":
            first, last, at = re.fullmatch(r"(\w+)\.\.(\w+) ([\d:]+) UTC", unit(file)["Timer"]["OnCalendar"]).groups()  # type: ignore[union-attr]
            days = list(range(WEEKDAYS.index(first), WEEKDAYS.index(last) + 1))
            found[file.name] = (days, time.fromisoformat(at))
    lines = re.findall(r"^(\d+) (\d+) \* \* (\d)-(\d) .* batch (\w+)$", (DEPLOY / "crontab").read_text(), re.MULTILINE)
    for minute, hour, first, last, batch in lines:  # cron's Monday is 1
        found[f"crontab: {batch}"] = (list(range(int(first) - 1, int(last))), time(int(hour), int(minute)))
    return found


def test_the_batches_run_in_the_evening_of_every_business_day_in_new_york_summer_and_winter() -> None:
    assert len(nights()) == 4
    calendar, new_york = Calendar.named("XNYS"), ZoneInfo("America/New_York")
    for name, (days, at) in nights().items():
        starts = [datetime(2025, 1, 1, at.hour, at.minute, tzinfo=UTC) + timedelta(days=n) for n in range(365)]
        evenings = [start.astimezone(new_york) for start in starts if start.weekday() in days]
        assert all(evening.time() > EVENING and evening.weekday() < 5 for evening in evenings), name
        ended = {evening.date() for evening in evenings}
        year = {evenings[0].date() + timedelta(days=n) for n in range(360)}
        assert {day for day in year if calendar.is_business_day(day)} <= ended, name


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for file in UNITS:
        text = file.read_text().replace(f"{ROOT}/.venv/bin/python", sys.executable).replace(ROOT, str(REPOSITORY))
        (tmp_path / file.name).write_text(re.sub(r"^User=.*$", "User=root", text, flags=re.MULTILINE))
    names = [file.name.replace("@.", "@symbols.") for file in UNITS]
    shutil.copy(tmp_path / "position-server-batch@.service", tmp_path / "position-server-batch@symbols.service")
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in done.stderr.splitlines() if "position-server" in line] == []
    assert done.returncode == 0, done.stderr


# --- the container's command, without a container --------------------------------------------------------------------


@pytest.fixture
def reserved() -> Iterator[int]:
    with reserved_port() as port:
        yield port


def test_the_container_s_command_serves_on_port_and_its_health_check_tells_when_it_is_ready(
    tmp_path: Path, demo_store: Path, reserved: int
) -> None:
    shutil.copy(demo_store, tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    image = {**environment_of_the_image(), "POSITION_SERVER_DATA_DIR": str(tmp_path), "PORT": str(reserved)}
    variables = {**os.environ, **NO_MARKET_DATA, **ONE_WORKER, **image, "PATH": path}
    variables["POSITION_SERVER_ALLOW_ANONYMOUS"] = "true"
    (command,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    _, *check = SERVER["healthcheck"]["test"]

    def is_healthy() -> bool:
        return subprocess.run(check, env=variables, capture_output=True, check=False, timeout=60).returncode == 0

    assert not is_healthy()
    server = subprocess.Popen(json.loads(command), cwd=REPOSITORY, env=variables, stderr=subprocess.DEVNULL)
    try:
        until(is_healthy)
        server.terminate()
        assert server.wait(60) == 0, "the signal is the server's"
    finally:
        server.kill()
    assert (tmp_path / "environments.cache").exists()
