"""The pages of the docs say what the code does: settings, routes, codes, targets, links, dependencies."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import unquote

import pytest
from pydantic import BaseModel

import position_server
from position_server import errors
from position_server.cli import COMMANDS
from position_server.environment.scheduler import WarmUpConfig
from position_server.metrics import Metrics
from position_server.params import BaseParams, ReadOptions
from position_server.sections.base.discovery import discover
from position_server.settings import CONFIG_FILE, Settings, load_settings
from position_server.web import operations
from position_server.web.base import STATUS_BY_CODE, JsonHandler
from position_server.web.routes import Services, route_table
from tests.house.pages import DOCS, Page, all_pages, page
from tests.house.sources import REPOSITORY
from tests.house.test_names import all_errors

CONFIGURATION = page("configuration.md")
HTTP = page("http.md")
MAKEFILE = (REPOSITORY / "Makefile").read_text()


def groups() -> dict[str, type[BaseModel]]:
    """The dictionaries of config.py, by name."""
    kinds = {name.upper(): field.annotation for name, field in Settings.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def routes() -> list[tuple[str, type[JsonHandler]]]:
    nothing: Any = Mock()  # nothing is called: the table is only read
    table = route_table(Services(**dict.fromkeys((field.name for field in fields(Services)), nothing)))
    return [(path, handler) for path, handler, _ in table]


def documented_default(cells: list[str]) -> object:
    return ast.literal_eval(cells[0].strip("`"))


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(groups()))
def test_every_key_of_a_group_is_documented_with_its_default(name: str) -> None:
    rows = CONFIGURATION.rows(name)
    fields = groups()[name].model_fields
    assert rows.keys() - {"key"} == set(fields)
    assert {key: documented_default(rows[key]) for key in fields} == {k: f.default for k, f in fields.items()}


@pytest.mark.parametrize("name", sorted({name.upper() for name in Settings.model_fields} - set(groups())))
def test_every_plain_setting_is_documented(name: str) -> None:
    if name in CONFIGURATION.headings:
        return
    tables = {**CONFIGURATION.rows("Access"), **CONFIGURATION.rows("The desk"), **CONFIGURATION.rows("Data")}
    default = Settings.model_fields[name.lower()].default
    plain = list(default) if isinstance(default, tuple) else str(default) if isinstance(default, Path) else default
    assert documented_default(tables[name]) == plain


def test_every_key_of_a_warm_up_is_documented() -> None:
    rows = CONFIGURATION.rows("WARMUP_CONFIGS")
    assert set(WarmUpConfig.model_fields) == rows.keys()
    required = {name for name, field in WarmUpConfig.model_fields.items() if field.is_required()}
    assert {name for name, cells in rows.items() if cells[0] == "required"} == required


def test_every_name_of_the_config_file_is_a_setting() -> None:
    assigned = [node for node in ast.parse(CONFIG_FILE.read_text()).body if isinstance(node, ast.Assign)]
    names = {target.id.lower() for node in assigned for target in node.targets if isinstance(target, ast.Name)}
    assert names <= set(Settings.model_fields)
    assert load_settings().server.port


# --- routes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "handler"), routes())
def test_every_route_has_its_part_for_each_method(path: str, handler: type[JsonHandler]) -> None:
    for method in handler.docs:
        assert f"{method.upper()} {path}" in HTTP.headings


def test_no_route_is_documented_that_does_not_exist() -> None:
    documented = {match[1] for heading in HTTP.headings if (match := re.fullmatch(r"[A-Z]+ (/\S+)", heading))}
    assert documented == {path for path, _ in routes()}
    assert set(re.findall(r"\[`(/[^`]+)`\]", HTTP.text)) == documented


def test_every_argument_of_a_get_is_documented() -> None:
    rows = HTTP.rows("Arguments")
    fields = {**BaseParams.model_fields, **ReadOptions.model_fields}
    assert {name: rows[name][0] for name in fields} == {
        n: "yes" if f.is_required() else "no" for n, f in fields.items()
    }


def test_every_field_of_an_answer_is_documented() -> None:
    assert {*operations.ENVELOPE, "sections"} <= HTTP.rows("The answer").keys()
    assert set(operations.METADATA["properties"]) <= HTTP.rows("Freshness receipt").keys()
    status = operations.SCHEMAS["Status"]["properties"]
    assert set(status) == HTTP.rows("GET /status").keys()
    assert set(operations.SCHEMAS["WarmUp"]["properties"]) <= page("warm-ups.md").rows("What `/status` shows").keys()


def test_every_metric_is_documented() -> None:
    named = set(re.findall(r"position_server_\w+", HTTP.part("GET /metrics")))
    families = {family.name for family in Metrics.create().registry.collect() if family.name.startswith("position")}
    assert {name.removesuffix("_total") for name in named} == families


# --- errors ----------------------------------------------------------------------------------------------------------


def test_every_error_code_is_documented_with_its_status() -> None:
    tables = page("errors.md")
    text = tables.text
    for error in all_errors():
        assert f"`{error.code}`" in text, f"{error.__name__} is not in docs/errors.md"  # type: ignore[attr-defined]
    answers = tables.rows("Codes of answers")
    statuses = {**STATUS_BY_CODE, errors.PositionServerError.code: 500}
    assert {code: int(answers[code][0]) for code in statuses} == statuses


# --- sections --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(discover()))
def test_every_parameter_of_a_section_is_documented(name: str) -> None:
    part = page("sections.md").part(name)
    _, _, parameters = part.partition("| parameter |")
    assert set(re.findall(r"^\| `(\w+)`", parameters, re.MULTILINE)) == set(discover()[name].params.model_fields)


def test_every_section_is_documented_and_no_other() -> None:
    linked = set(re.findall(r"\[`(\w+)`\]\(#\w+\)", page("sections.md").text))
    assert linked == set(discover())


# --- the rest --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_flag_is_documented(name: str) -> None:
    parser = argparse.ArgumentParser()
    importlib.import_module(f"position_server.cli.{COMMANDS[name].module}").add_arguments(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
    part = page("commands.md").part(name)
    assert {flag for flag in flags if not re.search(rf"`[^`]*{flag}\b", part)} == set()


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
    named = {target for one in all_pages() for target in re.findall(r"(?:`|^)make ([a-z-]+)", one.text, re.MULTILINE)}
    assert named == targets


@pytest.mark.parametrize("one", all_pages(), ids=lambda one: one.name)
def test_every_link_leads_somewhere(one: Page) -> None:
    for link in one.links:
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = unquote(link).partition("#")
        target = one if not file else Page((one.path.parent / file).resolve())
        assert target.path.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in target.anchors, f"{link}: there is no such heading"


def test_every_page_is_on_the_front_page() -> None:
    linked = {link.partition("#")[0] for link in page("index.md").links}
    assert {file.name for file in DOCS.glob("*.md")} - {"index.md"} <= linked
    decisions = set(page("decisions/index.md").links)
    assert decisions == {file.name for file in (DOCS / "decisions").glob("*.md")} - {"index.md"}


def test_decisions_are_numbered_and_say_context_decision_and_consequences() -> None:
    files = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [file.name[:4] for file in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    for file in files:
        assert Page(file).headings[0].startswith(file.name[:4])
        assert Page(file).headings[1:] == ["Context", "Decision", "Consequences"]


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    needed = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    table = Page(DOCS / "decisions/0006-dependencies.md").part("Decision")
    lines = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| package")]
    named = {name for line in lines for name in re.findall(r"[a-z][\w-]+", line.split("|")[1].split(" with ")[0])}
    assert named == needed


def test_the_changelog_has_this_version() -> None:
    assert f"[{position_server.__version__}]" in Page(REPOSITORY / "CHANGELOG.md").text
