from __future__ import annotations

from pathlib import Path

import pytest

from position_server.cli import main


def test_demo_builds_the_store_in_the_data_folder_and_counts_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["demo", "--data-dir", str(tmp_path / "var")]) == 0
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["position_server.sqlite"]
    assert "instruments         318" in capsys.readouterr().out


def test_demo_refuses_a_store_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "position_server.sqlite").write_bytes(b"")
    assert main(["demo", "--data-dir", str(tmp_path)]) == 1
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["0", "-1", "many"])
def test_demo_refuses_a_scale_that_is_no_positive_number(scale: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--scale", scale])
    assert "--scale" in capsys.readouterr().err
