"""The table of tasks: every one goes through the suite of test_tasks.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vector_files import RAGGED, write_pickles

from maml_sweep.tasks import Embeddings, Glyphs, Quadratics, Sinusoid, Task


@dataclass(frozen=True)
class Case:
    """A task as the suite meets it.

    Attributes:
      make: builds the task from an empty folder, into which it writes the files that the task is
        to read, with all that has no say in them (names on disk, lines) in reverse order if the
        second argument says so.
      low: no x is below it.
      high: no x is above it.
      classes: of the training split, where an episode names them.
      files: whether it reads any.
      repeats: whether two examples of a task may look the same; that support and query share none
        is then shown by the task's own tests.
      oracle: the task -> what the best possible answer scores, worked out and simulated, and how
        far apart the two may be.
    """

    make: Callable[[Path, bool], Task]
    low: float = -math.inf
    high: float = math.inf
    classes: int | None = None
    files: bool = False
    repeats: bool = False
    oracle: Callable[[Task], tuple[float, float, float]] | None = None


CASES: dict[str, Case] = {
    "sinusoid": Case(lambda folder, backwards: Sinusoid(5, 7), -5, 5),
    "noisy": Case(lambda folder, backwards: Sinusoid(5, 7, frequency=(0.8, 1.2), noise=0.3), -5, 5),
    "quadratics": Case(lambda folder, backwards: Quadratics(4), repeats=True),
    "glyphs": Case(lambda folder, backwards: Glyphs(5, 1, 3), 0, 1, classes=1047),
    "embeddings": Case(
        lambda folder, backwards: Embeddings(4, 2, 3, str(write_pickles(folder))),
        -1,
        1,
        classes=len(RAGGED["train"]),
    ),
    "raw embeddings": Case(
        lambda folder, backwards: Embeddings(2, 4, 1, str(write_pickles(folder)), False),
        classes=len(RAGGED["train"]),
    ),
}
