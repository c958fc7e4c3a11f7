"""How much parameters explain of a number that every trial has: Optuna's importances, kept honest.

fANOVA (F. Hutter, H. Hoos & K. Leyton-Brown 2014, "An Efficient Approach for Assessing
Hyperparameter Importance") and PED-ANOVA (S. Watanabe, A. Bansal & F. Hutter 2023,
arXiv:2304.10255) give shares that add up to 1 whatever they are given, pure noise included. So
their spread is that over resampled trials, not over seeds of one forest, and `explained` says
whether there is anything to share: the R² of a forest on the trials that its trees did not see.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

Array = NDArray[np.float64]
Distributions = Mapping[str, BaseDistribution]
Points = Sequence[Mapping[str, Any]]

_TREES, _RESAMPLED_TREES = 32, 8
_RESAMPLES = 8
# 64 leaves tell what single parameters do as well as whole trees (the same shares to 0.01 on known
# objectives), which take Optuna minutes for 2,000 trials.
_DEPTH = 6
_TOP = 0.1  # PED-ANOVA: what sets the best tenth apart …
_TOP_LEAST = 5  # … but no fewer trials, as its documentation advises


class Share(NamedTuple):
    """What one parameter explains.

    Attributes:
      fanova: share of the variance that it explains alone.
      fanova_sd: standard deviation of that over resampled trials.
      pedanova: share of what sets the best tenth apart.
    """

    fanova: float
    fanova_sd: float
    pedanova: float


def weigh(points: Points, distributions: Distributions, ranks: Sequence[float]) -> dict[str, Share]:
    """The shares of all parameters.

    Args:
      points: stored name -> value, of each trial.
      distributions: stored name -> distribution; each varies over the points.
      ranks: of each trial, less is better.
    """
    if len(distributions) == 1:  # nothing to weigh it against
        return {key: Share(1.0, 0.0, 1.0) for key in distributions}
    study = _study(points, distributions, ranks)
    fanova = _asked(study, FanovaImportanceEvaluator(n_trees=_TREES, max_depth=_DEPTH, seed=0))
    rng = np.random.default_rng(0)
    again = []
    for seed in range(_RESAMPLES):
        picks = [int(pick) for pick in rng.integers(0, len(points), len(points))]
        drawn = _study([points[k] for k in picks], distributions, [ranks[k] for k in picks])
        forest = FanovaImportanceEvaluator(n_trees=_RESAMPLED_TREES, max_depth=_DEPTH, seed=seed)
        again.append(_asked(drawn, forest))
    top = min(0.5, max(_TOP, _TOP_LEAST / len(points)))
    pedanova = _asked(study, PedAnovaImportanceEvaluator(target_quantile=top))
    return {
        key: Share(
            fanova.get(key, 0.0),
            float(np.std([each.get(key, 0.0) for each in again], ddof=1)),
            pedanova.get(key, 0.0),
        )
        for key in distributions
    }


def explained(units: Array, ranks: Array) -> float:
    """R² of a forest on the trials that each tree did not see; below 0 for noise.

    Args:
      units: [trial, parameter], where each lies in its range; what a trial lacks is outside.
      ranks: [trial].
    """
    # a second to import
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(100, min_samples_leaf=2, oob_score=True, random_state=0)
    return float(forest.fit(units, ranks).oob_score_)


def _study(points: Points, distributions: Distributions, ranks: Sequence[float]) -> optuna.Study:
    """A study in memory in which all trials are COMPLETE."""
    storage = InMemoryStorage()
    with _quiet():
        number = storage.create_new_study([StudyDirection.MINIMIZE])
        study = optuna.Study(storage.get_study_name_from_id(number), storage)
    study.add_trials(
        create_trial(
            state=TrialState.COMPLETE,
            params=dict(point),
            distributions=dict(distributions),
            value=float(rank),
        )
        for point, rank in zip(points, ranks, strict=True)
    )
    return study


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna does not announce the study: it is none of the user's."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _asked(study: optuna.Study, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # PED-ANOVA is one
        try:
            found = get_param_importances(study, evaluator=evaluator)
        except RuntimeError:  # no tree of a forest split: the ranks of a resample are all equal
            return {}
    return {key: float(share) for key, share in found.items()}
