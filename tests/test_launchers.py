"""What is known of Hydra's launchers, and what they say when they fail, in one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from composing import composer
from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext, RunMode
from studies import plan

from maml_sweep.errors import InputError
from maml_sweep.search import launchers
from maml_sweep.search.crew import Crew, Launch


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], None),
        (["workers=2", "hydra/launcher=ray"], "ray"),
        (["+hydra/launcher='ray'", "hydra/launcher=joblib", "x=hydra/launcher=y"], "joblib"),
    ],
)
def test_the_last_launcher_named_counts(arguments: list[str], expected: str | None) -> None:
    assert launchers.named(arguments) == expected


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("joblib", "joblib"),
        ("submitit_slurm", "slurm"),
        ("submitit_local", "slurm"),
        ("ray", "ray"),
    ],
)
def test_a_launcher_that_is_not_installed_is_named_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.setattr(launchers, "find_spec", lambda module: None)
    assert launchers.missing([f"hydra/launcher={name}"]) == (
        f"hydra/launcher={name}: that launcher is not installed; "
        f"pip install 'maml-sweep[{extra}]', or use hydra/launcher=local"
    )
    assert launchers.missing(["hydra/launcher=local"]) is None
    assert launchers.missing(["hydra/launcher=theirs"]) is None  # Hydra knows, or refuses
    assert launchers.missing(["workers=2"]) is None


def test_both_the_plugin_and_its_library_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """find_spec raises where a parent package is missing, and says None where a module is."""
    there = {"hydra_plugins.hydra_ray_launcher"}

    def find(module: str) -> object:
        if module.startswith("absent"):
            raise ModuleNotFoundError
        return module if module in there else None

    monkeypatch.setattr(launchers, "find_spec", find)
    assert not launchers.installed("ray")
    there.add("ray")
    assert launchers.installed("ray")
    monkeypatch.setitem(launchers.PACKAGES, "odd", (("absent.x",), "odd"))
    assert not launchers.installed("odd")


class UncompletedJobError(RuntimeError):
    """As submitit's."""


class RayError(Exception):
    """As Ray's."""


class WorkerCrashedError(RayError):
    """As Ray's."""


def test_a_death_is_told_from_a_refusal() -> None:
    refused = UncompletedJobError("sbatch: error: no")
    refused.__cause__ = subprocess.CalledProcessError(1, "sbatch")
    assert launchers.is_death(UncompletedJobError()) and launchers.is_death(WorkerCrashedError())
    assert not launchers.is_death(refused)
    assert not launchers.is_death(RuntimeError()) and not launchers.is_death(ConnectionError())


def test_a_reason_is_the_last_line_of_a_traceback() -> None:
    text = "Job 3 failed with trace:\n---\nTraceback\n  File x\nValueError: seven.\n----\n"
    assert launchers.reason(RuntimeError(text)) == "ValueError: seven"
    killed = "Job 7_1 (task: 0) with path /x/7_1_0_result.pkl\nhas not produced any output (state: "
    killed += "NODE_FAIL)\nError stream produced:\n----\n[maml_sweep][INFO] - slot 1 done\n"
    assert launchers.reason(RuntimeError(killed)) == (
        "job 7_1 ended without a result in state NODE_FAIL"
    )
    assert launchers.reason(RuntimeError()) == "RuntimeError"
    assert launchers.reason(SystemExit(3)) == "exit code 3"


def test_ray_that_does_not_answer_is_named_by_its_address() -> None:
    target = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"
    ray = SimpleNamespace(init={"address": "10.0.0.1:6379"})
    launcher = SimpleNamespace(_target_=target, ray=ray)
    refusal = launchers.refusal(ConnectionError("ray did not\nanswer"), launcher)
    assert str(refusal) == (
        "hydra.launcher.ray.init.address=10.0.0.1:6379: no Ray cluster answers there; start one "
        "(ray start --head), or leave the address out to have one on this machine"
    )


# -- submitit itself, with programs of Slurm's names -----------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A folder of programs in front of PATH; launches one worker with them."""
    pytest.importorskip("submitit")
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), "/usr/bin", "/bin"]))
    before = HydraConfig.instance().cfg

    def act(**scripts: str) -> str:
        for name, script in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        said = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=fast")
        composing = composer(*said)
        config = composing.compose([f"hydra.sweep.dir={tmp_path}"], RunMode.MULTIRUN)
        launch = Launch(config, plan(), tmp_path, "sqlite://")
        with pytest.raises(InputError) as caught:
            Crew(launch, HydraContext(composing.loader, Callbacks())).run()
        return str(caught.value)

    yield act
    HydraConfig.instance().cfg = before


UNKNOWN = "echo 'sbatch: error: Batch job submission failed: Invalid partition name specified' >&2"


def test_a_partition_that_does_not_exist_is_named_with_those_that_do(
    slurm: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    said = slurm(srun="exit 0", sbatch=f"{UNKNOWN}; exit 1", sinfo="echo slow; echo gpu; echo gpu")
    assert said == (
        "hydra.launcher.partition=fast: Slurm has no such partition; there are gpu, slow"
    )
    assert capsys.readouterr().err == ""  # submitit would say it once more
    assert slurm(sinfo="exit 1").endswith("Slurm has no such partition; see sinfo")


@pytest.mark.parametrize(
    ("sinfo", "refused"), [("echo slow", True), ("echo slow; echo fast", False), ("exit 1", False)]
)
def test_a_partition_is_looked_up_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sinfo: str, refused: bool
) -> None:
    pytest.importorskip("submitit")
    program = tmp_path / "sinfo"
    program.write_text(f"#!/bin/sh\n{sinfo}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"]))
    said = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=fast")
    launcher = composer(*said).compose([], RunMode.MULTIRUN).hydra.launcher
    line = "hydra.launcher.partition=fast: Slurm has no such partition; there are slow"
    with pytest.raises(InputError, match=f"^{line}$") if refused else nullcontext():
        launchers.refuse_absent(launcher)


def test_other_refusals_of_slurm_come_in_its_words(slurm: Any) -> None:
    said = slurm(srun="exit 0", sbatch="echo 'sbatch: error: Invalid account' >&2; exit 1")
    assert said == (
        "hydra/launcher=submitit_slurm: sbatch refused the workers: Invalid account; see "
        "hydra.launcher.* with --cfg hydra"
    )


def test_where_there_is_no_slurm_it_says_so(slurm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert slurm() == (
        "hydra/launcher=submitit_slurm: sbatch and srun are not found here; start the sweep on a "
        "machine of the cluster, or use hydra/launcher=local"
    )
