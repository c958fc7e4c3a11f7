"""The typed options of `sampler` and `pruner`; part of the schema in `maml_sweep.config`.

Each names its class in `_target_` and takes that class's own arguments. Defaults are the class's
own unless a comment says why not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import II


@dataclass
class TPE:
    """sampler=tpe: tree-structured Parzen estimators (Bergstra et al. 2011)."""

    _target_: str = "optuna.samplers.TPESampler"
    n_startup_trials: int = 8  # a quarter of the default budget
    n_ei_candidates: int = 24
    multivariate: bool = True  # alpha and the number of steps trade off
    group: bool = True  # and so do the parameters of each branch
    constant_liar: bool = False  # running trials stand where they report (search/excerpt.py)


@dataclass
class Random:
    """sampler=random."""

    _target_: str = "optuna.samplers.RandomSampler"


@dataclass
class QMC:
    """sampler=qmc: a low-discrepancy sequence."""

    _target_: str = "optuna.samplers.QMCSampler"
    qmc_type: str = "sobol"
    scramble: bool = True


@dataclass
class CmaEs:
    """sampler=cmaes: needs the extra `samplers`."""

    _target_: str = "optuna.samplers.CmaEsSampler"
    sigma0: float | None = None
    n_startup_trials: int = 8
    popsize: int | None = None
    with_margin: bool = True  # integers keep a chance to change


@dataclass
class NSGAII:
    """sampler=nsgaii: a genetic algorithm."""

    _target_: str = "optuna.samplers.NSGAIISampler"
    population_size: int = 16
    mutation_prob: float | None = None
    crossover_prob: float = 0.9
    swapping_prob: float = 0.5


@dataclass
class Grid:
    """sampler=grid: every point of a finite space; the points fill the slots themselves."""

    _target_: str = "optuna.samplers.GridSampler"


@dataclass
class Rungs:
    """pruner=rungs: judges a whole pack at once against all values known at its rung."""

    _target_: str = "maml_sweep.search.pruners.RungPruner"
    iterations: int = II("training.iterations")
    grace: float = 0.12  # fraction of its iterations that every trial gets
    keep: float = 0.2  # fraction of the trials that goes on to the end at least
    smooth: int = 2  # rungs averaged before trials are compared


@dataclass
class Median:
    """pruner=median."""

    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    n_min_trials: int = 1


@dataclass
class Percentile(Median):
    """pruner=percentile."""

    _target_: str = "optuna.pruners.PercentilePruner"
    percentile: float = 25.0


@dataclass
class Halving:
    """pruner=halving: successive halving; `auto` follows the first trial's iterations."""

    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: int | str = "auto"
    reduction_factor: int = 4
    min_early_stopping_rate: int = 0
    bootstrap_count: int = 0


@dataclass
class Hyperband:
    """pruner=hyperband."""

    _target_: str = "optuna.pruners.HyperbandPruner"
    min_resource: int = 100
    max_resource: int = II("training.iterations")
    reduction_factor: int = 3
    bootstrap_count: int = 0


@dataclass
class Wilcoxon:
    """pruner=wilcoxon: a signed-rank test over the validation tasks; needs SciPy."""

    _target_: str = "maml_sweep.search.pruners.WilcoxonPruner"
    iterations: int = II("training.iterations")
    p_threshold: float = 0.001
    n_startup_steps: int = 2
    grace: float = 0.25  # fraction of its iterations that every trial gets


@dataclass
class NoPruner:
    """pruner=none: every trial trains to its end."""

    _target_: str = "optuna.pruners.NopPruner"


SAMPLERS: dict[str, Any] = {
    "tpe": TPE,
    "random": Random,
    "qmc": QMC,
    "cmaes": CmaEs,
    "nsgaii": NSGAII,
    "grid": Grid,
}
PRUNERS: dict[str, Any] = {
    "rungs": Rungs,
    "median": Median,
    "percentile": Percentile,
    "halving": Halving,
    "hyperband": Hyperband,
    "wilcoxon": Wilcoxon,
    "none": NoPruner,
}
