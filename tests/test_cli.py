"""`maml-sweep`: what its commands print, and that they answer lightly."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import synthetic
from composing import ROOT
from simulated import RATE

import maml_sweep
from maml_sweep import cli, commands
from maml_sweep.analysis import export, frames
from maml_sweep.analysis.columns import TABLES
from maml_sweep.errors import InputError
from maml_sweep.search import progress, slots

STATES = {1: "pruned", 2: "diverged", 3: "running", 4: "waiting", 5: "failed", 6: "retried"}
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two studies: `first` is done, `second` has every state and a live worker."""
    root = tmp_path_factory.mktemp("outputs")
    synthetic.make(root, "first", n_trials=4, prune="none", fixed=["model.activation=tanh"])
    synthetic.make(root, "second", n_trials=8, states=STATES, prune="none", lease="live")
    return root


@pytest.fixture
def typed(root: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs a command on those: (exit code, what it printed, what it said on stderr)."""

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        place = () if "--root" in arguments else ("--root", str(root))
        code = cli.main([command, *arguments, *place])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


# -- list, best -------------------------------------------------------------------------------


def test_list_has_a_line_a_study_the_newest_first(typed: Typed, root: Path) -> None:
    code, output, _ = typed("list")
    lines = output.splitlines()
    assert code == 0 and [line.split()[0] for line in lines] == ["study", "second", "first"]
    counted = "3 complete, 1 pruned, 1 diverged, 1 failed, 1 running, 1 waiting"
    assert "6/8" in lines[1] and counted in lines[1]
    assert "4/4" in lines[2] and "4 complete" in lines[2]
    best = frames.load("first", root).trials["value"].min()
    assert f"mse {best:.4g} (slot" in lines[2]


def test_list_as_json(typed: Typed, root: Path) -> None:
    second, first = json.loads(typed("list", "--json")[1])
    trials = frames.load("first", root).trials
    assert first["best"] == {"value": trials["value"].min(), "slot": int(trials["value"].argmin())}
    assert datetime.fromisoformat(first["changed"]) == trials["finished"].max()
    assert second["slots"]["running"] == 1 and second["finished"] == 6


def test_list_of_nothing_and_of_what_cannot_be_read(typed: Typed, tmp_path: Path) -> None:
    empty = typed("list", "--root", str(tmp_path))
    assert empty == (0, f"no study in {tmp_path}: begin one with python sweep.py\n", "")
    assert typed("list", "--root", str(tmp_path), "--json")[1] == "[]\n"
    synthetic.make(tmp_path, "begun", n_trials=0)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.db").write_text("no database")
    code, output, _ = typed("list", "--root", str(tmp_path))
    assert code == 0 and "is no SQLite database" in output
    assert "none yet" in output and "not begun" in output


def test_best_says_what_the_sweep_said(
    typed: Typed, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its line to paste is that of the sweep's own last words."""
    study = frames.load("first", root)
    trials = study.study.get_trials()
    counts = slots.tally(trials, 3)
    best, url = study.study.best_trial, study.located.url
    progress.say_outcome(study.plan, counts, best, study.searched, study.folder, url)
    pasted = next(line for line in capsys.readouterr().out.splitlines() if "RUN" in line)
    code, output, _ = typed("best", "first")
    assert code == 0 and pasted in output.splitlines()
    slot = int(study.trials["value"].argmin())
    for expected in ("4/4", f"(slot {slot})", f"{study.trials['value'].min():.6g}", "best.yaml"):
        assert expected in output
    words = shlex.split(pasted)
    assert words[:4] == ["python", "sweep.py", "hydra.mode=RUN", "model.activation=tanh"]
    assert f"{RATE}={study.trials[RATE][slot]}" in words
    assert words[-1] == f"trial_seed={study.trials['trial_seed'][slot]}"


def test_best_as_json(typed: Typed, root: Path) -> None:
    found = json.loads(typed("best", "first", "--json")[1])
    study = frames.load("first", root)
    slot = found["best"]["slot"]
    assert found["best"]["value"] == study.trials["value"][slot] == study.trials["value"].min()
    assert found["best"]["parameters"] == {
        key: study.trials[key][slot] for key in study.space["parameter"]
    }
    files = [Path(file).name for file in found["files"]]
    assert files == ["best.yaml", "trials.csv", f"{slot}.npz"]
    assert (found["metric"], found["direction"], found["finished"]) == ("mse", "minimize", 4)


def test_best_where_there_is_none(typed: Typed, tmp_path: Path) -> None:
    synthetic.make(tmp_path, "bad", n_trials=2, states="diverged")
    said = typed("best", "--root", str(tmp_path))
    assert said == (0, "bad: no trial has come to its end yet\n", "")
    assert json.loads(typed("best", "--root", str(tmp_path), "--json")[1])["best"] is None


# -- export -----------------------------------------------------------------------------------


def test_export_as_csv_reads_back_the_same(typed: Typed, root: Path, tmp_path: Path) -> None:
    code, output, _ = typed("export", "second", "--output", str(tmp_path))
    assert code == 0 and output.splitlines()[0] == f"{tmp_path}/trials.csv: 8 rows"
    study = frames.load("second", root)
    for table in TABLES:
        frame = getattr(study, table)
        again = pd.read_csv(tmp_path / f"{table}.csv")
        assert list(again) == list(frame) and len(again) == len(frame)
        numbers = frame.select_dtypes("float64")
        pd.testing.assert_frame_equal(again[list(numbers)].astype("float64"), numbers)
    times = pd.to_datetime(pd.read_csv(tmp_path / "trials.csv")["started"], format="ISO8601")
    assert (times.dropna() == study.trials["started"].dropna()).all()


def test_export_as_parquet_keeps_the_types(typed: Typed, root: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    arguments = ("--format", "parquet", "--output", str(tmp_path), "--json")
    code, output, _ = typed("export", "second", *arguments)
    files = json.loads(output)["files"]
    assert code == 0 and {Path(file["path"]).stem for file in files} == set(TABLES)
    study = frames.load("second", root)
    for file in files:
        frame = getattr(study, Path(file["path"]).stem)
        again = pd.read_parquet(file["path"])
        pd.testing.assert_frame_equal(again, frame)
        assert file["rows"] == len(frame)


def test_export_without_pyarrow_writes_nothing(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = typed("export", "first", "--format", "parquet", "--output", str(tmp_path / "out"))
    advice = "pip install 'maml-sweep[parquet]', or take csv"
    assert said == (2, "", f"--format=parquet: needs pyarrow; {advice}\n")
    assert not (tmp_path / "out").exists()


def test_export_where_nothing_can_be_written(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--output: cannot write"):
        export.export(frames.load("first", root), output=tmp_path / "file")


# -- the command line -------------------------------------------------------------------------


def test_every_command_has_a_line_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["best"]):
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments, "--help"])
        assert stop.value.code == 0
        output = capsys.readouterr().out
        assert all(name in output for name in (arguments or cli.COMMANDS))
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"{maml_sweep.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["bset"], ["best", "--jsno"], ["list", "a"]])
def test_what_is_typed_wrong(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: maml-sweep" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["best", "status", "export"])
def test_no_such_study_is_one_line_and_code_2(command: str, typed: Typed) -> None:
    code, output, errors = typed(command, "frist")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "did you mean 'first'?" in errors


def test_an_interruption_is_130(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "print_table", interrupt)
    assert cli.main(["list", "--root", str(root)]) == 130


def test_a_reader_that_has_seen_enough_is_no_error(root: Path) -> None:
    command = [sys.executable, "-m", "maml_sweep", "best", "--root", str(root)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize("command", ["list", "best", "status"])
def test_light_commands_import_nothing_heavy(command: str, root: Path) -> None:
    heavy = ("tensorflow", "keras", "pandas", "scipy", "sklearn", "matplotlib", "jinja2", "plotly")
    code = (
        "import sys; from maml_sweep.cli import main\n"
        f"code = main([{command!r}, '--root', {str(root)!r}])\n"
        f"print(code, [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_json_is_always_json(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"a": float("nan"), 1: (Path("b"), datetime(2026, 1, 2)), "n": pd.Series([3])[0]}
    commands.print_json(value | {"é": SimpleNamespace(item=lambda: 1.5)})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"a": None, "1": ["b", "2026-01-02T00:00:00"], "n": 3, "é": 1.5}
    assert "é" in printed


def test_a_table_is_cut_nowhere_but_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    commands.print_table(("a", "[b]"), [("x" * 300, "[red]")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["a", "[b]"], ["x" * 300, "[red]"]]
