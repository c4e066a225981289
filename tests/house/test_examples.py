"""The examples of the docs work: they parse, load, run, and are answered by a real server on the demo desk."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from position_server.errors import ConfigError
from position_server.params import ParamReader
from position_server.settings import load_settings
from tests.house.pages import Example, all_examples, page
from tests.house.sources import REPOSITORY
from tests.servers import ServerProcess, copy_of_the_project, serving
from tests.test_one_file import REGION

READER = ParamReader(("SOD", "EOD", "LIVE"))
CONFIG_PAGES = ("README.md", "docs/configuration.md", "docs/warm-ups.md")
ADDRESS = "http://127.0.0.1:8888"


def ids(example: Example) -> str:
    return f"{example.page}-{example.text[:30].strip()}"


def curl_commands() -> list[str]:
    blocks = "".join(example.text for example in all_examples("sh"))
    return re.findall(r"^curl [^']*?(?:'[^']*'[^'\n]*)*$", blocks, re.MULTILINE)


def example_section() -> str:
    return next(e.text for e in page("adding-a-section.md").examples("python") if "SECTION = " in e.text)


# --- without a server ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", all_examples("json"), ids=ids)
def test_json_examples_are_json_and_requests_are_valid(example: Example) -> None:
    value = json.loads(example.text)
    if "env_date" in value:
        READER.extract_from_post(example.text.encode())


@pytest.mark.parametrize("example", all_examples("python"), ids=ids)
def test_python_examples_are_python_and_settings_load(example: Example, tmp_path: Path) -> None:
    ast.parse(example.text)
    if example.page in CONFIG_PAGES:
        config = tmp_path / "config.py"
        config.write_text(example.text)
        settings = load_settings(config)
        assert settings.model_fields_set


@pytest.mark.parametrize("example", all_examples("toml"), ids=ids)
def test_toml_examples_are_toml(example: Example) -> None:
    assert tomllib.loads(example.text)


@pytest.mark.parametrize("example", all_examples("sh"), ids=ids)
def test_shell_examples_are_shell(example: Example) -> None:
    subprocess.run(["bash", "-n"], input=example.text, text=True, check=True)


@pytest.mark.parametrize("example", all_examples("console"), ids=ids)
def test_what_commands_print_is_what_they_print(example: Example) -> None:
    command, _, printed = example.text.partition("\n")
    words = shlex.split(command.removeprefix("$ "))
    assert words[0] == "python"
    done = subprocess.run([sys.executable, *words[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == printed


def test_refusals_of_settings_read_as_they_are_shown(tmp_path: Path) -> None:
    shown = next(e.text for e in page("configuration.md").examples("text")).splitlines()
    config = tmp_path / "config.py"
    for line in ('SERVER = {"port": "99999"}', 'SERVER = {"prot": 1}', "CALENDAR = 'XX'"):
        config.write_text(line)
        with pytest.raises(ConfigError, match=": ") as refused:
            load_settings(config)
        assert f"position-server: {refused.value.message}" in shown


def test_a_refused_file_reads_as_it_is_shown(tmp_path: Path) -> None:
    (tmp_path / "closes.csv").write_text("close_date,instrument,close\n2025-10-30,NOPE,1\n2025-02-30,AAPL,x\n")
    command = [sys.executable, "-m", "position_server", "load", "closes", "closes.csv", "--data-dir", "data"]
    where = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True, check=False)
    *problems, _ = next(e.text for e in page("commands.md").examples("text")).splitlines()
    assert done.returncode == 2
    assert set(problems) <= set(done.stderr.splitlines())  # and AAPL, which an empty store does not know


def test_the_parameter_that_is_added_is_the_one_of_the_test() -> None:
    assert [e.text.strip() for e in page("adding-a-parameter.md").examples("python")] == [REGION.strip()]


# --- with a server ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The demo desk, from a copy of the project with the section of adding-a-section.md."""
    root = copy_of_the_project(tmp_path_factory.mktemp("docs") / "project")
    (root / "position_server/sections/concentration.py").write_text(example_section())
    with serving(root / "data", root=root) as running:
        running.wait_until_warm()
        yield running


@pytest.mark.skipif(not (shutil.which("curl") or os.environ.get("REQUIRE_SERVICES")), reason="there is no curl")
@pytest.mark.parametrize("command", curl_commands(), ids=lambda command: command[:90])
def test_curl_examples_are_answered(server: ServerProcess, command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command.replace(ADDRESS, f"http://127.0.0.1:{server.port}")],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer
    assert not (isinstance(answer, dict) and answer.get("error"))
    if "position-environment" in command or command.endswith("/status"):
        assert {name: s["error_stack"] for name, s in answer["sections"].items() if s.get("error_stack")} == {}
    if "position-environment?" in command:
        _, options = READER.extract_from_get(urlsplit(shlex.split(command)[-1]).query)
        assert set(options.sections or answer["sections"]) == set(answer["sections"])


@pytest.mark.parametrize("example", [e for e in all_examples("json") if "section_params" in e.text], ids=ids)
def test_what_if_examples_match_what_the_desk_holds(server: ServerProcess, example: Example) -> None:
    if json.loads(example.text).get("error"):
        return
    answer = server.client.post("/position-environment", content=example.text).json()
    assert answer["error"] is False, answer
    warnings = {name: section["data"]["warnings"] for name, section in answer["sections"].items()}
    assert [w for name in answer["section_params"] for w in warnings[name] if "no position in" in w] == []


@pytest.mark.parametrize("name", ["bonds", "equities", "futures", "new_trades", "options", "private", "spot"])
def test_every_field_of_a_row_is_documented(server: ServerProcess, name: str) -> None:
    asked = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS,YCSO,EXO", "time_of_day": "LIVE"}
    data = server.environment(**asked)["sections"][name]["data"]
    assert data["positions"]
    answered = set(data["positions"][0])
    common, own = (set(page("sections.md").rows(heading)) for heading in ("What they share", name))
    assert answered <= common | own
    assert own <= answered | fields_named_below(name)


def fields_named_below(name: str) -> set[str]:
    """The parameters of a section, which stand in a table of their own."""
    _, _, parameters = page("sections.md").part(name).partition("| parameter |")
    return set(re.findall(r"^\| `(\w+)`", parameters, re.MULTILINE))


def test_the_example_section_answers_and_takes_its_parameter(server: ServerProcess) -> None:
    asked = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": ["CUPS"], "time_of_day": "SOD"}
    read = server.environment(**{**asked, "books": "CUPS"}, sections="concentration")
    rows = read["sections"]["concentration"]["data"]["positions"]
    assert sum(row["share_pct"] for row in rows) == pytest.approx(100)
    few = {**asked, "section_params": {"concentration": {"at_least_pct": 3}}}
    posted = server.client.post("/position-environment", json=few).json()
    kept = posted["sections"]["concentration"]["data"]["positions"]
    assert 0 < len(kept) < len(rows)
    assert all(row["share_pct"] >= 3 for row in kept)
