"""How much arithmetic a training program does: its products and convolutions, by their shapes.

Read off the program as it is lowered for XLA, before any optimization: additions, norms, pools and
the drawing of tasks are left out, as they are in the figure a matrix product is given.
"""

from __future__ import annotations

import math
import re
from typing import Any

from maml_sweep import build
from maml_sweep.training import pack
from maml_sweep.training.devices import Device
from maml_sweep.training.stacking import arguments

_TYPES = re.compile(r":\s*\(tensor<([^>]*)>, tensor<([^>]*)>\) -> tensor<([^>]*)>")
_CONTRACTED = re.compile(r"contracting_dims = \[([\d, ]*)\]")
_KERNEL = re.compile(r"\]x\[([^\]]*)\]->")


def of_program(config: Any) -> float:
    """Floating-point operations of one task in one meta-step of a trial's composition."""
    parts = build.components(config)
    program = build.own_program(parts, config, Device(compiled=True))
    given = arguments(program, [pack.start(program, parts.settings, 0)], 1)
    lanes = sum(len(shard.owner) for shard in given[2])
    return counted(program.stablehlo(*given)) / lanes


def counted(text: str) -> float:
    """Floating-point operations of all products and convolutions of a program in StableHLO.

    A multiplication with an addition is two. Padding counts as if it were pixels. What stands in a
    loop counts once, for one round of it. Only `main` counts: loops stand in it, and beside it as
    functions that nobody calls.
    """
    total = 0
    main = text.partition(" @main(")[2].partition(" func.func ")[0]
    for line in main.splitlines():
        if "stablehlo.dot_general" in line:
            total += _product(line)
        elif "stablehlo.convolution" in line:
            total += _convolution(line)
    return float(total)


def _product(line: str) -> int:
    """Each number of the result is a sum over what is contracted."""
    left, _, result = _shapes(line)
    found = _CONTRACTED.search(line)
    axes = [int(axis) for axis in found[1].split(",") if axis.strip()] if found else []
    return 2 * math.prod(result) * math.prod(left[axis] for axis in axes)


def _convolution(line: str) -> int:
    """Each number of the result is a sum over a kernel, of its own channels' group."""
    _, kernel, result = _shapes(line)
    found = _KERNEL.search(line)
    if not found:
        raise ValueError(f"a convolution without dimensions: {line.strip()}")
    kinds = [kind.strip() for kind in found[1].split(",")]
    summed = [size for size, kind in zip(kernel, kinds, strict=True) if kind != "o"]
    return 2 * math.prod(result) * math.prod(summed)


def _shapes(line: str) -> list[list[int]]:
    """Of both factors and the result: "2x3xf32" is [2, 3].

    Raises:
      ValueError: the line says no types, or leaves a size open.
    """
    found = _TYPES.search(line)
    if not found or "?" in found[0]:
        raise ValueError(f"expected fixed shapes, got {line.strip()}")
    return [[int(size) for size in part.split("x")[:-1]] for part in found.groups()]
