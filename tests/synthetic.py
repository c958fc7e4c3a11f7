"""Real study folders without training: a known objective, the project's own writers.

`make` plays a sweep through (`simulated`) and stores what a worker would have: the study and its
plan, the leases, `sweep.yaml`, `best.yaml`, `trials.csv`, `evaluations/` and `turns/`.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
from planned import CONFIG, FOUR, Expressions, make_plan, make_space, trained_with
from simulated import STEPS, Course, Simulation, Turn, bowl, draw_values
from sqlalchemy import event
from sqlalchemy.engine import Engine
from stored import store, trials

from maml_sweep.files import write_atomic
from maml_sweep.search import records
from maml_sweep.search import study as studies
from maml_sweep.search.lease import PREFIX, Lease
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan

RUNGS = tuple(range(100, 2001, 100))


def make(
    root: Path,
    name: str = "s",
    *,
    n_trials: int = 30,
    objective: Callable[[Mapping[str, Any], int], float] = bowl,
    space: Expressions | None = None,
    groups: Mapping[str, Mapping[str, Expressions]] | None = None,
    points: Sequence[Mapping[str, Any]] = (),
    direction: str = "minimize",
    metric: str = "mse",
    rungs: Sequence[int] = RUNGS,
    prune: str = "half",
    diverge: Callable[[Mapping[str, Any]], bool] = lambda values: False,
    states: Mapping[int, str] | str | None = None,
    workers: int = 1,
    pack: int = 6,
    lease: str = "retired",
    tasks: int = 20,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    evaluations: bool = True,
    turns: bool = True,
    **plan: Any,
) -> Path:
    """Writes a study's folder.

    Args:
      root: the folder of the studies' folders.
      name: the study's.
      n_trials: the budget; 0 gives a study with neither slots nor trials.
      objective: ({config key or group: value}, step) -> reported value.
      space: config key -> Hydra's sweep expression, or a distribution; the four by default.
      groups: group -> option -> what is searched under that option besides.
      points: values of the first slots; what they leave open is drawn.
      direction: or "maximize".
      metric: the task's.
      rungs: steps of reporting.
      prune: "half" or "none", see `Simulation`.
      diverge: which settings diverge.
      states: slot -> state, or one for all: see `Course.state`; waiting slots were never begun.
      workers: how many share the slots.
      pack: trials a worker holds at once.
      lease: of the workers: "live", "dead" (killed), or "retired".
      tasks: validation tasks.
      seed: of all that is drawn, and the plan's.
      config: replaces the sinusoid's configuration; of a branch, what its groups' options name
        is not in it unless it is given by `configs`.
      evaluations: whether to write `evaluations/` of finished trials.
      turns: whether to write `turns/`.
      **plan: other fields of `Plan`.

    Returns:
      The folder.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searched = make_space(FOUR if space is None else space, groups or {})
    base = deepcopy(dict(CONFIG if config is None else config))
    length = {"iterations": rungs[-1], "report_every": rungs[0], "validation_tasks": tasks}
    base["training"] = base.get("training", {}) | length
    made = {"name": name, "direction": direction, "metric": metric, "n_trials": n_trials}
    stored = make_plan(base, searched, **(made | {"seed": seed} | plan))
    rng = np.random.default_rng(seed)
    given = [*points, *[{}] * (n_trials - len(points))]
    drawn = [draw_values(searched, rng, point) for point in given]
    sign = -1.0 if direction == "maximize" else 1.0
    forced = dict.fromkeys(range(n_trials), states) if isinstance(states, str) else states or {}
    names = [f"host-{1000 + k}-{k:08x}" for k in range(workers)]
    simulation = Simulation(objective, rungs, sign, prune, diverge, forced, names, pack)
    courses = simulation.play(drawn)
    folder = studies.folder(root, name)
    with _hasty():
        study = store(stored, folder, trials(courses, stored, searched))
        for worker in names:
            study.set_user_attr(PREFIX + worker, _lease(lease))
        if evaluations:
            _write_evaluations(folder, courses, tasks, rng, sign)
        for worker, lines in simulation.turns.items() if turns else ():
            write_atomic(folder / "turns" / f"{worker}.csv", turns_text(lines), durable=False)
        _write_records(study, stored, searched, folder)
    return folder


def _write_records(study: optuna.Study, plan: Plan, space: Space, folder: Path) -> None:
    records.write_sweep(plan, folder)
    records.write_trials(study, plan, space, folder)
    best = records.best_trial(study)
    if best is not None:
        config = trained_with(plan, space, space.values(best.params))
        records.write_best(best, plan, space, folder, config)


def turns_text(lines: Sequence[Turn]) -> str:
    """`turns/<worker>.csv`."""
    text = io.StringIO()
    header = [field.name for field in fields(Turn)]
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(line) for line in lines)
    return text.getvalue()


# -- files ------------------------------------------------------------------------------------


@contextmanager
def _hasty() -> Iterator[None]:
    """Waits for no disk: a test's study need not survive a power cut."""

    def relax(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", relax)
    try:
        with patch.object(records, "write_atomic", partial(write_atomic, durable=False)):
            yield
    finally:
        event.remove(Engine, "connect", relax)


def _lease(kind: str) -> dict[str, Any]:
    lease = Lease.of_this_process().renewed(time.time() + 3600.0 if kind != "retired" else 0.0)
    return lease.to_json() | ({"start": "0"} if kind == "dead" else {})


def _write_evaluations(
    folder: Path, courses: Sequence[Course], tasks: int, rng: np.random.Generator, sign: float
) -> None:
    """`evaluations/` of the slots that finished without diverging."""
    hard = rng.uniform(-1.0, 1.0, tasks)  # the same tasks stay hard whoever trains on them
    for course in courses:
        if course.state not in {"complete", "retried", "pruned"}:
            continue
        steps = int(course.values.get(STEPS, 1))
        values = np.array(list(course.curve.values()))
        rungs = per_task(values, hard, rng)  # [rung, task]
        # Twice the loss before adaptation, the last value after S steps, a little better beyond.
        left = 2.0 ** -np.arange(2 * steps + 1) - 2.0**-steps
        metric = per_task(values[-1] * (1.0 + sign * left), hard, rng)
        metric[steps] = rungs[-1]
        records.write_evaluation(
            folder, course.slot, metric=metric, rung_step=list(course.curve), rung_metric=rungs
        )


def per_task(values: np.ndarray, hard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each task's metric, positive, with exactly these means.

    Args:
      values: float [n], positive.
      hard: float [task] in [-1, 1], what is common to all trials.
      rng: of what is a trial's own.

    Returns:
      float [n, task].
    """
    own = rng.uniform(-1.0, 1.0, (len(values), len(hard)))
    effects = 0.3 * hard + 0.1 * own
    effects -= effects.mean(axis=1, keepdims=True)
    room = np.where((values > 0.5) & (values < 1.0), 1.0 - values, np.abs(values))  # an accuracy's
    return values[:, np.newaxis] + room[:, np.newaxis] * effects
