"""What is installed: versions, extras, and what TensorFlow and the driver say of GPUs."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.training import memory

PACKAGE = "maml-sweep"
CORE = ("tensorflow", "keras", "numpy", "optuna", "hydra-core", "sqlalchemy")
DRIVER = ("index", "name", "driver_version", "memory.total", "memory.free")  # MiB
LEFT_OUT = {"cuda", "dev", "test"}  # cuda is looked at by itself, the others serve developers
NODES = Path("/dev")  # where a driver puts its devices
_NEED = re.compile(r"(?P<name>[\w.-]+).*;.*extra\s*==\s*['\"](?P<extra>[\w-]+)['\"]")


def versions() -> dict[str, str | None]:
    """Of Python, this package and what it cannot do without; None: not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    return found | {name: _version(name) for name in (PACKAGE, *CORE)}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def extras() -> list[dict[str, Any]]:
    """This package's extras by name: what each needs, what is missing, and the line to type.

    Empty where the package itself is not installed, for then nobody knows.
    """
    needs: dict[str, list[str]] = {}
    try:
        lines = requires(PACKAGE) or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        match = _NEED.match(line)
        if match and match["extra"] not in LEFT_OUT:
            needs.setdefault(match["extra"], []).append(match["name"])
    return [
        {
            "extra": extra,
            "installed": {name: _version(name) for name in names},
            "install": f"pip install '{PACKAGE}[{extra}]'",
        }
        for extra, names in sorted(needs.items())
    ]


def build() -> dict[str, Any]:
    """What TensorFlow was built for."""
    info = tf.sysconfig.get_build_info()
    return {
        "cuda_build": bool(info.get("is_cuda_build")),
        "cuda": info.get("cuda_version"),
        "cudnn": info.get("cudnn_version"),
    }


def gpus() -> dict[str, Any]:
    """GPUs by the driver's account, by the kernel's, and by TensorFlow's."""
    rows = memory.driver(*DRIVER)
    nodes = [node.name for node in NODES.glob("nvidia[0-9]*")] if NODES.is_dir() else []
    return {
        "driver": [dict(zip(DRIVER, row, strict=False)) for row in rows],
        "nodes": sorted(nodes),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "tensorflow": [gpu.name for gpu in tf.config.list_physical_devices("GPU")],
    }
