"""The wheel, away from the checkout: what it carries, and `maml-sweep sweep` out of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from composing import ROOT

from maml_sweep import typed

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "conf", "maml_sweep", "hydra_plugins")
PLUGINS = sorted(path.name for path in (ROOT / "hydra_plugins").iterdir() if path.name[0] != "_")
SMALL = (
    "study.n_trials=2",
    "training.iterations=4",
    "training.report_every=2",
    "training.validation_tasks=2",
    "training.meta_batch_size=2",
    "algorithm.inner_steps=1",
    "model.widths=[4]",
    "device.inter_op=1",
)
# A class of the user's own, beside nothing else, and the option that names it.
MINE = """
from maml_sweep.tasks import Sinusoid


class Mine(Sinusoid):
    pass
"""


def setuptools_version() -> int:
    """Its major version; 0 where there is none."""
    try:
        return int(version("setuptools").partition(".")[0])
    except PackageNotFoundError:
        return 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy."""
    if setuptools_version() < 77:
        pytest.skip("builds a wheel: pip install 'setuptools>=77'")
    home = tmp_path_factory.mktemp("wheel")
    source = home / "source"
    source.mkdir()
    skip = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=skip)
        else:
            shutil.copy(ROOT / name, source / name)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(home)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (built,) = home.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is unpacked in, as an installation is."""
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(target)
    return target


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A folder of the user's: a task of their own, its option, and what is searched for it."""
    (tmp_path / "my_tasks.py").write_text(MINE)
    options = tmp_path / "options"
    for name, text in {
        "task/mine.yaml": "_target_: my_tasks.Mine\nshots: 3\nqueries: 3\n",
        "search/mine.yaml": "# @package hydra.sweeper.params\n"
        "algorithm.inner_lr: tag(log, interval(0.01, 0.1))\n",
    }.items():
        (options / name).parent.mkdir(parents=True)
        (options / name).write_text(text)
    return tmp_path


def maml_sweep(
    installed: Path, cwd: Path, *arguments: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """`maml-sweep <arguments>` out of the installation, the checkout out of sight."""
    path = [str(installed), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    kept = [each for each in path if each and Path(each).resolve() != ROOT]
    environ = {key: value for key, value in os.environ.items() if key != "MAML_SWEEP_COMMAND"}
    code = (  # an editable installation would be found as well, and its plugins twice
        f"import sys; sys.path = [x for x in sys.path if x != {str(ROOT)!r}];"
        "from maml_sweep.cli import main; sys.exit(main())"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=cwd,
        env={**environ, "PYTHONPATH": os.pathsep.join(kept), **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_it_carries_what_the_package_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        inside = {name for name in file.namelist() if ".dist-info/" not in name}
        config = file.read("maml_sweep/conf/config.yaml")
    assert config == (ROOT / "conf" / "config.yaml").read_bytes()
    homes = (ROOT / "maml_sweep", ROOT / "maml_sweep" / "conf", ROOT / "hydra_plugins")
    files = (path for home in homes for path in home.rglob("*") if path.is_file())
    needed = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert inside == needed
    assert "maml_sweep_sweeper" in PLUGINS
    for plugin in PLUGINS:
        assert f"hydra_plugins/{plugin}/{plugin}.py" in inside
    assert not [name for name in inside if re.match("(tests|benchmarks|examples|sweep)", name)]


def test_it_says_what_it_runs_on(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        (name,) = (each for each in file.namelist() if each.endswith("/METADATA"))
        said = file.read(name).decode()
        (name,) = (each for each in file.namelist() if each.endswith("/entry_points.txt"))
        assert "maml-sweep = maml_sweep.cli:main" in file.read(name).decode()
    assert "Requires-Python: >=3.11\n" in said


def test_questions_are_answered_from_anywhere(installed: Path, user: Path) -> None:
    answer = maml_sweep(installed, user, "sweep", "--config-dir", "options", "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "  maml-sweep sweep --config-dir options task=glyphs model=conv4  " in answer.stdout
    assert "mine" in answer.stdout and "Powered by" not in answer.stdout
    arguments = ("--config-dir", "options", "task=mine", "--cfg", "all", "-p", "hydra.job")
    answer = maml_sweep(installed, user, "sweep", *arguments)
    assert "\nname: sweep\n" in answer.stdout
    assert {path.name for path in user.iterdir()} == {"my_tasks.py", "options"}


def test_a_sweep_of_the_user_s_own_task(installed: Path, user: Path) -> None:
    """The class lies where the command is typed; the lines to paste name that command."""
    arguments = ("--config-dir", "options", "task=mine", "study.name=s", *SMALL)
    done = maml_sweep(installed, user, "sweep", *arguments)
    assert done.returncode == 0, done.stderr
    assert "s: 2/2 slots done" in done.stdout
    again = "  maml-sweep sweep --config-dir options hydra.mode=RUN task=mine "
    assert [line for line in done.stdout.splitlines() if line.startswith(again)]
    found = maml_sweep(installed, user, "best", "--json")
    best = json.loads(found.stdout)["best"]
    assert best["command"].startswith("maml-sweep sweep hydra.mode=RUN task=mine ")
    assert 0.01 <= best["parameters"]["algorithm.inner_lr"] <= 0.1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["algorithm.inner_lrr=interval(0,1)"], 2, ["no such setting", "algorithm.inner_lr"]),
        (["algorithm.inner_lrr=0.1"], 1, ["Key 'inner_lrr' not in 'MAML'"]),
        (["hydra.mode=RUN", "algorithm.inner_lr=-1"], 2, ["algorithm.inner_lr=-1"]),
    ],
)
def test_exit_codes_are_the_application_s(
    installed: Path, tmp_path: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    answer = maml_sweep(installed, tmp_path, "sweep", *arguments)
    assert answer.returncode == code
    for word in words:
        assert word in answer.stderr
    assert code == 1 or len(answer.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("study.db"))


def test_completion_in_bash(installed: Path, tmp_path: Path) -> None:
    """Hydra's has the shell ask `maml-sweep -sc query=bash` about all that was typed."""

    def options(line: str) -> list[str]:
        answer = maml_sweep(installed, tmp_path, "-sc", "query=bash", COMP_LINE=line)
        assert (answer.returncode, answer.stderr) == (0, "")
        return answer.stdout.split()

    assert options("maml-sweep sweep optimizer=") == [
        f"optimizer={name}" for name in ("adam", "adamw", "sgd")
    ]
    assert {"sweep", "best", "status"} <= set(options("maml-sweep s"))


def test_a_line_to_paste_fits_where_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As typed; else `python sweep.py` in the checkout, `maml-sweep sweep` anywhere else."""
    monkeypatch.delenv("MAML_SWEEP_COMMAND")
    monkeypatch.chdir(tmp_path)
    assert typed.command() == "maml-sweep sweep"
    (tmp_path / "sweep.py").touch()  # somebody's own
    assert typed.command() == "maml-sweep sweep"
    monkeypatch.chdir(ROOT)
    assert typed.command() == "python sweep.py"
    typed.note("python ../sweep.py --config-dir mine")
    assert typed.command() == "python ../sweep.py --config-dir mine"
    monkeypatch.setenv("MAML_SWEEP_COMMAND", "")  # so that it is put back


def test_workers_find_the_user_s_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spawned ones get this process's path, Slurm's and Ray's its environment."""
    monkeypatch.setattr(sys, "path", ["elsewhere"])
    monkeypatch.setenv("PYTHONPATH", "before")
    for _ in range(2):
        typed.find_classes(tmp_path)
    assert sys.path == [str(tmp_path), "elsewhere"]
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(tmp_path), "before"])
