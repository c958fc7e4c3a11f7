"""maml-sweep doctor: what this machine has, whether its programs are right, and what to do."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from maml_sweep import commands
from maml_sweep.errors import InputError

HELP = "check this machine: versions, GPUs, XLA, and a packed step timed at several sizes"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--packs", default="", metavar="SIZES", help="sizes to time, such as 1,8,32 (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Examines the machine; 1 if something is wrong with it."""
    from maml_sweep.doctor import examination

    found = examination.examine(_sizes(arguments.packs))
    if arguments.json:
        commands.print_json(found)
    else:
        _tell(found)
    return 1 if found["problems"] else 0


def _sizes(text: str) -> list[int]:
    """The sizes that were asked for.

    Raises:
      InputError: no whole numbers of at least one.
    """
    words = [word.strip() for word in text.split(",")] if text else []
    if not all(word.isascii() and word.isdigit() and int(word) for word in words):
        raise InputError(f"--packs {text}: expected numbers of at least 1, such as 1,8,32")
    return sorted({int(word) for word in words})


def _tell(found: Mapping[str, Any]) -> None:
    print(", ".join(f"{name} {number or '-'}" for name, number in found["versions"].items()))
    for extra in found["extras"]:
        print(_extra(extra))
    if "device" in found:
        print(_build(found["build"]))
        for line in _gpus(found["gpus"]):
            print(line)
        print(f"a worker here runs on: {found['device']} ({found['cores']} cores)")
    if found.get("steps"):
        print("trial-steps a second of the default trial (sinusoid, mlp):")
        _steps(found["steps"])
    for problem in found["problems"]:
        print(f"wrong: {problem}")
    if not found["problems"]:
        print("all is well")


def _extra(extra: Mapping[str, Any]) -> str:
    installed = extra["installed"]
    if None in installed.values():
        return f"{extra['extra']}: not installed; {extra['install']}"
    return f"{extra['extra']}: " + ", ".join(f"{name} {x}" for name, x in installed.items())


def _build(build: Mapping[str, Any]) -> str:
    if not build["cuda_build"]:
        return "TensorFlow was built without CUDA"
    return f"TensorFlow was built for CUDA {build['cuda']} and cuDNN {build['cudnn']}"


def _gpus(gpus: Mapping[str, Any]) -> list[str]:
    """A line a GPU that the driver knows."""
    return [
        f"GPU {gpu['index']}: {gpu['name']}, driver {gpu['driver_version']}, "
        f"{gpu['memory.free']} of {gpu['memory.total']} MiB free"
        for gpu in gpus["driver"]
    ] or ["no GPU by nvidia-smi"]


def _steps(steps: Sequence[Mapping[str, Any]]) -> None:
    heads = ("pack", "XLA", "plain, on the CPU", "compiling", "difference", "memory")
    rows = [
        (
            step["pack"],
            f"{step['compiled']:,.0f}",
            f"{step['plain']:,.0f}",
            f"{step['compiling']:.1f} s",
            f"{step['difference']:.0e}",
            f"{step['memory'] / 2**20:,.0f} MiB",
        )
        for step in steps
    ]
    commands.print_table(heads, rows)
