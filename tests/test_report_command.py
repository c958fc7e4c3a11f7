"""The command `maml-sweep report`: what it writes, where, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import synthetic
from pages import parsed
from planned import FOUR
from simulated import RATE, STEPS

from maml_sweep import cli


def test_the_command_writes_beside_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = synthetic.make(tmp_path, name="a", n_trials=3)
    assert cli.main(["report", "a", "--root", str(tmp_path)]) == 0
    path = folder / "report.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert parsed(path.read_text(encoding="utf-8")).all("h1")[0].text == "a"
    assert not list(folder.glob(".report*"))


def test_the_command_writes_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = synthetic.make(tmp_path, name="a", n_trials=3)
    for output, path in ((tmp_path, tmp_path / "report.html"), (tmp_path / "x" / "y.html",) * 2):
        assert cli.main(["report", str(folder), "--output", str(output), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told == {
            "study": "a",
            "files": [{"path": str(path), "bytes": path.stat().st_size}],
        }
    assert not (folder / "report.html").exists()


def test_the_command_writes_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    space = {RATE: FOUR[RATE], STEPS: FOUR[STEPS]}
    folder = synthetic.make(tmp_path, name="a", n_trials=12, space=space)
    assert cli.main(["report", str(folder), "--format", "svg"]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert {path.parent for path in paths} == {folder / "figures"}
    assert {"history.svg", "adaptation.svg", "steps-map.svg"} <= {path.name for path in paths}
    assert all("<svg" in path.read_text(encoding="utf-8") for path in paths)


def test_the_command_opens_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = synthetic.make(tmp_path, name="a b", n_trials=2)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert cli.main(["report", str(folder), "--open"]) == 0
    assert opened == [(folder / "report.html").as_uri()]


@pytest.mark.parametrize("arguments", [["--format", "html"], ["--format", "png"]])
def test_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    folder = synthetic.make(tmp_path, name="a", n_trials=8)
    (tmp_path / "file").write_text("")
    output = str(tmp_path / "file" / "below")
    assert cli.main(["report", str(folder), *arguments, "--output", output]) == 2
    message = capsys.readouterr().err
    assert message.startswith("--output: cannot write") and message.count("\n") == 1
