"""RUN: one trial by itself, as `hydra.mode=RUN` and other sweepers want it."""

from __future__ import annotations

import logging
import math
from typing import Any

from maml_sweep import build, streams
from maml_sweep.checks import positive
from maml_sweep.tasks.base import Task
from maml_sweep.training.devices import configure
from maml_sweep.training.pack import Trainer
from maml_sweep.training.trial import advance, judge, start

log = logging.getLogger(__name__)


def worst(task: Task) -> float:
    """The value of a trial that diverged."""
    return math.inf if task.direction == "minimize" else -math.inf


def run(config: Any) -> float:
    """Trains one trial and returns its objective (`hydra.mode=RUN`).

    Args:
      config: a trial's composition; `trial_seed` null: that of slot 0.

    Returns:
      The post-adaptation metric on the validation tasks at the last iteration; the worst value
      if it diverged.

    Raises:
      InputError: a wrong value.
    """
    parts = build.components(config)
    seed = config.trial_seed
    if seed is None:
        seed = streams.trial_seed(config.seed, 0)
    program = build.own_program(parts, config, configure(config.device))
    trainer = Trainer(program)
    repeats = positive("study.repeats", config.study.repeats)
    trial = start(program, parts.settings, seed, repeats)
    while not trial.finished and trial.diverged is None:
        for _ in advance(trainer, [trial]):
            pass
        judge(trainer, [trial], config.seed, config.training.validation_tasks)
        if trial.diverged is None:
            log.info("iteration %d: %s %.6g", trial.iteration, parts.task.metric, trial.values[-1])
    if trial.diverged is not None:
        log.warning("diverged after %d iterations: objective %s", trial.diverged, worst(parts.task))
        return worst(parts.task)
    if config.training.test:
        for name in ("", *parts.task.measures):
            tasks = config.training.test_tasks
            scores = trainer.evaluate(trial.runs, "test", config.seed, tasks, name)
            log.info("meta-test: %s %.6g", name or parts.task.metric, scores.mean())
    log.info("objective: %s %.8g", parts.task.metric, trial.values[-1])
    return trial.values[-1]
