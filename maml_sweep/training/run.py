"""One training from one seed, its state held on the host."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from maml_sweep import streams
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings


@dataclass
class Run:
    """One training from one seed.

    Attributes:
      seed: fixes its initial weights and its tasks.
      settings: its numbers.
      theta: parameters, float [parameter].
      moment1: the meta-optimizer's first moment, float [parameter].
      moment2: its second moment, float [parameter].
      iteration: completed meta-iterations.
      diverged: iterations completed when its loss went bad; None: it did not.
      loss: the last meta-training loss.
      seconds: its share of the time spent in programs.
    """

    seed: int
    settings: Settings
    theta: np.ndarray
    moment1: np.ndarray
    moment2: np.ndarray
    iteration: int = 0
    diverged: int | None = None
    loss: float = float("nan")
    seconds: float = 0.0
    key: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.key = streams.key("tasks", self.seed)

    @property
    def active(self) -> bool:
        """Whether it has not diverged."""
        return self.diverged is None


def start(program: Program, settings: Settings, seed: int) -> Run:
    """A run before its first iteration."""
    theta = program.init(streams.key("weights", seed)[np.newaxis], [settings.knobs])[0]
    return Run(seed, settings, theta, np.zeros_like(theta), np.zeros_like(theta))
