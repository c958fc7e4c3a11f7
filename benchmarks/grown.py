"""What benchmarks/growth.py measures, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.family import Workload

KEPT, AGAIN = "kept", "again"  # what the way back finds: it is there, or it is computed again
MEMORY = (
    Workload(
        "mlp",
        "sinusoid K=200, MLP 40-40, 25 tasks, no kernels",
        (
            *("task=sinusoid", "task.shots=200", "model=mlp", "training.meta_batch_size=25"),
            "device.kernels=false",
        ),
    ),
    Workload(
        "conv4",
        "glyphs 5-way 5-shot, conv4 with 8 filters, 4 tasks",
        (
            *("task=glyphs", "task.shots=5", "task.queries=5", "training.meta_batch_size=4"),
            *("model=conv4", "model.filters=8"),
        ),
    ),
)


class Point(NamedTuple):
    """What is trained at once."""

    task: str  # of TASKS
    trials: int = 1
    tasks: int = 1  # of each trial
    steps: int = 1  # inner ones
    filters: int = 0  # of conv4

    @property
    def lanes(self) -> int:
        """Tasks of all trials."""
        return self.trials * self.tasks


class Series(NamedTuple):
    """A line of a panel: where it starts from, and what grows.

    Attributes:
      axis: the panel: a field of `Point`, or "lanes", which grow by trials.
      title: what stays as it is.
      base: the same.
      values: of what grows.
    """

    axis: str
    title: str
    base: Point
    values: tuple[int, ...]

    def point(self, value: int) -> Point:
        """Where the line is at a value."""
        if self.axis == "lanes":
            return self.base._replace(trials=value // self.base.tasks)
        changes: dict[str, Any] = {self.axis: value}
        return self.base._replace(**changes)


SINE, IMAGES = Point("sinusoid", tasks=25), Point("conv4", tasks=4, filters=8)
POWERS = (1, 2, 4, 8, 16, 32, 64)
SERIES: tuple[Series, ...] = (
    Series("trials", "sinusoid, 25 tasks, 1 inner step", SINE, POWERS),
    Series("trials", "sinusoid, 25 tasks, 5 inner steps", SINE._replace(steps=5), POWERS),
    Series("tasks", "sinusoid, 1 trial, 1 inner step", SINE, (1, 4, 16, 64, 256)),
    Series("tasks", "conv4-32, 1 trial, 1 inner step", IMAGES._replace(filters=32), (1, 4, 16)),
    Series("steps", "sinusoid, 8 trials of 25 tasks", SINE._replace(trials=8), (1, 2, 5, 10, 20)),
    Series("filters", "conv4, 1 trial of 4 tasks", IMAGES, (8, 16, 32, 64)),
    Series("lanes", "sinusoid, 4 tasks a trial", SINE._replace(tasks=4), (4, 16, 64, 256, 1024)),
    Series("lanes", "conv4-8, 4 tasks a trial", IMAGES, (4, 16, 64)),
)


class Found(NamedTuple):
    """Everything measured; keys are those of JSON.

    Attributes:
      product: GFLOP/s of the matrix product.
      rates: trial-steps a second by series and value.
      work: GFLOP of one trial-step, the same.
      trials: how many the pack has, the same.
      memory: [MiB, milliseconds a meta-step] by workload, KEPT or AGAIN, and inner steps.
    """

    product: float
    rates: Mapping[str, Mapping[str, float]]
    work: Mapping[str, Mapping[str, float]]
    trials: Mapping[str, Mapping[str, int]]
    memory: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]


def key(series: Series) -> str:
    """The name of a series among all."""
    return f"{series.axis}: {series.title}"
