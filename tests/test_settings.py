"""A trial's numbers: rungs, budgets and refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
from omegaconf import OmegaConf

from maml_sweep import config
from maml_sweep.algorithms import MAML
from maml_sweep.errors import InputError
from maml_sweep.training import optimizers, settings
from maml_sweep.training.settings import Settings


def read(algorithm: MAML | None = None, **training: Any) -> Settings:
    node = OmegaConf.create(
        {"training": config.Training(**training), "optimizer": config.Adam(meta_lr=0.02)}
    )
    return settings.read(node, algorithm or MAML(0.1, 3))


def rungs(**training: Any) -> tuple[list[int], list[int]]:
    found = read(**training).rungs
    return [rung.step for rung in found], [rung.iteration for rung in found]


def test_a_rung_every_so_often_and_one_at_the_end() -> None:
    assert rungs(iterations=400, report_every=100)[0] == [100, 200, 300, 400]
    assert rungs(iterations=450, report_every=100)[0] == [100, 200, 300, 400, 450]
    assert rungs(iterations=50, report_every=100)[0] == [50]
    assert rungs(iterations=1, report_every=1)[0] == [1]


def test_with_a_budget_of_iterations_rungs_are_iterations() -> None:
    for batch in (1, 25, 64):
        steps, iterations = rungs(iterations=300, meta_batch_size=batch)
        assert steps == iterations == [100, 200, 300]
        assert read(iterations=300, meta_batch_size=batch).iterations == 300


@pytest.mark.parametrize("batch", [4, 7, 25, 64])
def test_with_a_budget_of_tasks_every_trial_sees_as_many(batch: int) -> None:
    """2,000 iterations of 25 tasks are 50,000: met to half a meta-batch, at every rung."""
    steps, iterations = rungs(budget="tasks", meta_batch_size=batch)
    assert steps == list(range(100, 2001, 100))  # what trials are compared at
    for step, iteration in zip(steps, iterations, strict=True):
        assert abs(iteration * batch - step * 25) <= batch / 2
    assert read(budget="tasks", meta_batch_size=batch).iterations == iterations[-1]


def test_a_budget_of_tasks_by_hand() -> None:
    numbers = {"budget": "tasks", "iterations": 100, "report_every": 40}
    assert rungs(**numbers, meta_batch_size=50) == ([40, 80, 100], [20, 40, 50])
    assert rungs(**numbers, meta_batch_size=10) == ([40, 80, 100], [100, 200, 250])
    reference = {"reference_meta_batch_size": 5, "meta_batch_size": 10}
    assert rungs(**numbers, **reference) == ([40, 80, 100], [20, 40, 50])


def test_every_trial_trains_at_least_once() -> None:
    assert rungs(budget="tasks", iterations=2, report_every=1, meta_batch_size=500)[1] == [1, 1]


def test_numbers_come_from_their_groups() -> None:
    found = read(MAML(0.25, 4, inner_clip=2.0), meta_batch_size=9)
    assert (found.knobs, found.inner_steps) == ({"inner_lr": 0.25, "inner_clip": 2.0}, 4)
    assert (found.meta_batch_size, found.eval_steps, found.optimizer.meta_lr) == (9, 4, 0.02)
    assert read().knobs["inner_clip"] == math.inf
    assert read(eval_steps=10).eval_steps == 10


class Falling(MAML):
    """Wants its meta rate to fall."""

    schedule = "cosine"


def test_the_algorithm_chooses_the_schedule_that_is_left_open() -> None:
    own = {algorithm: read(algorithm(0.1, 3)).optimizer.cosine for algorithm in (MAML, Falling)}
    assert own == {MAML: 0.0, Falling: 1.0}
    node = config.Adam(schedule="constant")
    assert optimizers.build(OmegaConf.structured(node), Falling.schedule).cosine == 0.0


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"meta_batch_size": 0}, "training.meta_batch_size=0"),
        ({"iterations": -5}, "training.iterations=-5"),
        ({"report_every": 0}, "training.report_every=0"),
        ({"budget": "time"}, "training.budget=time.*iterations, tasks"),
        ({"reference_meta_batch_size": 0}, "training.reference_meta_batch_size=0"),
        ({"validation_tasks": 0}, "training.validation_tasks=0"),
        ({"test_tasks": 0}, "training.test_tasks=0"),
        ({"eval_steps": 0}, "training.eval_steps=0"),
        ({"precision": "float16"}, "training.precision=float16.*float32, float64"),
        ({"max_loss": 0.0}, "training.max_loss=0"),
        ({"max_loss": math.nan}, "training.max_loss=nan"),
    ],
)
def test_bad_settings_are_named(training: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(**training)
