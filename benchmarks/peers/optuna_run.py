"""Plain Optuna round our RUN: `study.optimize` of one process, a trial of ours an objective.

    python benchmarks/peers/optuna_run.py
    python benchmarks/peers/optuna_run.py --trials 3 --iterations 40 --report-every 20

A configuration is composed and trained as `python sweep.py hydra.mode=RUN` does it, without a new
process for each. It returns its objective at the end, so nothing can be pruned.
"""

from __future__ import annotations

import time

BEGIN = time.perf_counter()  # imports count: they are part of the command

import argparse  # noqa: E402
import logging  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import hydra  # noqa: E402
import optuna  # noqa: E402

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import maml_sweep.config  # noqa: E402, F401  (registers the schema)
from benchmarks.peers import driven, searching  # noqa: E402
from maml_sweep.single import run  # noqa: E402


def overrides(trial: optuna.Trial) -> list[str]:
    """Our default space of sinusoids, conf/search/sinusoid.yaml."""
    drawn = {
        "algorithm.inner_lr": trial.suggest_float("algorithm.inner_lr", 1e-3, 1e-1, log=True),
        "algorithm.inner_steps": trial.suggest_int("algorithm.inner_steps", 1, 5),
        "optimizer.meta_lr": trial.suggest_float("optimizer.meta_lr", 3e-4, 1e-2, log=True),
        "training.meta_batch_size": trial.suggest_int("training.meta_batch_size", 8, 64, log=True),
    }
    return [f"{key}={value}" for key, value in drawn.items()]


class Follower(logging.Handler):
    """Hands what single trials log to `driven.Log`."""

    def __init__(self, log: driven.Log) -> None:
        super().__init__()
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line of the log."""
        self.log.read([record.getMessage()])


def search(args: argparse.Namespace) -> list[searching.Trial]:
    """Searches and returns its trials."""
    log = driven.Log(BEGIN, args.iterations)
    logger = logging.getLogger("maml_sweep.single")
    logger.setLevel(logging.INFO)
    logger.addHandler(Follower(log))
    fixed = ["search=none", f"seed={args.seed}", f"training.iterations={args.iterations}"]
    fixed += [f"training.report_every={args.report_every}"]

    def objective(trial: optuna.Trial) -> float:
        drawn = overrides(trial)
        log.start(drawn)
        return run(hydra.compose("config", [*fixed, *drawn]))

    with hydra.initialize_config_module("maml_sweep.conf", version_base="1.3"):
        sampler = optuna.samplers.TPESampler(seed=args.seed)
        optuna.create_study(sampler=sampler).optimize(objective, n_trials=args.trials)
    return log.trials


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = search(searching.parser(__doc__).parse_args())
    searching.report("optuna_run", time.perf_counter() - BEGIN, found, driven.versions())
