"""Which kernels a program has."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from maml_sweep.algorithms import Algorithm, Problem
from maml_sweep.kernels import library
from maml_sweep.kernels.mlp import Mlp, serves
from maml_sweep.tasks.base import Task

log = logging.getLogger(__name__)


class Kernels(NamedTuple):
    """What takes the place of TensorFlow's operations; None: they compute it themselves."""

    mlp: Mlp | None = None
    operations: Any = None  # of the library: `update.c` and `streams.c` serve any model


def chosen(task: Task, problem: Problem, algorithm: Algorithm, demanded: bool) -> Kernels:
    """The kernels there are for a program in float32.

    Where they cannot be compiled, the log says so: as a warning if they were `demanded`.
    """
    try:
        operations = library.load()
    except library.Unavailable as error:
        level = logging.WARNING if demanded else logging.INFO
        log.log(level, "device.kernels: %s; TensorFlow's operations train instead", error)
        return Kernels()
    served = Mlp(operations, task, problem, algorithm) if serves(task, problem, algorithm) else None
    return Kernels(served, operations)
