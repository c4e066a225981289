from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.processes import BenchError, clean_environment, on_core, started, until
from bench.subject import Question, filler, settings


def test_a_child_is_ended_with_its_context_also_when_frozen(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with started(command, tmp_path / "log") as child:
        assert child.process.poll() is None
        assert child.resident_bytes() > 0
        assert child.processor_seconds() >= 0
        child.freeze()
    assert child.process.poll() is not None


def test_a_core_is_given_by_taskset() -> None:
    assert on_core(["wrk"], 1) == ["taskset", "-c", "1", "wrk"]
    assert on_core(["wrk"], None) == ["wrk"]


def test_settings_of_this_shell_do_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSITION_SERVER_SERVER__PORT", "1")
    assert "POSITION_SERVER_SERVER__PORT" not in clean_environment()


def test_what_never_comes_is_an_error_in_one_line() -> None:
    with pytest.raises(BenchError, match=r"a miracle: not within 0\.01 s"):
        until(lambda: None, 0.01, "a miracle", every=0.001)


def test_settings_are_variables_of_json_or_text() -> None:
    assert settings(CACHE__MAX_MB=2000, BUSINESS_DATE="2025-10-30") == {
        "POSITION_SERVER_CACHE__MAX_MB": "2000",
        "POSITION_SERVER_BUSINESS_DATE": "2025-10-30",
    }


def test_a_question_is_a_path() -> None:
    assert Question(("CUPS", "YCSO"), sections="bonds").path == (
        "/position-environment?env_date=2025-10-30&pos_date=2025-10-29&books=CUPS%2CYCSO&time_of_day=EOD&sections=bonds"
    )
    assert "books=BYTES-5000%2CK1" in filler(5000, "K1").path
