"""A slot in flight: its Optuna trial and its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import optuna

from maml_sweep.training.trial import Trial


@dataclass(eq=False)
class Claimed:
    """What a worker holds of a slot.

    Attributes:
      asked: the Optuna trial.
      training: its training.
      values: config key -> value, as drawn.
    """

    asked: optuna.Trial
    training: Trial
    values: Mapping[str, Any]

    @cached_property
    def slot(self) -> int:
        """The slot it stands for."""
        return int(self.asked.user_attrs["slot"])

    @property
    def attrs(self) -> dict[str, Any]:
        """User attributes of the finished trial."""
        training = self.training
        attrs: dict[str, Any] = {
            "iterations": training.iteration,
            "tasks": training.iteration * training.settings.meta_batch_size,
            "seconds": round(training.seconds, 3),
        }
        if training.diverged is not None:
            attrs["diverged"] = training.diverged
        return attrs
