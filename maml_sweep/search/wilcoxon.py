"""Wilcoxon's signed-rank test over the validation tasks."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from maml_sweep.errors import InputError
from maml_sweep.search.pack_pruner import PackPruner, Report, best_first, sign


class WilcoxonPruner(PackPruner):
    """Optuna's `WilcoxonPruner`, fed with the validation tasks: one task is one of its steps.

    A trial is pruned if a signed-rank test over the tasks finds it worse than the leader of its
    rung, the trial with the best mean at that step so far whatever its state. With hundreds of
    tasks the test sees very small differences, hence the late start and the small threshold. The
    leaders' values are study user attributes (`leader:<step>`), so that they hold across workers,
    machines and resumes; if two workers write one at once, a near-best leader stands in.
    """

    def __init__(
        self, iterations: int, p_threshold: float = 1e-3, n_startup_steps: int = 2,
        grace: float = 0.25,
    ) -> None:  # fmt: skip
        """Sets the test.

        Args:
          iterations: the steps of a whole trial.
          p_threshold: p-value below which a trial is pruned, in [0, 1].
          n_startup_steps: validation tasks needed at least.
          grace: fraction of a trial's steps that it gets in any case, in [0, 1].

        Raises:
          InputError: a value is out of its range.
        """
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "WilcoxonPruner", ExperimentalWarning)
                self._test = optuna.pruners.WilcoxonPruner(
                    p_threshold=p_threshold, n_startup_steps=n_startup_steps
                )
        except ValueError as error:
            raise InputError(f"pruner: {error}") from None
        if not 0.0 <= grace <= 1.0:
            raise InputError(f"pruner.grace: expected a number in [0, 1], got {grace}")
        self.start = grace * iterations

    def decide(self, study: optuna.Study, reports: Sequence[Report]) -> set[int]:
        """See `PackPruner.decide`."""
        finite = [report for report in reports if np.all(np.isfinite(report.per_task))]
        for report in best_first(study, finite):
            self._note_leader(study, report)
        attrs = study.user_attrs
        judged = [report for report in finite if report.step > self.start]
        return {report.number for report in judged if self._worse(study, attrs, report)}

    def _note_leader(self, study: optuna.Study, report: Report) -> None:
        leader = study.user_attrs.get(f"leader:{report.step}")
        if leader is None or sign(study) * (report.value - leader["value"]) < 0:
            per_task = [float(f"{value:.6g}") for value in report.per_task.tolist()]
            note = {"slot": report.slot, "value": report.value, "per_task": per_task}
            study.set_user_attr(f"leader:{report.step}", note)

    def _worse(self, study: optuna.Study, attrs: Mapping[str, Any], report: Report) -> bool:
        leader = attrs[f"leader:{report.step}"]
        if leader["slot"] == report.slot or len(leader["per_task"]) != len(report.per_task):
            return False
        view = _Leader(study.direction, _task_trial(leader["per_task"], leader["value"]))
        trial = _task_trial(report.per_task.tolist(), report.value)
        return self._test.prune(cast(optuna.Study, view), trial)


@dataclass(frozen=True)
class _Leader:
    """As much of a study as Optuna's WilcoxonPruner looks at."""

    direction: StudyDirection
    best_trial: FrozenTrial


def _task_trial(per_task: Sequence[float], value: float) -> FrozenTrial:
    """A trial whose steps are the validation tasks."""
    return create_trial(value=value, intermediate_values=dict(enumerate(per_task)))
