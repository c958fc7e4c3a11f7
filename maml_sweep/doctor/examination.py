"""Everything there is to say of a machine, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from maml_sweep import config
from maml_sweep.backend import tf
from maml_sweep.doctor import installed, steps
from maml_sweep.training import devices

INSTALL_CUDA = "pip install 'maml-sweep[cuda]'"


def examine(packs: Sequence[int] = ()) -> dict[str, Any]:
    """What is installed, what the devices are, how packed steps run, and the problems.

    Args:
      packs: sizes to time; none: those that suit the device.
    """
    found: dict[str, Any] = {"versions": installed.versions(), "extras": installed.extras()}
    try:
        found |= {"build": installed.build(), "gpus": installed.gpus()}
    except ImportError as error:
        return found | {"problems": [f"TensorFlow cannot be imported: {_line(error)}"]}
    device = devices.configure(config.Device())
    found |= {"cores": devices.available_cores(), "device": device.describe(), "steps": []}
    failure: list[str] = []
    try:
        found["steps"] = [step._asdict() for step in steps.measure(device, packs)]
    except tf.errors.OpError as error:
        failure = [f"a packed step does not run on {device.describe()}: {_line(error)}"]
    return found | {"problems": [*problems(found), *failure]}


def problems(found: Mapping[str, Any]) -> list[str]:
    """What is wrong, each in a line with what to do; empty: nothing."""
    missing = [name for name, version in found["versions"].items() if version is None]
    wrong = [f"{name} is not installed as a package: pip install {name}" for name in missing]
    return [*wrong, *_gpu_problems(found["gpus"], found["build"]), *_wrong_steps(found["steps"])]


def _gpu_problems(gpus: Mapping[str, Any], build: Mapping[str, Any]) -> list[str]:
    """Why TensorFlow sees no GPU where the machine has one."""
    there = len(gpus["driver"]) or len(gpus["nodes"])
    if not there or gpus["tensorflow"]:
        return []
    hidden = gpus["visible"]
    if hidden is not None and (not hidden.strip() or hidden.strip().startswith("-1")):
        return [
            f"CUDA_VISIBLE_DEVICES={hidden} hides the GPU from TensorFlow: unset it to use the GPU"
        ]
    if not gpus["driver"]:
        return ["there is a GPU, but nvidia-smi does not answer: install NVIDIA's driver"]
    name = gpus["driver"][0].get("name", "a GPU")
    if not build["cuda_build"]:
        return [f"there is {name}, but this TensorFlow was built without CUDA: {INSTALL_CUDA}"]
    wanted = f"it wants CUDA {build['cuda']} and cuDNN {build['cudnn']}"
    return [f"there is {name}, but TensorFlow does not see it ({wanted}): {INSTALL_CUDA}"]


def _wrong_steps(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Packs whose numbers XLA changes."""
    return [
        f"in a pack of {step['pack']} XLA's meta-gradient differs from the plain program's by "
        f"{step['difference']:.1e} of its length, where {steps.ALLOWED:.0e} is allowed: set "
        "device.compile=false, and please report it"
        for step in measured
        if not (math.isfinite(step["difference"]) and step["difference"] <= steps.ALLOWED)
    ]


def _line(error: Exception) -> str:
    """An error's first line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
