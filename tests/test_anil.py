"""ANIL and BOIL, MAML whose inner loop moves the head or the body alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fewshot import classification, given, named_gradient, point, regression, two_lanes
from numerics import (
    adapted,
    check_meta_gradient,
    knobs,
    meta_gradient,
    program,
    query_loss,
    settings,
)
from omegaconf import OmegaConf

from maml_sweep import build, config, config_models, config_tasks
from maml_sweep.algorithms import MAML, MetaSGD
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, gradients
from maml_sweep.models.base import Model
from maml_sweep.tasks import Task

pytestmark = pytest.mark.usefixtures("eager")

PARTS = ["head", "body"]


def one_unit(adapts: str, *, first_order: bool) -> list[float]:
    """Gradients of a, b, c, d of f(x) = c relu(ax + b) + d at (1, 0, 1, 0), α = 1/4.

    One support example (1, 0), one query (2, 1).
    """
    task = given(([[1]], [0]), ([[2]], [1]))
    algorithm = MAML(0.25, 1, first_order, adapts=adapts)
    of = program(task, MLP((1,), 1, (1,)), algorithm)
    found = named_gradient(of, [1.0, 0.0, 1.0, 0.0], settings(0.25, 1, batch=1))
    return [float(value.item()) for value in found.values()]


def test_the_heads_step_by_hand() -> None:
    """h = a + b = 1 and e = ch + d - 0 = 1 on the support, h' = 2a + b = 2 on the query.

    A step: c' = c - 2α e h = 1/2, d' = d - 2α e = -1/2, with 2α = 1/2. The body stays.
    f' = c'h' + d' = 1/2, the loss (f' - 1)² has the slope 2(f' - 1) = -1 by f'.
    ∂f'/∂c = (1 - h²/2) h' - h/2 = 1/2, ∂f'/∂d = -h/2 h' + 1 - 1/2 = -1/2.
    The body counts twice: through the query, c'∂h' = (1, 1/2) by (a, b), and through the step,
    where ∂c'/∂h = -(ch + e)/2 = -1 and ∂d'/∂h = -c/2 = -1/2 give -1 h' - 1/2 = -5/2 by each.
    ∂f'/∂a = 1 - 5/2 = -3/2, ∂f'/∂b = 1/2 - 5/2 = -2. All times -1.
    """
    np.testing.assert_allclose(one_unit("head", first_order=False), [3 / 2, 2, -1 / 2, 1 / 2])


def test_the_heads_first_order_step_by_hand() -> None:
    """As above without what comes through the step: -(c'·2, c', h', 1)."""
    np.testing.assert_allclose(one_unit("head", first_order=True), [-1, -1 / 2, -2, -1])


def test_the_bodys_step_by_hand() -> None:
    """a' = a - 2α e c x = 1/2 and b' = b - 2α e c = -1/2; the head stays.

    On the query h' = 2a' + b' = 1/2, f' = ch' + d = 1/2: the slope is -1 again.
    ∂a'/∂(a, b, c, d) = (1/2, -1/2, -(e + ch)/2 = -1, -1/2), for e = c(a + b) + d, and
    ∂b'/∂(a, b, c, d) = (-1/2, 1/2, -1, -1/2), so ∂h' = (1/2, -1/2, -3, -3/2).
    ∂f' = c∂h' + (0, 0, h', 1) = (1/2, -1/2, -5/2, -1/2). All times -1.
    """
    np.testing.assert_allclose(one_unit("body", first_order=False), [-1 / 2, 1 / 2, 5 / 2, 1 / 2])


def test_the_bodys_first_order_step_by_hand() -> None:
    """As above with ∂(a', b') = (1, 1) by themselves alone: -(2, 1, h', 1)."""
    np.testing.assert_allclose(one_unit("body", first_order=True), [-2, -1, -1 / 2, -1])


@pytest.mark.parametrize("adapts", PARTS)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("task", [regression(), classification()], ids=["mse", "cross-entropy"])
def test_dense_layers(task: Task, steps: int, adapts: str) -> None:
    model = MLP((2,), task.outputs, (4,), "tanh")
    of = program(task, model, MAML(0.1, 1, adapts=adapts), bound=3)
    check_meta_gradient(of, point(of, settings()), settings(0.3, steps))


@pytest.mark.parametrize("adapts", PARTS)
@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_convolution_and_norm(norm: str, adapts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "relu", tf.nn.softplus)  # no kinks
    model = Conv4((6, 6, 1), 3, 2, "stride", norm)
    of = program(classification((6, 6, 1)), model, MAML(0.1, 1, adapts=adapts), bound=2)
    check_meta_gradient(of, point(of, settings()), settings(0.1, 2))


# -- what they are ---------------------------------------------------------------------------------


def test_anil_without_a_body_is_maml() -> None:
    task, numbers = regression(), settings(0.2, 3)
    anil, maml = (
        program(task, MLP((2,), 2, ()), MAML(0.1, 1, adapts=adapts), bound=3)
        for adapts in ("head", "all")
    )
    theta = point(maml, numbers)
    wanted = meta_gradient(maml, theta, numbers)
    np.testing.assert_allclose(meta_gradient(anil, theta, numbers), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("adapts", PARTS)
@pytest.mark.parametrize("model", [MLP((6, 6, 1), 3, (4,), "tanh"), Conv4((6, 6, 1), 3, 2)])
def test_the_rest_has_a_rate_of_zero(model: Model, adapts: str, first_order: bool) -> None:
    """Meta-SGD with frozen rates, α where it adapts and 0 elsewhere, is a MAML of that part."""
    task, numbers = classification((6, 6, 1)), settings(0.2, 2)
    part = program(task, model, MAML(0.1, 1, first_order, adapts=adapts), bound=2)
    frozen = MetaSGD(0.1, 1, first_order, learn_rates=False)
    rated = program(task, model, frozen, bound=2)
    theta = point(part, numbers)
    head = np.arange(len(theta)) >= sum(part.layout.sizes[: len(model.body)])
    rates = np.where(head == (adapts == "head"), 0.2, 0.0)
    found = meta_gradient(part, theta, numbers)
    wanted = meta_gradient(rated, np.append(theta, rates), numbers)[: len(theta)]
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("adapts", PARTS)
@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_only_the_part_moves(norm: str, adapts: str) -> None:
    model = Conv4((6, 6, 1), 3, 2, norm=norm)
    of = program(classification((6, 6, 1)), model, MAML(0.1, 1, adapts=adapts))
    params, episode = two_lanes(of, point(of, settings()))
    use = knobs(2, 0.1, 2)
    inner = adapted(of, params, episode.support, use)
    after = of.algorithm.weights(of.problem, inner, use)
    moved = [not np.array_equal(a, b) for a, b in zip(params, after, strict=True)]
    depth = len(model.body)
    assert moved == [(index >= depth) == (adapts == "head") for index in range(len(params))]


@pytest.mark.parametrize("adapts", PARTS)
def test_first_order_is_the_query_gradient_at_the_adapted_weights(adapts: str) -> None:
    numbers = settings(0.3, 2)
    algorithm = MAML(0.1, 1, first_order=True, adapts=adapts)
    of = program(classification(), MLP((2,), 3, (5,), "tanh"), algorithm, bound=2)
    theta = point(of, numbers)
    params, episode = two_lanes(of, theta)
    use = knobs(2, 0.3, 2)
    inner = adapted(of, params, episode.support, use)
    after = of.algorithm.weights(of.problem, inner, use)
    with tf.GradientTape() as tape:
        tape.watch(after)
        loss = tf.reduce_mean(query_loss(of, after, episode))
    wanted = [np.sum(g, axis=0).ravel() for g in tape.gradient(loss, after)]
    found = meta_gradient(of, theta, numbers)
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-10, atol=1e-14)


# -- by configuration ------------------------------------------------------------------------------


def built(option: str, model: Any) -> build.Components:
    """A trial of an option of the group `algorithm`."""
    nodes = config_tasks.Sinusoid(), model, config.GROUPS["algorithm"][option](), config.Adam()
    names = "task", "model", "algorithm", "optimizer"
    groups = {name: OmegaConf.structured(node) for name, node in zip(names, nodes, strict=True)}
    return build.components(OmegaConf.create({**groups, "training": config.Training()}))


@pytest.mark.parametrize(("option", "adapts"), [("anil", "head"), ("boil", "body")])
def test_options(option: str, adapts: str) -> None:
    algorithm = built(option, config_models.MLP()).algorithm
    assert isinstance(algorithm, MAML)
    assert (algorithm.adapts, algorithm.first_order) == (adapts, False)


@pytest.mark.parametrize("model", [config_models.MLP(widths=[]), config_models.Linear()])
def test_boil_needs_a_body(model: Any) -> None:
    with pytest.raises(InputError, match=r"algorithm\.adapts=body: the model has a head alone"):
        built("boil", model)
    built("anil", model)


def test_a_part_of_another_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"algorithm\.adapts=tail: expected one of all, head"):
        MAML(0.1, 1, adapts="tail")
