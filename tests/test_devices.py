"""Devices: what is set before TensorFlow runs, and what a worker is said to run on."""

from __future__ import annotations

import os
from typing import Any

import pytest

from maml_sweep import config
from maml_sweep.backend import tf
from maml_sweep.training import devices
from maml_sweep.training.devices import Device, Machine, configure


class Fake(Machine):
    """A machine with so many GPUs; it notes what is set, or refuses as a running TensorFlow."""

    def __init__(self, gpus: int = 0, running: bool = False) -> None:
        self.count, self.running = gpus, running
        self.set: list[tuple[Any, ...]] = []

    def gpus(self) -> list[Any]:
        return [f"GPU:{index}" for index in range(self.count)]

    def name(self, gpu: Any) -> str:
        return "NVIDIA H100"

    def set_threads(self, inter_op: int, intra_op: int) -> None:
        self._note("threads", inter_op, intra_op)

    def let_grow(self, gpu: Any) -> None:
        self._note("grow", gpu)

    def skip_rewrites(self) -> None:
        self.set.append(("skip",))

    def set_tf32(self, enabled: bool) -> None:
        self.set.append(("tf32", enabled))

    def _note(self, *what: Any) -> None:
        if self.running:
            raise RuntimeError("cannot be modified after initialization")
        self.set.append(what)


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("cores", "inter", "intra"), [(1, 1, 1), (2, 2, 1), (8, 8, 1), (12, 8, 1), (32, 8, 4)]
)
def test_threads_of_so_many_cores(cores: int, inter: int, intra: int) -> None:
    """One thread a shard, up to eight shards; what is left goes into the operations."""
    machine = Fake()
    device = configure(config.Device(), cores, machine)
    assert machine.set == [("threads", inter, intra), ("skip",)]
    assert device == Device(shards=inter, kernels=None)


def test_all_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert configure(config.Device(), None, Fake()).shards == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert configure(config.Device(), None, Fake()).shards == 4
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert configure(config.Device(), None, Fake()).shards == 1


def test_a_gpu_is_compiled_for_in_one_shard() -> None:
    machine = Fake(gpus=2)
    device = configure(config.Device(), 8, machine)
    assert device == Device(1, compiled=True, gpu=True, name="GPU NVIDIA H100 (0)")
    assert machine.set == [("threads", 8, 1), ("grow", "GPU:0"), ("grow", "GPU:1"), ("tf32", False)]


def test_tf32_where_it_is_asked_for() -> None:
    machine = Fake(gpus=1)
    assert configure(config.Device(tf32=True), 2, machine).tf32
    assert machine.set[-1] == ("tf32", True)
    quiet = Fake()
    assert not configure(config.Device(tf32=True), 2, quiet).tf32  # a CPU has none
    assert quiet.set == [("threads", 2, 1), ("skip",)]


@pytest.mark.parametrize(
    ("gpus", "wanted", "shards"), [(0, True, 1), (0, False, 4), (1, False, 1), (1, True, 1)]
)
def test_compile_overrules_the_device(gpus: int, wanted: bool, shards: int) -> None:
    device = configure(config.Device(compile=wanted), 4, Fake(gpus))
    assert (device.compiled, device.shards) == (wanted, shards)


def test_threads_by_hand() -> None:
    machine = Fake()
    assert configure(config.Device(inter_op=3), 8, machine).shards == 3
    assert configure(config.Device(intra_op=5), 8, machine).shards == 8
    assert [each for each in machine.set if each != ("skip",)] == [
        ("threads", 3, 2),
        ("threads", 8, 5),
    ]


def test_what_runs_already_stays_as_it_is() -> None:
    machine = Fake(gpus=1, running=True)
    assert configure(config.Device(), 2, machine).gpu
    assert machine.set == [("tf32", False)]


@pytest.mark.parametrize(
    ("visible", "index"),
    [("", "0"), ("3", "3"), ("2,1", "2"), ("GPU-5d0a,GPU-71", "GPU-5d0a"), (" 1 ", "1")],
)
def test_a_gpu_goes_by_the_machines_name(
    visible: str, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    device = configure(config.Device(), 2, Fake(gpus=1))
    assert device.describe() == f"GPU NVIDIA H100 ({index}), XLA"


def test_devices_in_words() -> None:
    assert Device().describe() == "CPU, 1 shard"
    assert Device(2).describe() == "CPU, 2 shards"
    assert Device(compiled=True).describe() == "CPU, XLA"
    h100 = Device(compiled=True, gpu=True, name="GPU NVIDIA H100 (0)", tf32=True)
    assert h100.describe() == "GPU NVIDIA H100 (0), XLA, TF32"
    nameless = Fake(gpus=1)
    nameless.name = lambda gpu: ""  # type: ignore[method-assign]
    assert configure(config.Device(compile=False), 1, nameless).describe() == "GPU (0)"


def test_the_machine_is_tensorflows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its methods calls what it should of TensorFlow."""
    set_to: list[Any] = []
    for module, name in [
        (tf.config.threading, "set_inter_op_parallelism_threads"),
        (tf.config.threading, "set_intra_op_parallelism_threads"),
        (tf.config.experimental, "set_memory_growth"),
        (tf.config.experimental, "enable_tensor_float_32_execution"),
    ]:
        monkeypatch.setattr(module, name, lambda *given, name=name: set_to.append((name, *given)))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: (f"{kind}:0",))
    details = {"device_name": "NVIDIA H100 80GB HBM3", "compute_capability": (9, 0)}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    device = devices.configure(config.Device(), 2)
    assert device.describe() == "GPU NVIDIA H100 80GB HBM3 (0), XLA"
    assert set_to == [
        ("set_inter_op_parallelism_threads", 2),
        ("set_intra_op_parallelism_threads", 1),
        ("set_memory_growth", "GPU:0", True),
        ("enable_tensor_float_32_execution", False),
    ]
