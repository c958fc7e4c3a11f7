"""One table of all algorithms at a size that costs nothing, for the tests of the whole family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numerics import optimizer
from omegaconf import DictConfig, OmegaConf

from maml_sweep import build, config, config_models, config_tasks, streams
from maml_sweep.backend import tf
from maml_sweep.build import Components
from maml_sweep.tasks import Classification, Episode, Examples, Split
from maml_sweep.training.devices import Device
from maml_sweep.training.pack import Run, Trainer, start
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings

BOUND = 2  # inner steps, of the algorithms that take any
ITERATIONS = 4
TASKS = 5  # that a trial is judged on
Changes = Mapping[str, Any]
NONE: Changes = {}


class Species(Classification):
    """Points around the centres of a fixed set of classes, with noise, judged by their loss.

    Args:
      ways: classes an episode.
      shots: examples of each to learn from, and as many to be asked.
      classes: how many there are.
    """

    metric = "cross-entropy"  # an accuracy shows no small difference
    input_shape = (3,)

    def __init__(self, ways: int = 3, shots: int = 2, classes: int = 5) -> None:
        self.outputs, self.shots = ways, shots
        self.classes = classes
        self.centres = np.random.default_rng(0).normal(size=(classes, 3))

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws classes and examples for each key."""
        order = streams.uniform(streams.fold_in(keys, 1), len(self.centres), dtype)
        chosen = tf.argsort(order)[:, : self.outputs]  # [lane, way]
        noise = streams.uniform(keys, 2 * self.shots * self.outputs * 3, dtype, -0.5, 0.5)
        noise = tf.reshape(noise, [-1, 2 * self.shots, self.outputs, 3])
        x = tf.gather(tf.constant(self.centres, dtype), chosen)[:, tf.newaxis] + noise
        y = tf.broadcast_to(tf.range(self.outputs), tf.shape(x)[:3])
        count = self.shots * self.outputs
        support, query = (
            Examples(tf.reshape(x[:, part], (-1, count, 3)), tf.reshape(y[:, part], (-1, count)))
            for part in (slice(None, self.shots), slice(self.shots, None))
        )
        return Episode(support, query, chosen)

    def score(self, outputs: Any, y: Any) -> Any:
        """The same as `loss`."""
        return self.loss(outputs, y)


class Case(NamedTuple):
    """An option of the group `algorithm`, and what it is tried on.

    Attributes:
      option: its name.
      changes: what differs from its defaults.
      task: of `TASK`.
      oracle: "differences": its meta-gradient is that of the loss it reports, so central
        differences must find it; "reference": it is not, and a file of its own compares it with
        one that is worked out by hand.
      exact: changes for which differences can be right: without what stops a gradient on purpose.
      draws: whether it draws anything in evaluation.
      trains_inside: whether inner steps take part in training.
    """

    option: str
    changes: Changes
    task: str = "sinusoid"
    oracle: Literal["differences", "reference"] = "differences"
    exact: Changes = NONE
    draws: bool = False
    trains_inside: bool = True


SMOOTH = config_models.MLP(widths=[4], activation="softplus")
# The model that goes with each task.
TASK: dict[str, tuple[Any, Any]] = {
    "sinusoid": (config_tasks.Sinusoid(shots=4, queries=5), SMOOTH),
    "normed": ({"_target_": "family.Species"}, {"_target_": "fewshot.Normed"}),
    "tame": ({"_target_": "family.Species"}, config_models.MLP(widths=[4], activation="tanh")),
    "species": ({"_target_": "family.Species"}, SMOOTH),
    "quadratics": (config_tasks.Quadratics(dimension=3), config_models.Linear(deviation=0.5)),
}
REFERENCE: Any = {"oracle": "reference"}
USUAL = {"inner_lr": 0.1, "inner_steps": BOUND}
STEPWISE = USUAL | {"multi_step_share": 0.9, "step_statistics": True, "second_order_from": 0.3}
SMOOTHLY = {"step_statistics": False, "second_order_from": None}
LEO = {
    "inner_lr": 0.1,
    "inner_steps": BOUND,
    "finetune_lr": 0.05,
    "finetune_steps": 1,
    "latent": 2,
    "kl_weight": 0.1,
    "encoder_penalty": 0.1,
    "orthogonality_weight": 0.1,
    "dropout": 0.3,
}
LSTM = {"inner_steps": BOUND, "unroll": 1, "hidden": 3}
CASES = [
    Case("maml", USUAL | {"inner_clip": 0.5}),
    Case("fomaml", USUAL, "species", **REFERENCE),
    Case("anil", USUAL, "species"),
    Case("boil", USUAL),
    Case("meta_sgd", USUAL),
    Case("maml_pp", STEPWISE, "normed", exact=SMOOTHLY),
    Case("reptile", USUAL | {"batch": 3}, draws=True, **REFERENCE),
    Case("imaml", USUAL | {"cg_steps": 2}, **REFERENCE),
    Case("leo", LEO, "tame", exact={"encoder_penalty": 0.0}),
    Case("learned_optimizer", LSTM, "quadratics", draws=True, **REFERENCE),
    Case("protonet", {}, "species"),
    Case("finetune", USUAL, "species", trains_inside=False),
]


def config_of(case: Case, changes: Changes = NONE) -> DictConfig:
    """A trial's composition.

    Args:
      case: of the table.
      changes: to its algorithm, besides the case's own.
    """
    option = config.GROUPS["algorithm"][case.option]
    task, model = TASK[case.task]
    every = ITERATIONS // 2
    training = config.Training(
        meta_batch_size=3, iterations=ITERATIONS, report_every=every, precision="float64"
    )
    return OmegaConf.create(
        {
            "task": task if isinstance(task, dict) else asdict(task),
            "model": model if isinstance(model, dict) else asdict(model),
            "algorithm": asdict(option(**{**case.changes, **changes})),
            "optimizer": asdict(config.Adam(meta_lr=0.02)),
            "training": asdict(training),
        }
    )


def parts_of(case: Case, changes: Changes = NONE) -> Components:
    """What a trial of the case is made of."""
    return build.components(config_of(case, changes))


def program_of(
    case: Case, changes: Changes = NONE, *, compiled: bool = False, shards: int = 2
) -> Program:
    """The case's program, by the way that sweeps build theirs."""
    composed = config_of(case, changes)
    parts = build.components(composed)
    return build.own_program(parts, composed, Device(shards, compiled))


def shorter(case: Case) -> dict[str, int]:
    """The changes that leave one inner step, if there are any."""
    return {"inner_steps": 1} if "inner_steps" in case.changes else {}


def scaled(knobs: Mapping[str, float], factor: float) -> dict[str, float]:
    """Other numbers for all of an algorithm's knobs."""
    return {name: factor * value for name, value in knobs.items()}


def strangers(own: Settings) -> list[Settings]:
    """Four trials of one program with `own` that share nothing with it."""
    fewer = max(min(own.inner_steps, 1), own.inner_steps - 1)
    variants: list[tuple[float, int, int, str, dict[str, float]]] = [
        (0.5, own.inner_steps, 2, "sgd", {"meta_lr": 1e-3, "momentum": 0.9}),
        (0.8, fewer, 5, "adamw", {"meta_lr": 1e-2}),
        (1.1, own.inner_steps, 1, "adam", {"meta_lr": 1e-3, "clip": 0.5}),
        (0.3, fewer, 4, "sgd", {"meta_lr": 1e-3}),
    ]
    return [
        replace(
            own,
            knobs=scaled(own.knobs, factor),
            inner_steps=steps,
            eval_steps=steps,
            meta_batch_size=batch,
            optimizer=optimizer(kind, **changes),
        )
        for factor, steps, batch, kind, changes in variants
    ]


def started(of: Program, settings: list[Settings], first_seed: int = 100) -> list[Run]:
    """Runs of different seeds before their first iteration."""
    return [start(of, each, first_seed + place) for place, each in enumerate(settings)]


def advance(of: Program, runs: list[Run], iterations: int) -> list[Run]:
    """The same runs, so many iterations later."""
    for _ in Trainer(of).advance(runs, [run.iteration + iterations for run in runs]):
        pass
    return runs


def state(run: Run) -> np.ndarray:
    """What a run carries: float [3, parameter]."""
    return np.stack([run.theta, run.moment1, run.moment2])
