"""Adding a section or a global parameter touches one file: added to a copy of the project, and served."""

from __future__ import annotations

from pathlib import Path

from tests.servers import copy_of_the_project, serving

NO_DEMO = {"POSITION_SERVER_STORE__DEMO": "false"}
BASE = {"env_date": "2025-10-30", "pos_date": "2025-10-29", "books": "CUPS", "time_of_day": "SOD"}
REGION = """    region: Literal["EMEA", "NA", "APAC"] = Field("EMEA", description="The desk's region.", examples=["NA"])
"""
SECTION = '''"""Weather: shows what a section of one file can do."""

from position_server.sections.base import Inputs, Needs, Section, SectionData, SectionParams, param


class WeatherParams(SectionParams):
    wind: float = param("Wind in knots.", 3.0)


def compute(inputs: Inputs, params: WeatherParams) -> SectionData:
    notes = {"wind": params.wind, "where": getattr(inputs.base, "region", None)}
    return SectionData(notes=notes)


SECTION = Section("weather", needs=Needs(previous=False), params=WeatherParams, compute=compute)
'''
WARM_UP = """
WARMUP_CONFIGS = [{
    "name": "NA_DESK", "start_time": "00:00", "end_time": "00:00", "interval_seconds": 60, "days": "all",
    "params": {"env_date": "T", "pos_date": "T-1", "books": ["CUPS"], "time_of_day": "SOD", "region": "NA"},
}]
"""


def with_the_section(tmp_path: Path) -> Path:
    root = copy_of_the_project(tmp_path / "project")
    (root / "position_server/sections/weather.py").write_text(SECTION)
    return root


def test_a_section_is_added_by_adding_its_file(tmp_path: Path) -> None:
    root = with_the_section(tmp_path)
    with serving(tmp_path / "data", root=root, env=NO_DEMO) as server:
        read = server.environment(**BASE, sections="weather")
        assert read["sections"]["weather"]["data"]["wind"] == 3.0
        assert server.status()["sections"]["weather"]["runs"] >= 1
        what_if = {**BASE, "books": ["CUPS"], "section_params": {"weather": {"wind": 8}}}
        posted = server.client.post("/position-environment", json=what_if).json()
        assert posted["sections"]["weather"]["data"]["wind"] == 8.0
        unknown = server.client.post(
            "/position-environment", json={**what_if, "section_params": {"weather": {"rain": 1}}}
        )
        assert unknown.status_code == 400
        assert unknown.json()["problems"][0]["field"] == "section_params.weather.rain"
        document = server.get("/openapi.json").json()
        overrides = document["components"]["schemas"]["WhatIf"]["properties"]["section_params"]["properties"]
        assert overrides["weather"]["properties"]["wind"]["description"] == "Wind in knots."
        assert "wind" in server.get("/params").json()["section_params"]["weather"]


def test_a_global_parameter_is_added_by_its_declaration(tmp_path: Path) -> None:
    root = with_the_section(tmp_path)
    params = root / "position_server/params.py"
    time_of_day = "    time_of_day: TimeOfDay = Field("
    text = params.read_text()
    place = text.index("\n", text.index(time_of_day)) + 1
    params.write_text(text[:place] + REGION + text[place:])
    config = root / "config.py"
    config.write_text(config.read_text() + WARM_UP)

    with serving(tmp_path / "data", root=root, env=NO_DEMO) as server:
        server.wait_until_warm()
        warm = server.environment(**BASE, region="NA")
        assert warm["cache_hit"]  # the warm-up's key holds the region
        assert warm["request_params"]["region"] == "NA"
        assert warm["sections"]["weather"]["data"]["where"] == "NA"
        assert "region=NA" in warm["curl_command"]

        default = server.environment(**BASE)
        assert not default["cache_hit"]  # another key
        assert default["request_params"]["region"] == "EMEA"
        assert default["sections"]["weather"]["data"]["where"] == "EMEA"

        body = {**BASE, "books": ["CUPS"], "region": "APAC"}
        posted = server.client.post("/position-environment", json=body).json()
        assert posted["sections"]["weather"]["data"]["where"] == "APAC"

        wrong = server.get("/position-environment", **BASE, region="MOON")
        assert wrong.status_code == 400
        assert [problem["field"] for problem in wrong.json()["problems"]] == ["region"]
        wrong_body = server.client.post("/position-environment", json={**body, "region": 7})
        assert [problem["field"] for problem in wrong_body.json()["problems"]] == ["region"]

        described = {p["name"]: p for p in server.get("/params").json()["params"]}
        assert described["region"]["default"] == "EMEA"
        assert described["region"]["required"] is False
        paths = server.get("/openapi.json").json()["paths"]
        query = {p["name"]: p for p in paths["/position-environment"]["get"]["parameters"]}
        assert query["region"]["schema"]["enum"] == ["EMEA", "NA", "APAC"]


def test_a_section_that_cannot_be_imported_stops_the_start_with_its_file(tmp_path: Path) -> None:
    root = copy_of_the_project(tmp_path / "project")
    (root / "position_server/sections/broken.py").write_text("import there_is_no_such_module\n")
    with serving(tmp_path / "data", root=root, env=NO_DEMO) as server:
        assert server.process.wait(20) == 1
    assert "sections/broken.py: ModuleNotFoundError" in server.log.read_text()


def test_two_sections_of_one_name_stop_the_start(tmp_path: Path) -> None:
    root = with_the_section(tmp_path)
    (root / "position_server/sections/weather2.py").write_text(SECTION)
    with serving(tmp_path / "data", root=root, env=NO_DEMO) as server:
        assert server.process.wait(20) == 1
    assert "there is a section named 'weather' already" in server.log.read_text()
