"""LEO: its terms and a latent step by hand, its meta-gradient, what must not matter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenClassification,
    GivenRegression,
    adapted,
    central_differences,
    check_meta_gradient,
    knobs,
    meta_gradient,
    program,
    relative,
    settings,
)

from maml_sweep import build
from maml_sweep.algorithms import LEO, Inner, Knobs, leo_nets
from maml_sweep.algorithms.leo_nets import Gaussian, Nets
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, gradients
from maml_sweep.models.base import Model
from maml_sweep.tasks import Examples
from maml_sweep.training.program import Program

pytestmark = pytest.mark.usefixtures("eager")

TERMS = {"kl_weight": 0.0, "encoder_penalty": 0.0, "orthogonality_weight": 0.0}


def episodes(shape: tuple[int, ...] = (4,), shots: int = 2, seed: int = 1) -> GivenClassification:
    """Two tasks of normal inputs in three classes, two questions a class."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(3), (2, shots)), np.array([[0, 1, 2, 0, 1, 2], [2, 1, 0, 1, 2, 0]])
    support, query = ((rng.normal(size=(2, y.shape[1], *shape)), y) for y in labels)
    return GivenClassification(support, query, 3)


def small(model: Model | None = None, shots: int = 2, **options: Any) -> Program:
    """LEO with codes of three numbers and two steps of either kind."""
    model = model or MLP((4,), 3, ())
    shape = (4,) if isinstance(model, MLP) else (6, 6, 1)
    chosen: dict[str, Any] = {"finetune_steps": 2, "latent": 3, "dropout": 0.3} | options
    return program(episodes(shape, shots), model, LEO(0.3, 2, **chosen), bound=2)


def point(of: Program, seed: int = 2) -> np.ndarray:
    """Parameters large enough that no deviation of a draw lies at its floor by chance."""
    theta: np.ndarray = of.init(np.array([[1, 2]], np.uint32))[0]
    return theta + 0.1 * np.random.default_rng(seed).normal(size=len(theta))


def numbers(of: Program, **changes: float) -> Any:
    """A trial's numbers: the algorithm's own, unless said otherwise."""
    return settings(0.3, 2, knobs={**of.algorithm.knobs, **changes})


def lanes(of: Program, theta: np.ndarray) -> tuple[Any, Any, Knobs]:
    """Two lanes: their parameters, episodes and knobs."""
    episode = of.task.episodes("train", np.zeros((2, 2), np.uint32), tf.float64)
    meta = of.layout.split(tf.constant(np.tile(theta, (2, 1))))
    return meta, episode, rows(2, of, 2)


def rows(count: int, of: Program, steps: int) -> Knobs:
    """Knobs of so many lanes: the algorithm's own numbers, without the terms of the outer loss."""
    values = {**of.algorithm.knobs, **TERMS}
    return knobs(count, values.pop("inner_lr"), steps, **values)


def evaluated(of: Program, meta: Any, support: Examples, use: Knobs) -> Inner:
    """Lanes adapted as an evaluation does it."""
    inner = of.algorithm.start(of.problem, meta, support, use, training=False)
    return of.algorithm.adapt(of.problem, inner, use, [None] * 2)


# -- by hand -------------------------------------------------------------------------------------


def test_divergence_by_hand() -> None:
    """KL(N(m, s²) || N(0, 1)) = (m² + s² - 1)/2 - ln s.

    m = 1, s = 2: 2 - ln 2; m = 0, s = 1: 0; m = 3, s = 1: 9/2; m = 0, s = e: e²/2 - 3/2. Their
    mean is a lane's.
    """
    mean, deviation = [[[1.0, 0.0], [3.0, 0.0]]], [[[2.0, 1.0], [1.0, math.e]]]
    found = leo_nets.divergence(Gaussian(tf.constant(mean), tf.constant(deviation)))
    wanted = (2 - math.log(2) + 0 + 4.5 + math.e**2 / 2 - 1.5) / 4
    np.testing.assert_allclose(found, [wanted], rtol=1e-6)


def test_orthogonality_by_hand() -> None:
    """Rows (3, 4) and (4, 3) have the cosine 24/25; the mean of (0, .96², .96², 0) is .4608.

    Rows (1, 2, 2) and (2, -2, 1) are orthogonal, whatever their lengths: 0.
    """
    square = tf.constant([[[3.0, 4.0], [4.0, 3.0]], [[3.0, 4.0], [-8.0, 6.0]]])
    np.testing.assert_allclose(leo_nets.orthogonality(square), [0.4608, 0], rtol=1e-6, atol=1e-12)
    wide = tf.constant([[[1.0, 2.0, 2.0], [20.0, -20.0, 10.0]]])
    np.testing.assert_allclose(leo_nets.orthogonality(wide), [0], atol=1e-12)


def test_a_class_s_code_is_the_mean_over_its_examples_and_all_their_pairs() -> None:
    """By the sum over pairs as the paper writes it (equation 4), pair after pair."""
    rng = np.random.default_rng(3)
    shapes = [(4, 3), (6, 6), (6, 6), (6, 6), (3, 8)]
    nets = [rng.normal(size=shape) for shape in shapes]
    x, y = rng.normal(size=(5, 4)), np.array([0, 1, 1, 0, 1])
    codes = x @ nets[0]
    total = np.zeros((2, 6))
    for i, a in enumerate(codes):
        for b in codes:
            hidden = np.maximum(0, np.concatenate([a, b]) @ nets[1])
            total[y[i]] += np.maximum(0, hidden @ nets[2]) @ nets[3] / 5
    outputs = total / [[2], [3]]
    lane = Nets(*(tf.constant(value[np.newaxis]) for value in nets))
    found = leo_nets.encode(lane, tf.constant(x[np.newaxis]), tf.constant(np.eye(2)[y][np.newaxis]))
    np.testing.assert_allclose(found.mean[0], outputs[:, :3], rtol=1e-12)
    deviation = np.maximum(np.exp(outputs[:, 3:]) - 1, 1e-10)
    np.testing.assert_allclose(found.deviation[0], deviation, rtol=1e-12)


def one_number() -> tuple[Program, Any, Examples]:
    """Codes of one number, features of one number, two classes of one example each.

    The encoder is 1; the relation network's first two layers pass its positive inputs on, (a, b)
    as (a, b); its last makes the mean 2a of them. The decoder makes the weight z / 10.
    """
    x, y = np.array([[[1.0], [3.0]]]), np.array([[0, 1]])
    task = GivenClassification((x, y), (x, y), 2)
    of = program(task, MLP((1,), 2, ()), LEO(0.5, 1, finetune_lr=0.25, finetune_steps=1, latent=1))
    pass_on = np.eye(2)
    last = np.array([[2.0, 0.0], [0.0, 0.0]])
    values = [[[1.0]], pass_on, pass_on, last, [[0.1, 0.0]], [0.5], [0.25]]
    meta = [tf.constant(np.array(value)[np.newaxis], tf.float64) for value in values]
    return of, meta, Examples(tf.constant(x), tf.constant(y, tf.int32))


def test_a_latent_step_and_a_step_of_fine_tuning_by_hand() -> None:
    """Features 1 and 3 give the codes z = (2, 6) and the weights w = z / 10 = (.2, .6).

    Logits of x are x w. With p the softmax and labels (0, 1), the mean cross-entropy has
    dL/dw_0 = ½ (1 (p_0(1) - 1) + 3 p_0(3)), where p_0(x) = 1 / (1 + exp(x (w_1 - w_0))), and
    dL/dw_1 is its opposite. A latent step is z - ½ dL/dw / 10, one of fine-tuning w - ¼ dL/dw.
    """
    of, meta, support = one_number()
    use = rows(1, of, 1)

    def slope(w: np.ndarray) -> np.ndarray:
        x = np.array([1.0, 3.0])
        first = 1 / (1 + np.exp(x * (w[1] - w[0])))  # p of class 0 for each example
        down = 0.5 * np.sum(x * (first - [1, 0]))
        return np.array([down, -down])

    start = of.algorithm.start(of.problem, meta, support, use, training=False)
    np.testing.assert_allclose(start.fast[0, :, 0], [2, 6], rtol=1e-12)
    stepped = of.algorithm.adapt(of.problem, start, use, [None])
    codes = np.array([2, 6]) - 0.5 * slope(np.array([0.2, 0.6])) / 10
    np.testing.assert_allclose(stepped.fast[0, :, 0], codes, rtol=1e-12)
    head, bias = of.algorithm.weights(of.problem, stepped, use)
    np.testing.assert_allclose(head[0, 0], codes / 10 - 0.25 * slope(codes / 10), rtol=1e-12)
    np.testing.assert_array_equal(bias, [[0, 0]])


def test_a_finished_lane_stays_where_it_is() -> None:
    of, meta, support = one_number()
    use = rows(1, of, 1)
    inner = of.algorithm.start(of.problem, meta, support, use, training=False)
    stay = of.algorithm.step(of.problem, inner, use, 1)
    np.testing.assert_array_equal(stay, inner.fast)


# -- draws ---------------------------------------------------------------------------------------


def test_draws_have_the_deviations_that_the_networks_say() -> None:
    """20,000 lanes: means within five standard errors; neighbours are independent."""
    keys = knobs(20_000, 0.1, 1).key
    ones = tf.ones([20_000, 2, 1], tf.float64)
    found = np.asarray(leo_nets.sampled(Gaussian(3 * ones, 0.5 * ones), keys))[..., 0]
    np.testing.assert_allclose(found.mean(0), 3, atol=0.02)
    np.testing.assert_allclose(found.std(0), 0.5, atol=0.02)
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.04


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_dropout_masks_its_share_and_keeps_the_mean(rate: float) -> None:
    keys = knobs(100, 0.1, 1).key
    rates = tf.fill([100], tf.constant(rate, tf.float64))
    found = np.asarray(leo_nets.dropped(tf.ones([100, 20, 50], tf.float64), rates, keys))
    np.testing.assert_allclose(np.unique(found), [0, 4 / 3] if rate else [1])
    assert abs(found.mean() - 1) < 0.01


def test_training_draws_anew_at_each_step_and_for_each_lane() -> None:
    """The same parameters and support set in both lanes; a rate of zero keeps the codes."""
    of = small()
    meta, episode, use = lanes(of, point(of))
    same = Examples(*(tf.repeat(part[:1], 2, axis=0) for part in episode.support))
    inner = adapted(of, meta, same, use)
    assert not np.allclose(inner.fast[0], inner.fast[1])
    heads = [
        of.algorithm.weights(of.problem, inner, use._replace(steps=tf.fill([2], count)))[0]
        for count in (0, 1, 1)
    ]
    assert not np.allclose(heads[0], heads[1])
    np.testing.assert_array_equal(heads[1], heads[2])


def test_an_evaluation_takes_means_and_masks_nothing() -> None:
    """Neither its keys nor the rate of dropout matter."""
    of = small()
    meta, episode, use = lanes(of, point(of))
    other = use._replace(
        key=use.key[::-1], values={**use.values, "dropout": use.values["dropout"] + 0.5}
    )
    found, again = (
        of.algorithm.predict(
            of.problem, evaluated(of, meta, episode.support, each), each, episode.query.x
        )
        for each in (use, other)
    )
    np.testing.assert_array_equal(found, again)


# -- the meta-gradient ---------------------------------------------------------------------------


@pytest.mark.parametrize("shots", [1, 5])
def test_meta_gradient_on_features(shots: int) -> None:
    """Draws are fixed by the key, so the loss is a function; all terms but the penalty's.

    At a point where no pair's ReLU has its kink within reach of the differences.
    """
    of = small(shots=shots)
    terms = {"kl_weight": 0.1, "orthogonality_weight": 0.2, "encoder_penalty": 0.0}
    check_meta_gradient(of, point(of, 3), numbers(of, **terms))


def test_meta_gradient_through_a_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smooth in the place of ReLU, whose kinks behind a norm are everywhere."""
    for module in (gradients, tf.nn):  # the model's, and those of the encoder
        monkeypatch.setattr(module, "relu", tf.nn.softplus)
    of = small(Conv4((6, 6, 1), 3, 2, norm="support"))
    check_meta_gradient(of, point(of), numbers(of, encoder_penalty=0.0, kl_weight=0.1))


def test_the_penalty_pulls_first_codes_to_adapted_ones_and_not_back() -> None:
    """Its gradient is that of mean (z' - z)² with z' held: 2 (z - z')/6 dz, for six numbers.

    So it moves encoder, relation network, and neither decoder nor rates; with the derivative of z'
    it would be another.
    """
    of = small(dropout=0.0)
    theta = point(of)
    without, with_it = (
        meta_gradient(of, theta, numbers(of, encoder_penalty=weight)) for weight in (0.0, 1.0)
    )
    parts = dict(
        zip(of.layout.names, of.layout.split(tf.constant((with_it - without)[None])), strict=True)
    )
    moved = {name for name, part in parts.items() if np.abs(part).max() > 1e-9}
    assert moved == {"encoder/weight", "relation0/weight", "relation1/weight", "relation2/weight"}
    whole = central_differences(of, theta, numbers(of, encoder_penalty=1.0))
    assert relative(with_it, whole) > 1e-3


@pytest.mark.parametrize("name", ["kl_weight", "encoder_penalty", "orthogonality_weight"])
def test_the_outer_loss_has_each_term_times_its_weight(name: str) -> None:
    of = small()
    meta, episode, use = lanes(of, point(of))
    first = of.algorithm.start(of.problem, meta, episode.support, use, training=True)
    last = of.algorithm.adapt(of.problem, first, use, [None] * 2)
    terms = {
        "kl_weight": leo_nets.divergence(first.context.codes),
        "encoder_penalty": np.mean((last.fast - first.fast) ** 2, axis=(1, 2)),
        "orthogonality_weight": leo_nets.orthogonality(first.context.nets.decoder),
    }
    weighted = use._replace(values={**use.values, name: tf.fill([2], tf.constant(0.7, tf.float64))})
    bare, whole = (
        of.algorithm.outer_loss(of.problem, meta, episode, each, [None] * 2)
        for each in (use, weighted)
    )
    np.testing.assert_allclose(whole - bare, 0.7 * terms[name], rtol=1e-9)


# -- what must not matter, and what must ---------------------------------------------------------


def test_the_order_of_the_support_set_changes_nothing() -> None:
    """While training too, for the draws belong to classes; dropout's masks go by place."""
    of = small(dropout=0.0)
    meta, episode, use = lanes(of, point(of))
    turned = Examples(*(part[:, ::-1] for part in episode.support))
    for adapt in (adapted, evaluated):
        found, wanted = (adapt(of, meta, each, use) for each in (turned, episode.support))
        np.testing.assert_allclose(found.fast, wanted.fast, rtol=1e-10)
        np.testing.assert_allclose(
            of.algorithm.weights(of.problem, found, use)[0],
            of.algorithm.weights(of.problem, wanted, use)[0],
            rtol=1e-10,
        )


def test_other_labels_for_the_classes_turn_the_outputs_with_them() -> None:
    """Class c called c + 1 (modulo 3): its output stands one further."""
    of = small()
    meta, episode, use = lanes(of, point(of))
    support = episode.support
    renamed = support._replace(y=(support.y + 1) % 3)
    found, wanted = (
        of.algorithm.predict(of.problem, evaluated(of, meta, each, use), use, episode.query.x)
        for each in (renamed, support)
    )
    np.testing.assert_allclose(found, np.roll(wanted, 1, axis=2), rtol=1e-10)
    assert not np.allclose(found, wanted)


def test_the_adapted_model_is_the_body_and_a_head_without_a_bias() -> None:
    of = small(Conv4((6, 6, 1), 3, 2))
    meta, episode, use = lanes(of, point(of))
    inner = evaluated(of, meta, episode.support, use)
    params = of.algorithm.weights(of.problem, inner, use)
    assert [p.shape[1:] for p in params] == [p.shape for p in of.problem.model.parameters]
    np.testing.assert_array_equal(params[-1], np.zeros((2, 3)))
    outputs = of.problem.outputs(params, episode.support, episode.query.x)
    np.testing.assert_array_equal(
        of.algorithm.predict(of.problem, inner, use, episode.query.x), outputs
    )


def test_rates_start_where_the_trial_says_and_are_learned() -> None:
    of = small()
    keys = np.array([[1, 2], [1, 2]], np.uint32)
    trials = [{**of.algorithm.knobs, "inner_lr": 2.0, "finetune_lr": rate} for rate in (0.5, 0.25)]
    *_, latent, finetune = of.layout.split(of.init(keys, trials))
    np.testing.assert_array_equal(latent, np.full((2, 3), 2.0))
    np.testing.assert_array_equal(finetune, [[0.5] * 4, [0.25] * 4])
    moved = of.layout.split(meta_gradient(of, point(of), numbers(of))[None])[-2:]
    assert all(np.abs(part).min() > 0 for part in moved)


# -- what it refuses -----------------------------------------------------------------------------


def test_regression_is_refused() -> None:
    x = np.zeros((2, 3, 1))
    problem = build.problem(GivenRegression((x, x), (x, x)), MLP((1,), 1, ()))
    with pytest.raises(InputError, match="LEO serves classification tasks, but the task is regr"):
        LEO(1.0, 5).check(problem)


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"inner_lr": -1.0}, "algorithm.inner_lr=-1"),
        ({"inner_steps": 0}, "algorithm.inner_steps=0"),
        ({"finetune_lr": math.inf}, "algorithm.finetune_lr=inf"),
        ({"finetune_steps": -1}, "algorithm.finetune_steps=-1: expected an integer of at least 0"),
        ({"latent": 0}, "algorithm.latent=0"),
        ({"kl_weight": -1.0}, "algorithm.kl_weight=-1"),
        ({"encoder_penalty": math.nan}, "algorithm.encoder_penalty=nan"),
        ({"orthogonality_weight": -0.1}, "algorithm.orthogonality_weight=-0.1"),
        ({"dropout": -0.1}, "algorithm.dropout=-0.1"),
        ({"dropout": 1.0}, "algorithm.dropout=1.0: expected a number below 1"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        LEO(**({"inner_lr": 1.0, "inner_steps": 5} | arguments))
