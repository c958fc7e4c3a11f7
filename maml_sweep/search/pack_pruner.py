"""What a pack's pruner is given and gives back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import BasePruner, NopPruner
from optuna.study import StudyDirection


@dataclass(frozen=True)
class Report:
    """One trial's value at its rung.

    Attributes:
      number: the trial's number in Optuna.
      slot: the slot it stands for.
      step: iterations done.
      value: the mean over the validation tasks; not finite if it diverged.
      per_task: float [validation tasks]; may be empty where no pruner needs them.
    """

    number: int
    slot: int
    step: int
    value: float
    per_task: NDArray[np.floating[Any]]


class PackPruner(ABC):
    """Decides for a whole pack."""

    stock: BasePruner = NopPruner()
    """What to open the study with: Optuna hands Hyperband's brackets to the sampler through it."""

    @abstractmethod
    def decide(self, study: optuna.Study, reports: Sequence[Report]) -> set[int]:
        """Numbers of the trials to prune, the same whatever the order of the reports.

        Args:
          study: where all of the pack's values were reported already.
          reports: the pack's values at this moment, each at its own step.
        """


def sign(study: optuna.Study) -> float:
    """1 if the study minimises, -1 if it maximises: times it, less is better."""
    return -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0


def best_first(study: optuna.Study, reports: Sequence[Report]) -> list[Report]:
    """The reports by value, then slot; those that are not finite come last."""

    def worth(report: Report) -> tuple[float, int]:
        finite = math.isfinite(report.value)
        return (sign(study) * report.value if finite else math.inf, report.slot)

    return sorted(reports, key=worth)
