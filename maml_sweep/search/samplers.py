"""Optuna's samplers for packs of trials: one random state a trial, divergence known for what it is.

Optuna stores no sampler's random state, so a resumed sweep would draw the same points again, and
two workers with one seed would draw alike. Here each trial draws from a state of its own, a hash
of the study's seed and the trial's number: random search gives the same points whatever the
number of workers, packs and interruptions.

A diverged trial is told PRUNED (its last value is NaN) and violates a constraint, see
`maml_sweep.search.claims.Claims.finish`. TPE ranks infeasible trials behind all feasible ones,
also while none is COMPLETE; by the value alone a trial that diverged late would come before one
that was pruned early. CMA-ES and NSGA-II learn from COMPLETE trials only.
"""

from __future__ import annotations

import importlib.util
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import optuna
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GridSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from maml_sweep.errors import InputError
from maml_sweep.search.excerpt import Excerpt, Ranks
from maml_sweep.streams import derive_seed


def build(cfg_sampler: Mapping[str, Any], seed: int, number: int) -> BaseSampler:
    """The sampler of one trial.

    Args:
      cfg_sampler: a node with `_target_`: a class of Optuna's or the user's own, and arguments.
      seed: the study's seed.
      number: the trial's number; with the seed it fixes the random state.

    Raises:
      InputError: no such class, a wrong argument, a missing package.
    """
    sampler = _target(cfg_sampler)
    if sampler is GridSampler:
        return RandomSampler(seed=_state(seed, number))  # the slots carry the grid's points
    arguments = _arguments(sampler, seed, number)
    with warnings.catch_warnings():
        # What we choose by default, knowing that Optuna may change it.
        for named in ("Argument ``group``", "Argument ``with_margin``", "QMCSampler"):
            warnings.filterwarnings("ignore", named, ExperimentalWarning)
        try:
            node = {key: value for key, value in cfg_sampler.items() if key != "_target_"}
            made = _made(sampler, {**arguments, **node})
        except (HydraException, TypeError, ValueError) as error:
            raise InputError(f"sampler: {_cause(error)}") from None
    if not isinstance(made, BaseSampler):
        raise InputError(
            "sampler._target_: expected an optuna.samplers.BaseSampler, got "
            f"{cfg_sampler['_target_']}"
        )
    return made


def _made(sampler: Any, arguments: dict[str, Any]) -> Any:
    """The sampler; by Hydra, which takes some ms, where an argument is more than a plain value."""
    plain = all(isinstance(x, bool | int | float | str | None) for x in arguments.values())
    if plain and not any(key.startswith("_") for key in arguments):
        return sampler(**arguments)
    return instantiate({"_target_": sampler, **arguments})


def _target(cfg_sampler: Mapping[str, Any]) -> Any:
    """The class that `_target_` names, with what it needs at hand."""
    name = cfg_sampler.get("_target_")
    try:
        sampler = get_object(str(name))
    except (ImportError, ValueError) as error:
        raise InputError(
            f"sampler._target_: expected a class, got {name}: {_cause(error)}"
        ) from None
    if sampler is CmaEsSampler and importlib.util.find_spec("cmaes") is None:
        raise InputError(
            "sampler: CmaEsSampler needs the package cmaes, which is not installed; "
            "pip install 'maml-sweep[samplers]'"
        )
    return NumberedQMC if sampler is QMCSampler else sampler


def _arguments(sampler: Any, seed: int, number: int) -> dict[str, Any]:
    """What we pass beside the user's own arguments."""
    if sampler is NumberedQMC:
        independent = RandomSampler(seed=_state(seed, number))
        return {"number": number, "seed": _state(seed), "independent_sampler": independent}
    arguments: dict[str, Any] = {}
    if isinstance(sampler, type) and not issubclass(sampler, BaseSampler):
        return arguments
    if "seed" in inspect.signature(sampler).parameters:
        arguments["seed"] = _state(seed, number)
    if sampler is CmaEsSampler:
        arguments["warn_independent_sampling"] = False  # once a parameter and trial is too often
    return arguments


def _state(*words: int) -> int:
    """A seed as NumPy's RandomState takes it."""
    return derive_seed("sampler", *words) % 2**32


def _cause(error: BaseException) -> str:
    """The first line of what lies at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class NumberedQMC(QMCSampler):
    """A quasi-Monte Carlo sequence with the trial's number as its index.

    Optuna counts points in the study by reading and writing, so that two workers may draw one
    point; numbers are unique, and a trial's point hangs on nothing else.
    """

    def __init__(self, number: int, **kwargs: Any) -> None:
        """Takes the number beside `optuna.samplers.QMCSampler`'s arguments."""
        super().__init__(warn_independent_sampling=False, **kwargs)
        self._number = number

    def _find_sample_id(
        self, study: optuna.Study, search_space: dict[str, BaseDistribution]
    ) -> int:
        return self._number


class PerTrial(BaseSampler):
    """Gives every trial a sampler of its own by `build`; what a study is opened with."""

    def __init__(self, cfg_sampler: Mapping[str, Any], seed: int) -> None:
        """Checks the node by building its first sampler.

        Raises:
          InputError: see `build`.
        """
        self._cfg = cfg_sampler
        self._seed = seed
        build(cfg_sampler, seed, 0)
        self._samplers: dict[int, BaseSampler] = {}
        self._seen: dict[int, Excerpt] = {}
        self._ranks = Ranks()

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number not in self._samplers:
            self._samplers[trial.number] = build(self._cfg, self._seed, trial.number)
        return self._samplers[trial.number]

    def _seen_by(self, trial: FrozenTrial, study: optuna.Study) -> optuna.Study:
        """The study, or as much of it as a sampler needs that takes time for each trial."""
        if not isinstance(self._of(trial), TPESampler):
            return study
        if trial.number not in self._seen:
            self._seen[trial.number] = Excerpt(study, self._ranks)
        return cast(optuna.Study, self._seen[trial.number])

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """See `optuna.samplers.BaseSampler`, here and below."""
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters drawn together."""
        return self._of(trial).infer_relative_search_space(self._seen_by(trial, study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draws them."""
        seen = self._seen_by(trial, study)
        return self._of(trial).sample_relative(seen, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draws one by itself."""
        seen = self._seen_by(trial, study)
        return self._of(trial).sample_independent(seen, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Lets the trial's sampler take its notes, then forgets it."""
        self._of(trial).after_trial(study, trial, state, values)
        del self._samplers[trial.number]
        self._seen.pop(trial.number, None)
