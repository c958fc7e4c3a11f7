"""maml-sweep doctor: what it finds on machines of every kind, and what it says of them."""

from __future__ import annotations

import importlib.metadata
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maml_sweep import cli
from maml_sweep.backend import tf
from maml_sweep.doctor import installed, steps
from maml_sweep.doctor.examination import problems
from maml_sweep.doctor.steps import Step
from maml_sweep.training import devices, memory
from maml_sweep.training.devices import Device

H100 = {"index": "0", "name": "NVIDIA H100", "driver_version": "570.1"}
CARD: dict[str, str] = {**H100, "memory.total": "81559", "memory.free": "81000"}
STEP = Step(8, 1234.5, 567.8, 2.25, 3e-7, 900 * 2**20)


def found(**changes: Any) -> dict[str, Any]:
    """A sound machine without a GPU, but for the changes."""
    gpus: dict[str, Any] = {"driver": [], "nodes": [], "visible": None, "tensorflow": []}
    return {
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0"},
        "build": {"cuda_build": True, "cuda": "12.5.1", "cudnn": "9"},
        "gpus": gpus | changes.pop("gpus", {}),
        "steps": [STEP._asdict()],
    } | changes


# -- what is wrong ---------------------------------------------------------------------------------


def test_a_sound_machine() -> None:
    assert problems(found()) == []
    assert problems(found(gpus={"driver": [CARD], "tensorflow": ["GPU:0"]})) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"gpus": {"driver": [CARD]}},
            (
                "there is NVIDIA H100, but TensorFlow does not see it (it wants CUDA 12.5.1 and "
                "cuDNN 9): pip install 'maml-sweep[cuda]'"
            ),
        ),
        (
            {"gpus": {"driver": [CARD]}, "build": {"cuda_build": False}},
            (
                "there is NVIDIA H100, but this TensorFlow was built without CUDA: pip install "
                "'maml-sweep[cuda]'"
            ),
        ),
        (
            {"gpus": {"nodes": ["nvidia0"]}},
            "there is a GPU, but nvidia-smi does not answer: install NVIDIA's driver",
        ),
        (
            {"gpus": {"driver": [CARD], "visible": ""}},
            "CUDA_VISIBLE_DEVICES= hides the GPU from TensorFlow: unset it to use the GPU",
        ),
        (
            {"gpus": {"nodes": ["nvidia0"], "visible": "-1"}},
            "CUDA_VISIBLE_DEVICES=-1 hides the GPU from TensorFlow: unset it to use the GPU",
        ),
        (
            {"versions": {"python": "3.11.7", "keras": None}},
            "keras is not installed as a package: pip install keras",
        ),
        (
            {"steps": [STEP._asdict(), STEP._replace(pack=32, difference=0.2)._asdict()]},
            (
                "in a pack of 32 XLA's meta-gradient differs from the plain program's by 2.0e-01 "
                "of its length, where 1e-03 is allowed: set device.compile=false, and please "
                "report it"
            ),
        ),
    ],
)
def test_what_is_wrong_and_what_to_do(changes: dict[str, Any], problem: str) -> None:
    assert problems(found(**changes)) == [problem]


def test_numbers_that_are_none_are_wrong() -> None:
    (problem,) = problems(found(steps=[STEP._replace(difference=math.nan)._asdict()]))
    assert "differs from the plain program's by nan" in problem


# -- what is installed -----------------------------------------------------------------------------


def test_extras_are_those_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its metadata say; what is asked for by developers alone is left out."""
    lines = ["numpy>=2", 'pillow>=10; extra == "images"', "no-such-thing ; extra == 'ray'"]
    lines += ['tensorflow[and-cuda]; extra == "cuda"', 'pytest; extra == "test"']
    monkeypatch.setattr(installed, "requires", lambda name: lines)
    images, ray = installed.extras()
    assert images == {
        "extra": "images",
        "installed": {"pillow": importlib.metadata.version("pillow")},
        "install": "pip install 'maml-sweep[images]'",
    }
    assert (ray["extra"], ray["installed"]) == ("ray", {"no-such-thing": None})


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "PACKAGE", "no-such-package")
    assert installed.extras() == []
    assert installed.versions()["no-such-package"] is None


def test_gpus_by_all_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia1", "nvidia0", "nvidiactl", "null"):
        (tmp_path / name).touch()
    monkeypatch.setattr(installed, "NODES", tmp_path)
    monkeypatch.setattr(memory, "driver", lambda *fields: [[CARD[field] for field in fields]])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert installed.gpus() == {
        "driver": [CARD],
        "nodes": ["nvidia0", "nvidia1"],
        "visible": "0",
        "tensorflow": [],
    }


# -- packed steps ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")  # XLA's numbers are looked at in test_program
def test_steps_are_measured_and_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SECONDS", 0.0)
    (step,) = steps.measure(Device(), [2])
    assert step.pack == 2
    assert min(step.compiled, step.plain, step.compiling) > 0
    assert 0 <= step.difference < 1e-4
    assert step.memory > 2**20


def test_a_difference_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that moves parameters by 1 in 100 too much in its second trial."""
    moved = iter([[[1.0, 0.0], [0.0, 1.01]], [[1.0, 0.0], [0.0, 1.0]]])
    monkeypatch.setattr(steps, "_moved", lambda program, runs: np.array(next(moved)))
    monkeypatch.setattr(steps, "_rate", lambda program, runs: 1.0)
    monkeypatch.setattr(steps, "start", lambda program, settings, seed: None)
    step = steps._step(None, None, None, 2, False)  # type: ignore[arg-type]
    assert step.difference == pytest.approx(0.01)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with two CPU cores and what it was asked for."""
    asked: dict[str, Any] = {}

    def measure(device: Device, packs: list[int]) -> list[Step]:
        asked["packs"] = packs
        if "error" in asked:
            raise asked["error"]
        return [STEP]

    monkeypatch.setattr(steps, "measure", measure)
    monkeypatch.setattr(devices, "configure", lambda settings: Device(2))
    monkeypatch.setattr(devices, "available_cores", lambda: 2)
    monkeypatch.setattr(installed, "gpus", lambda: found()["gpus"])
    monkeypatch.setattr(installed, "build", lambda: found()["build"])
    monkeypatch.setattr(installed, "versions", lambda: found()["versions"])
    monkeypatch.setattr(
        installed,
        "extras",
        lambda: [{"extra": "ray", "installed": {"ray": None}, "install": "pip install it"}],
    )
    return asked


def test_in_words(measured: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--packs", "8,1"]) == 0
    assert measured["packs"] == [1, 8]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "python 3.11.7, tensorflow 2.21.0",
        "ray: not installed; pip install it",
        "TensorFlow was built for CUDA 12.5.1 and cuDNN 9",
        "no GPU by nvidia-smi",
        "a worker here runs on: CPU, 2 shards (2 cores)",
    ]
    assert lines[7].split() == ["8", "1,234", "568", "2.2", "s", "3e-07", "900", "MiB"]
    assert lines[-1] == "all is well"


def test_as_json(measured: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert measured["packs"] == []
    assert said["device"] == "CPU, 2 shards"
    assert said["steps"][0]["pack"] == 8
    assert said["problems"] == []


def test_a_step_that_does_not_run(
    measured: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    measured["error"] = tf.errors.InternalError(None, None, "libdevice not found\nat line 3")
    assert cli.main(["doctor"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "wrong: a packed step does not run on CPU, 2 shards: libdevice not found"


def test_a_tensorflow_that_does_not_load(
    measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Any:
        raise ImportError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(installed, "build", broken)
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == (
        "wrong: TensorFlow cannot be imported: libcudart.so.12: cannot open shared object file"
    )


@pytest.mark.parametrize("sizes", ["0", "1,x", "1,,2", "-3", "²"])
def test_sizes_that_are_none(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", f"--packs={sizes}"]) == 2
    said = capsys.readouterr().err
    assert said == f"--packs {sizes}: expected numbers of at least 1, such as 1,8,32\n"
