"""MAML++: each part of it against plain MAML, against differences, and by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fewshot import Normed, classification, named_gradient, point, regression, two_lanes
from numerics import (
    GivenRegression,
    adapted,
    check_meta_gradient,
    knobs,
    meta_gradient,
    program,
    run_at,
    settings,
    started,
    train,
)

from maml_sweep.algorithms import MAML, Knobs, MAMLPlusPlus, Problem
from maml_sweep.algorithms.per_step import SHARE
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, Linear, gradients
from maml_sweep.tasks import Task
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings

OFF = {"multi_step_loss": False, "step_rates": False, "step_norms": False}
DENSE = MLP((2,), 3, (4,), "tanh")


def conv(norm: str = "transductive", downsample: str = "stride") -> Conv4:
    """Two filters on small images in three classes."""
    return Conv4((6, 6, 1), 3, 2, downsample, norm)


def numbers_of(
    inner_lr: float = 0.2, steps: int = 3, *, share: float = 0.5, begin: float = 0.5, **changes: Any
) -> Settings:
    """A trial of ten iterations, with all the knobs that MAML++ has."""
    own = {"multi_step_share": share, "second_order_from": begin, **changes.pop("knobs", {})}
    return settings(inner_lr, steps, knobs=own, **({"rungs": (10,)} | changes))


def of_parts(task: Task, model: Any, bound: int = 3, **switches: Any) -> Program:
    """A program of MAML++ with only these parts."""
    return program(task, model, MAMLPlusPlus(0.1, 1, **{**OFF, **switches}), bound=bound)


class At(MAMLPlusPlus):
    """MAML++ for ever at one moment of the training, for differences are taken at the first."""

    moment = 0.0

    def outer_loss(
        self, problem: Problem, meta: Any, episode: Any, knobs: Knobs, live: Sequence[Any]
    ) -> Any:
        """As at `moment`."""
        knobs = knobs._replace(progress=tf.fill(tf.shape(knobs.progress), self.moment))
        return super().outer_loss(problem, meta, episode, knobs, live)


def at(moment: float, task: Task, model: Any, **switches: Any) -> Program:
    """`of_parts` at one moment of the training."""
    algorithm = At(0.1, 1, **{**OFF, **switches})
    algorithm.moment = tf.constant(moment, tf.float64)
    return program(task, model, algorithm, bound=3)


# -- what it is without its parts ------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("model", [MLP((6, 6, 1), 3, (4,), "tanh"), conv(), conv("support")])
def test_all_off_is_maml(model: Any, clip: float | None) -> None:
    task = classification((6, 6, 1))
    numbers = numbers_of(0.2, 3, inner_clip=clip or math.inf)
    found, wanted = (
        program(task, model, algorithm, bound=3)
        for algorithm in (MAMLPlusPlus(0.1, 1, clip, **OFF), MAML(0.1, 1, inner_clip=clip))
    )
    assert found.layout.names == wanted.layout.names
    theta = point(wanted, numbers)
    one, other = (meta_gradient(each, theta, numbers) for each in (found, wanted))
    np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("eager")
def test_a_model_without_norms_has_no_sets_of_them() -> None:
    plain = of_parts(classification(), DENSE)
    switched = of_parts(classification(), DENSE, step_norms=True, step_statistics=True)
    assert switched.layout.names == plain.layout.names
    theta = point(plain, numbers_of())
    gradients = [meta_gradient(each, theta, numbers_of()) for each in (plain, switched)]
    np.testing.assert_array_equal(*gradients)


# -- the multi-step loss ---------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("iteration", "weights"),
    [
        (0, (1 / 3, 1 / 3, 1 / 3)),
        (1, (0.5 / 3, 0.5 / 3, 2 / 3)),  # half of the annealing is over
        (2, (0, 0, 1)),
        (9, (0, 0, 1)),
    ],
)
def test_the_loss_after_every_step(iteration: int, weights: tuple[float, ...]) -> None:
    """Three steps, weights annealed over two of ten iterations: MAMLs of 1, 2 and 3 steps."""
    of = of_parts(classification(), DENSE, multi_step_loss=True)
    maml = program(classification(), DENSE, bound=3)
    theta = point(maml, numbers_of())
    found = named_gradient(of, theta, numbers_of(0.3, 3, share=0.2), iteration)
    each = [meta_gradient(maml, theta, settings(0.3, steps)) for steps in (1, 2, 3)]
    wanted = np.tensordot(weights, each, 1)
    joined = np.concatenate([value.ravel() for value in found.values()])
    np.testing.assert_allclose(joined, wanted, rtol=1e-10, atol=1e-14)


@pytest.mark.usefixtures("eager")
def test_early_losses_keep_a_little_weight_until_the_end_of_the_annealing() -> None:
    """At 0.99 of it 1 - t = 0.01 is below the floor: 0.03/3 for each of two, 0.98 for the last."""
    algorithm = MAMLPlusPlus(0.1, 3)
    use = knobs(1, 0.1, 3, multi_step_share=0.5)
    late = use._replace(progress=tf.constant([0.495], tf.float64))
    assert algorithm._early(late).numpy() == pytest.approx([0.01])
    none = use._replace(values={**use.values, "multi_step_share": tf.zeros([1], tf.float64)})
    assert algorithm._early(none).numpy() == [0]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("moment", [0.0, 0.25, 0.499, 0.5, 0.9])
@pytest.mark.parametrize("task", [regression((2,), 3), classification()], ids=["mse", "ce"])
def test_multi_step_loss_by_differences(task: Task, moment: float) -> None:
    of = at(moment, task, DENSE, multi_step_loss=True)
    check_meta_gradient(of, point(of, numbers_of()), numbers_of())


# -- rates, norms ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_frozen_step_rates_are_maml() -> None:
    task, numbers = classification(), numbers_of(0.3, 2)
    rated, plain = of_parts(task, DENSE, step_rates=True), program(task, DENSE, bound=3)
    theta = point(plain, numbers)
    start = np.append(theta, np.full(3 * 4, 0.3))
    found = meta_gradient(rated, start, numbers)
    wanted = meta_gradient(plain, theta, numbers)
    np.testing.assert_allclose(found[: len(theta)], wanted, rtol=1e-10, atol=1e-12)
    assert found[len(theta) :].any()


@pytest.mark.usefixtures("eager")
def test_step_rates_start_at_alpha_one_a_step_and_tensor() -> None:
    of = of_parts(classification(), DENSE, step_rates=True)
    arrays = of.layout.named(started(of, numbers_of(0.25)).theta)
    rates = {name: array for name, array in arrays.items() if name.startswith("rate/")}
    assert list(rates) == [f"rate/{parameter.name}" for parameter in DENSE.parameters]
    assert all(np.array_equal(rate, np.full(3, 0.25)) for rate in rates.values())


@pytest.mark.usefixtures("eager")
def test_two_steps_of_a_line_by_hand() -> None:
    """f(x) = wx on the support example (1, 0) and the query (1, 1); w₀ = 1, rates 1/4 and 1/8.

    L = w², ∇L = 2w: w₁ = 1/2 · 1, w₂ = 3/4 · 1/2 = 3/8. The query loss (w - 1)² is 1/4 after the
    first step with slope -1, and 25/64 with slope -5/4 after the second. Half a weight each:
    ∂w: (-1 · 1/2 - 5/4 · 3/8)/2 = -31/64.
    ∂r₁: ∂w₁ = -2w₀ = -2, ∂w₂ = -2 · 3/4: (2 + 5/4 · 3/2)/2 = 31/16.
    ∂r₂: ∂w₂ = -2w₁ = -1: 5/4/2 = 5/8.
    """
    x = np.ones((1, 1, 1))
    task = GivenRegression((x, 0 * x), (x, x))
    switches = {"multi_step_loss": True, "step_rates": True}
    of = of_parts(task, Linear((1,), 1), 2, **switches)
    found = named_gradient(of, [1.0, 1 / 4, 1 / 8], numbers_of(0.1, 2, batch=1))
    np.testing.assert_allclose(found["output/weight"], [[-31 / 64]], rtol=1e-12)
    np.testing.assert_allclose(found["rate/output/weight"], [31 / 16, 5 / 8], rtol=1e-12)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("switches", [("step_rates",), ("multi_step_loss", "step_rates")])
def test_step_rates_by_differences(switches: tuple[str, ...]) -> None:
    of = of_parts(classification(), DENSE, **dict.fromkeys(switches, True))
    check_meta_gradient(of, point(of, numbers_of()), numbers_of())


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("norm", ["transductive", "support"])
@pytest.mark.parametrize("switches", [("step_norms",), tuple(OFF)])
def test_step_norms_by_differences(
    switches: tuple[str, ...], norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "relu", tf.nn.softplus)  # no kinks
    numbers = numbers_of(0.1, 2)
    of = of_parts(
        classification((6, 6, 1)), conv(norm), 2, **dict.fromkeys(switches, True), inner_clip=0.5
    )
    check_meta_gradient(of, point(of, numbers), numbers_of(0.1, 2, knobs={"inner_clip": 0.5}))


@pytest.mark.usefixtures("eager")
def test_norms_of_a_step_are_used_in_it_and_do_not_adapt() -> None:
    of = of_parts(classification((6, 6, 1)), conv(), 3, step_norms=True)
    assert of.layout.shapes[:3] == [(3, 3, 1, 2), (3, 2), (3, 2)]
    theta = point(of, numbers_of())
    params, episode = two_lanes(of, theta)
    for steps, used in ((0, 0), (1, 0), (2, 1), (3, 2)):
        use = all_knobs(2, 0.1, steps)
        inner = adapted(of, params, episode.support, use)
        found = of.algorithm.weights(of.problem, inner, use)
        for place, parameter in enumerate(of.problem.model.parameters):
            if parameter.role == "norm":
                np.testing.assert_array_equal(found[place], params[place][:, used])
            elif steps:
                assert not np.array_equal(found[place], params[place])


def all_knobs(lanes: int, inner_lr: float, steps: int) -> Knobs:
    """Knobs of MAML++, the same for all lanes."""
    return knobs(lanes, inner_lr, steps, multi_step_share=0.5, second_order_from=0.5)


# -- the order of derivatives ----------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("iteration", "first_order"), [(0, True), (4, True), (5, False), (9, False)]
)
def test_the_order_of_derivatives_changes_at_its_share(iteration: int, first_order: bool) -> None:
    """From half of ten iterations on it is MAML, before that FOMAML."""
    of = of_parts(classification(), DENSE, second_order_from=0.9)
    plain = program(classification(), DENSE, MAML(0.1, 1, first_order), bound=3)
    theta = point(plain, numbers_of())
    found = named_gradient(of, theta, numbers_of(0.3, 3, begin=0.5), iteration)
    wanted = plain.layout.named(meta_gradient(plain, theta, settings(0.3, 3)))
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-10, atol=1e-12)


# -- running statistics ----------------------------------------------------------------------------


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A 3x3 'SAME' convolution: x [example, 6, 6, in], kernel [3, 3, in, out]."""
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    views = [
        padded[:, row : row + 6, column : column + 6] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    ]
    total: np.ndarray = np.sum(views, axis=0)
    return total


def first_statistics(x: Any, kernels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the first block's channels, averaged over lanes."""
    pairs = zip(x, kernels, strict=True)
    outputs = [convolved(np.array(one), np.array(kernel)) for one, kernel in pairs]
    moments = [(y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))) for y in outputs]
    mean, variance = np.mean(moments, axis=0)
    return mean, variance


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("multi", [False, True])
def test_averages_move_towards_what_each_pass_saw(multi: bool, precision: str) -> None:
    """Of the first block, by NumPy: the support pass of each step, and the query pass after it.

    Without the multi-step loss there is no query pass after the first of two steps. Every pass
    moves the average by a tenth of its distance, of which it starts with the mean over tasks.
    """
    algorithm = MAMLPlusPlus(0.1, 1, **{**OFF, "multi_step_loss": multi, "step_statistics": True})
    task, model = classification((6, 6, 1)), conv(downsample="max_pool")
    of = program(task, model, algorithm, bound=3, precision=precision)
    exact = of_parts(task, model, step_statistics=True)
    numbers = numbers_of(0.1, 2)
    theta = point(exact, numbers)
    before = of.layout.named(theta)
    (run,) = train(of, [run_at(theta.astype(precision), numbers)])
    after = of.layout.named(run.theta)
    params, episode = two_lanes(exact, theta)
    kernels = [
        adapted(exact, params, episode.support, all_knobs(2, 0.1, steps)).fast.params[0]
        for steps in range(3)
    ]
    passes = [[(episode.support.x, kernels[step])] for step in range(2)]
    for step in range(2) if multi else (1,):
        passes[step].append((episode.query.x, kernels[step + 1]))
    tolerance = 1e-12 if precision == "float64" else 1e-5
    for index, name in enumerate(("block0/mean", "block0/variance")):
        wanted = before[name].copy()
        for step, each in enumerate(passes):
            for x, kernel in each:
                wanted[step] += SHARE * (first_statistics(x, kernel)[index] - before[name][step])
        np.testing.assert_allclose(after[name], wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("eager")
def test_averages_leave_everything_else_as_it_is() -> None:
    """Loss and gradient are those without them; training normalises by the batch."""
    task = classification((6, 6, 1))
    switches = {"multi_step_loss": True, "step_rates": True, "step_norms": True}
    plain = of_parts(task, conv(), **switches)
    kept = of_parts(task, conv(), step_statistics=True, **switches)
    theta = point(kept, numbers_of())
    runs = [
        train(of, [run_at(theta[: of.layout.size], numbers_of(0.1))])[0] for of in (plain, kept)
    ]
    assert runs[0].loss == runs[1].loss
    np.testing.assert_array_equal(runs[0].theta, runs[1].theta[: plain.layout.size])


def evaluated(of: Program, theta: np.ndarray, steps: int, trained: int) -> Any:
    """The outputs on the query sets after `steps` steps: [lane, example, outputs]."""
    params, episode = two_lanes(of, theta)
    use = all_knobs(2, 0.1, steps)._replace(trained=tf.fill([2], trained))
    inner = of.algorithm.start(of.problem, params, episode.support, use, training=False)
    inner = of.algorithm.follow(of.problem, inner, use, [None] * steps)
    return of.algorithm.predict(of.problem, inner, use, episode.query.x)


SWITCHES: list[Mapping[str, bool]] = [
    {"step_rates": True},
    {"step_norms": True},
    {"step_norms": True, "step_rates": True, "step_statistics": True},
]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("switches", SWITCHES)
def test_evaluation_step_by_step(switches: Mapping[str, bool]) -> None:
    """Four steps of a trial that was trained with two, in a program of three: sets 0, 1, 1, 1."""
    of = of_parts(classification((6, 6, 1)), conv(), 3, **switches)
    theta = positive(of, point(of, numbers_of()))
    params, episode = two_lanes(of, theta)
    sets = dict(zip(of.layout.names, params, strict=True))
    model = of.problem.model
    fast = {parameter.name: sets[parameter.name] for parameter in model.parameters}
    for used in (0, 1, 1, 1):
        statistics: Any = None
        if "step_statistics" in switches:
            statistics = [
                tuple(sets[f"block{block}/{what}"][:, used] for what in ("mean", "variance"))
                for block in range(4)
            ]
        for parameter in model.parameters:
            if "step_norms" in switches and parameter.role == "norm":
                fast[parameter.name] = sets[parameter.name][:, used]
        with tf.GradientTape() as tape:
            tape.watch(list(fast.values()))
            outputs, _ = model.apply(list(fast.values()), episode.support.x, statistics)
            loss = of.problem.loss(outputs, episode.support.y)
        gradients = dict(zip(fast, tape.gradient(loss, list(fast.values())), strict=True))
        for name, gradient in gradients.items():
            rates = sets.get(f"rate/{name}")
            if "step_norms" in switches and name.rpartition("/")[2] in ("scale", "offset"):
                continue
            rate = 0.1 if rates is None else rates[:, used]
            shape = (-1, *[1] * (len(gradient.shape) - 1))
            fast[name] = (
                fast[name] - (rate if rates is None else tf.reshape(rate, shape)) * gradient
            )
    wanted, _ = model.apply(list(fast.values()), episode.query.x, statistics)
    np.testing.assert_allclose(evaluated(of, theta, 4, 2), wanted, rtol=1e-10, atol=1e-12)


def positive(of: Program, theta: np.ndarray) -> np.ndarray:
    """The same with variances that are some."""
    arrays = of.layout.named(theta)
    return of.layout.row(
        {name: abs(x) if name.endswith("/variance") else x for name, x in arrays.items()}
    )


@pytest.mark.usefixtures("eager")
def test_with_running_statistics_an_answer_hangs_on_no_other_question() -> None:
    of = of_parts(classification((6, 6, 1)), conv(), 2, step_statistics=True)
    theta = positive(of, point(of, numbers_of(steps=2)))
    params, episode = two_lanes(of, theta)
    use = all_knobs(2, 0.1, 2)
    inner = of.algorithm.start(of.problem, params, episode.support, use, training=False)
    inner = of.algorithm.loop(of.problem, inner, use, 2)
    whole = of.algorithm.predict(of.problem, inner, use, episode.query.x)
    part = of.algorithm.predict(of.problem, inner, use, episode.query.x[:, :1])
    np.testing.assert_allclose(part, whole[:, :1], rtol=1e-12)


# -- trials of fewer steps in a larger program -----------------------------------------------------

EVERYTHING = dict.fromkeys((*OFF, "step_statistics"), True)


@pytest.mark.usefixtures("eager")
def test_sets_beyond_a_trials_own_steps_never_change() -> None:
    """Two steps in a program for two and in one for four: the same numbers, and the rest rests."""
    numbers = numbers_of(0.1, 2, kind="adam", meta_lr=0.01)
    found = []
    for bound in (2, 4):
        of = of_parts(classification(), Normed(), bound, **EVERYTHING)
        run = started(of, numbers)
        before = of.layout.named(run.theta.copy())
        train(of, [run], 2)
        after = of.layout.named(run.theta)
        found.append((run.loss, of.layout.named(run.theta, 2)))
        for parameter in of.layout.parameters:
            if parameter.per_step:
                one, other = before[parameter.name], after[parameter.name]
                np.testing.assert_array_equal(other[2:], one[2:])
                assert (other[:2] != one[:2]).any(axis=tuple(range(1, one.ndim))).all()
    (loss, arrays), (other_loss, others) = found
    assert loss == pytest.approx(other_loss, rel=1e-12)
    for name, array in arrays.items():
        np.testing.assert_allclose(array, others[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_trials_of_different_steps_share_a_program(compiled: bool) -> None:
    """Traced and by XLA, where finished lanes stay in place: as each by itself, run eagerly."""
    task, model, numbers = classification(), Normed(), numbers_of(0.1, 2, kind="adam", meta_lr=0.01)
    both = [numbers, replace(numbers, inner_steps=1, eval_steps=1)]
    algorithm = MAMLPlusPlus(0.1, 2, **EVERYTHING, second_order_from=0.1)
    of = program(task, model, algorithm, bound=2, compiled=compiled)
    together = train(of, [started(of, each) for each in both], 3)
    tf.config.run_functions_eagerly(True)
    try:
        plain = program(task, model, algorithm, bound=2)
        alone = [train(plain, [started(plain, each)], 3)[0] for each in both]
    finally:
        tf.config.run_functions_eagerly(False)
    for run, other in zip(together, alone, strict=True):
        assert run.diverged is None
        np.testing.assert_allclose(run.theta, other.theta, rtol=1e-7, atol=1e-9)


# -- settings --------------------------------------------------------------------------------------


def test_the_meta_rate_falls_along_a_cosine_unless_told_otherwise() -> None:
    assert MAMLPlusPlus(0.1, 1).schedule == "cosine"


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"inner_lr": -1.0}, "algorithm.inner_lr=-1"),
        ({"inner_steps": 0}, "algorithm.inner_steps=0"),
        ({"inner_clip": 0.0}, "algorithm.inner_clip=0"),
        ({"multi_step_share": -0.1}, r"algorithm.multi_step_share=-0\.1"),
        ({"second_order_from": math.nan}, "algorithm.second_order_from=nan"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        MAMLPlusPlus(**({"inner_lr": 0.1, "inner_steps": 1} | arguments))
