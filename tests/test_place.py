"""Which device and how many cores a worker takes, on machines that are not there."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maml_sweep.errors import InputError
from maml_sweep.search import place
from maml_sweep.search.launchers import _KINDS
from maml_sweep.search.place import Place

TARGETS = {name: target for target, name in _KINDS.items()}
TWO = ["0", "1"]
# nvidia-smi -L: a whole GPU, one cut in two slices, a whole one
LISTED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
  MIG 3g.20gb     Device  0: (UUID: MIG-cccc)
  MIG 2g.10gb     Device  1: (UUID: MIG-dddd)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-eeee)
"""


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "available_cores", lambda: 8)


def take(
    number: int,
    environ: dict[str, str],
    devices: list[str],
    launcher: str = "local",
    workers: int = 2,
    each: int = 1,
) -> Place:
    """The place of the job with that number."""
    config = SimpleNamespace(workers=workers, workers_per_device=each)
    node = SimpleNamespace(_target_=TARGETS[launcher])
    hydra: Any = SimpleNamespace(launcher=node, job=SimpleNamespace(num=number))
    return place.take(config, hydra, environ, lambda: devices)


@pytest.mark.parametrize("launcher", ["local", "joblib", "basic", "submitit_local"])
def test_workers_of_a_machine_take_its_devices_in_order(launcher: str) -> None:
    """8 cores among two workers are 4 each."""
    for number in (0, 1):
        environ: dict[str, str] = {}
        taken = take(number, environ, TWO, launcher)
        assert taken == Place(number, [str(number)], 4, launcher)
        assert environ["CUDA_VISIBLE_DEVICES"] == str(number)
        assert environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_several_workers_share_a_device() -> None:
    """Five workers, two a device, three devices: 0 0 1 1 2, and 8 // 5 = 1 core each."""
    places = [take(number, {}, ["0", "1", "2"], workers=5, each=2) for number in range(5)]
    assert [each.devices for each in places] == [["0"], ["0"], ["1"], ["1"], ["2"]]
    assert {each.cores for each in places} == {1}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("3,5", ["5"]),
        ("GPU-aaaa,MIG-bbbb", ["MIG-bbbb"]),
        ("", []),
        ("-1,0", []),
        ("NoDevFiles", []),
    ],
)
def test_what_is_visible_already_is_all_there_is(said: str, expected: list[str]) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": said}
    assert take(1, environ, ["never asked"]).devices == expected
    assert environ["CUDA_VISIBLE_DEVICES"] == (expected[0] if expected else said)


def test_without_a_gpu_the_cores_are_shared_out_and_cuda_is_left_alone() -> None:
    environ: dict[str, str] = {}
    assert take(2, environ, [], workers=3) == Place(2, [], 2, "local")
    assert environ == {}
    assert take(0, {}, [], workers=20).cores == 1


def test_a_replacement_sits_where_the_dead_worker_sat() -> None:
    """The third job of two workers is worker 0 again."""
    assert take(2, {}, TWO) == take(0, {}, TWO)


def test_a_worker_without_a_device_is_refused_in_one_line() -> None:
    with pytest.raises(InputError) as caught:
        take(2, {"CUDA_VISIBLE_DEVICES": "0"}, [], "submitit_local", workers=3, each=2)
    assert str(caught.value) == (
        "workers: worker 2 finds no device, as 1 visible GPU with workers_per_device=2 serve 2; "
        "lower workers, raise workers_per_device, or make more GPUs visible"
    )


@pytest.mark.parametrize(
    ("environ", "devices", "cores"),
    [
        ({"CUDA_VISIBLE_DEVICES": "1", "SLURM_CPUS_PER_TASK": "3"}, ["1"], 3),
        ({"SLURM_JOB_GPUS": "2,3", "SLURM_CPUS_ON_NODE": "6"}, ["2", "3"], 6),
        ({"SLURM_STEP_GPUS": "2", "SLURM_JOB_GPUS": "2,3"}, ["2"], 8),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles", "SLURM_CPUS_PER_TASK": "99"}, [], 8),
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "6"}, [], 2),
    ],
)
def test_slurm_is_taken_at_its_word(
    environ: dict[str, str], devices: list[str], cores: int
) -> None:
    """Worker 5 of Slurm has the devices of its job, whatever its number."""
    taken = take(5, environ, ["never asked"], "submitit_slurm", workers=6)
    assert taken == Place(5, devices, cores, "submitit_slurm")
    assert environ["CUDA_VISIBLE_DEVICES"] == ",".join(devices)


def test_ray_is_taken_at_its_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    environ = {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "3"}
    assert take(0, environ, [], "ray") == Place(0, ["1"], 3, "ray")
    context = SimpleNamespace(get_assigned_resources=lambda: {"CPU": 2.0, "GPU": 1.0})
    ray = SimpleNamespace(is_initialized=lambda: True, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert take(0, environ, [], "ray").cores == 2
    context.get_assigned_resources = lambda: {"CPU": 0.5}
    assert take(0, environ, [], "ray").cores == 1


def test_a_process_keeps_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """As TensorFlow does: joblib may run a second worker in the process of the first."""
    monkeypatch.setattr(place, "_kept", {})
    monkeypatch.setattr(os, "environ", environ := {"CUDA_VISIBLE_DEVICES": "0,1"})
    assert [take(number, environ, []).devices for number in (1, 0)] == [["1"], ["1"]]


def test_a_place_in_words() -> None:
    assert place.describe(Place(1, ["1"], 4, "local"), 2) == "worker 1: GPU 1 (of 2), 4 cores"
    assert place.describe(Place(0, [], 1, "local"), 0) == "worker 0: CPU, 1 core"


def test_slices_of_a_gpu_stand_in_its_place() -> None:
    assert place.parse(LISTED) == ["0", "MIG-cccc", "MIG-dddd", "2"]
    assert place.parse("No devices found.\n") == []


def test_devices_are_asked_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nvidia-smi is missing or fails, the device files are counted: none here."""
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(
        Path, "glob", lambda *_: iter([Path("/dev/nvidia0"), Path("/dev/nvidiactl")])
    )
    assert place.discovered() == ["0"]
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    program.chmod(0o755)
    assert place.discovered() == ["0", "MIG-cccc", "MIG-dddd", "2"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert place.discovered() == ["0"]
