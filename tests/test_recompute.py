"""Inner steps taken again on the way back: the same gradients, and no work saved up for later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from family import CASES, Case, config_of, program_of
from numerics import Patterns, program

from maml_sweep import build, streams
from maml_sweep.algorithms import Knobs
from maml_sweep.algorithms.recompute import recomputed
from maml_sweep.backend import tf
from maml_sweep.models import Conv4
from maml_sweep.training.devices import Device
from maml_sweep.training.program import Program

THROUGH = ("maml", "fomaml", "anil", "meta_sgd", "maml_pp", "leo")  # Algorithm.adapt
STEPPED = [case for case in CASES if case.option in THROUGH]


def gradient(of: Program, steps: list[int], recompute: bool) -> list[np.ndarray]:
    """The gradients and the loss of lanes that take so many steps each, in decreasing order."""
    count = len(steps)
    keys = np.stack([streams.key("recompute", lane) for lane in range(count)])
    theta = of.init(keys) + 0.05 * np.random.default_rng(0).normal(size=of.layout.size)
    floats = {name: tf.fill([count], tf.cast(x, of.dtype)) for name, x in values(of).items()}
    knobs = Knobs(tf.constant(steps), tf.constant(steps), floats["progress"], keys, floats)
    live = [tf.constant(sum(own > index for own in steps)) for index in range(max(steps))]
    episode = of.task.episodes("train", tf.constant(keys), of.dtype)
    found, loss = of.algorithm.gradient(
        replace(of.problem, recompute=recompute),
        of.layout.split(tf.constant(theta, of.dtype)),
        episode,
        knobs,
        live,
        tf.linspace(tf.cast(1.0, of.dtype), 2.0, count),
    )
    return [np.asarray(value) for value in (*found, loss)]


def values(of: Program) -> dict[str, float]:
    """The algorithm's numbers, and that a tenth of the training is over."""
    return {**of.algorithm.knobs, "progress": 0.1}


@pytest.mark.parametrize("case", STEPPED, ids=lambda case: str(case.option))
def test_the_meta_gradient_is_the_same(case: Case) -> None:
    """Lanes of two steps and one, split off as they finish; every parameter, in float64."""
    of = program_of(case)
    kept, again = (gradient(of, [2, 1], recompute) for recompute in (False, True))
    assert any(np.abs(value).max() > 1e-3 for value in kept[:-1])
    for one, other in zip(kept, again, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("steps", [[0, 0], [1, 0], [3, 2, 2, 1]])
def test_of_any_steps_it_is_the_same(steps: list[int]) -> None:
    of = program_of(STEPPED[0], {"inner_steps": 3})
    kept, again = (gradient(of, steps, recompute) for recompute in (False, True))
    for one, other in zip(kept, again, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-14)


def test_of_grouped_convolutions_it_is_the_same() -> None:
    of = program(Patterns(), Conv4((6, 6, 1), 3, 2), precision="float32", bound=2)
    kept, again = (gradient(of, [2, 1], recompute) for recompute in (False, True))
    for one, other in zip(kept, again, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def chained(recompute: bool) -> Callable[[Any], Any]:
    """The gradient of three sums of exponentials, one of the other."""

    def compute(x: Any, shift: Any) -> Any:
        return tf.reduce_sum(tf.exp(x + shift)) * tf.ones_like(x) / 100

    def slope(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in range(3):
                y = recomputed(compute, y, x[0]) if recompute else compute(y, x[0])
        return tape.gradient(y, x)

    return slope


@pytest.mark.parametrize(("recompute", "count"), [(False, 3), (True, 5)])
def test_tensorflow_does_not_merge_the_two_computations(recompute: bool, count: int) -> None:
    """What ran after all optimizations: three exponentials, all but the last a second time."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [4])
        slope = chained(recompute)(x)
        options = tf.compat.v1.RunOptions(output_partition_graphs=True)
        ran = tf.compat.v1.RunMetadata()
        session.run(slope, {x: np.ones(4)}, options=options, run_metadata=ran)
    ops = [node.op for graph in ran.partition_graphs for node in graph.node]
    assert ops.count("Exp") == count


def test_xla_does_not_merge_the_two_computations() -> None:
    slope = tf.function(chained(True), jit_compile=True, autograph=False)
    text = slope.experimental_get_compiler_ir(tf.ones([4]))(stage="optimized_hlo")
    assert text.count(" exponential(") == 5


def test_the_setting_is_part_of_the_structure_and_reaches_the_program() -> None:
    composed = config_of(STEPPED[0])
    parts = build.components(composed)
    plain = build.structure(parts, composed, 2)
    composed.training.recompute = True
    structure = build.structure(parts, composed, 2)
    assert structure != plain
    assert build.program(parts, structure, composed, Device()).problem.recompute


def test_weights_saved_before_there_was_the_setting_are_read() -> None:
    composed = config_of(STEPPED[0])
    del composed.training.recompute
    parts = build.components(composed)
    assert not build.own_program(parts, composed, Device()).problem.recompute
