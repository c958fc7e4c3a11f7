"""Meta-SGD: a step by hand, what it is when its rates are frozen, and differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fewshot import classification, given, named_gradient, point, regression
from numerics import check_meta_gradient, meta_gradient, program, settings, started, train

from maml_sweep.algorithms import MAML, MetaSGD
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, Linear, gradients
from maml_sweep.tasks import Task

pytestmark = pytest.mark.usefixtures("eager")


def quadratic(*, first_order: bool) -> dict[str, np.ndarray]:
    """The case that `test_two_steps_by_hand` derives: gradients and the loss, by name."""
    task = given(([[1, 0], [1, 1]], [1, 0]), ([[1, 0], [0, 1]], [0, 0]))
    of = program(task, Linear((2,), 1), MetaSGD(0.1, 2, first_order), bound=2)
    return named_gradient(of, np.array([1, 1, 1 / 2, 1 / 4]), settings(0.1, 2, batch=1))


def test_two_steps_by_hand() -> None:
    """Support X = [[1, 0], [1, 1]], y = (1, 0): L(w) = |Xw - y|²/2, H = XᵀX = [[2, 1], [1, 1]].

    ∇L(w) = Hw - Xᵀy = Hw - (1, 0). Query X = I, y = 0: ∇L_query(w) = w.
    w₀ = (1, 1), rates r = (1/2, 1/4), D = diag r:
    g₀ = (2, 2), w₁ = (1 - 1, 1 - 1/2) = (0, 1/2);
    g₁ = (-1/2, 1/2), w₂ = (0 + 1/4, 1/2 - 1/8) = (1/4, 3/8) = ∇L_query(w₂) =: v.
    ∂wₖ₊₁/∂wₖ = J = I - DH = [[0, -1/2], [-1/4, 3/4]], Jᵀv = (-3/32, 5/32).
    The weights' gradient is JᵀJᵀv = (-5/128, 3/64 + 15/128) = (-5/128, 21/128).
    The rates' is -g₁ ∘ v - g₀ ∘ Jᵀv = (1/8, -3/16) + (3/16, -5/16) = (5/16, -1/2).
    """
    found = quadratic(first_order=False)
    np.testing.assert_allclose(found["output/weight"].ravel(), [-5 / 128, 21 / 128], rtol=1e-12)
    np.testing.assert_allclose(found["rate/output/weight"].ravel(), [5 / 16, -1 / 2], rtol=1e-12)


def test_two_first_order_steps_by_hand() -> None:
    """As above with J = I: (1/4, 3/8), and -(g₁ + g₀) ∘ v = -(3/2, 5/2) ∘ (1/4, 3/8)."""
    found = quadratic(first_order=True)
    np.testing.assert_allclose(found["output/weight"].ravel(), [1 / 4, 3 / 8], rtol=1e-12)
    np.testing.assert_allclose(found["rate/output/weight"].ravel(), [-3 / 8, -15 / 16], rtol=1e-12)


@pytest.mark.parametrize("first_order", [False, True])
def test_frozen_rates_of_alpha_are_maml(first_order: bool) -> None:
    task, model = classification(), MLP((2,), 3, (5,), "tanh")
    numbers = settings(0.3, 3)
    of = program(task, model, MetaSGD(0.1, 1, first_order, learn_rates=False), bound=3)
    plain = program(task, model, MAML(0.1, 1, first_order), bound=3)
    theta = point(plain, numbers)
    found = meta_gradient(of, np.append(theta, np.full(len(theta), 0.3)), numbers)
    weights, rates = np.split(found, 2)
    np.testing.assert_allclose(weights, meta_gradient(plain, theta, numbers), rtol=0, atol=1e-12)
    assert not rates.any()


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("task", [regression(), classification()], ids=["mse", "cross-entropy"])
def test_dense_layers(task: Task, steps: int) -> None:
    numbers = settings(0.2, steps)
    of = program(task, MLP((2,), task.outputs, (4,), "tanh"), MetaSGD(0.1, 1), bound=3)
    check_meta_gradient(of, point(of, numbers), numbers)


@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_convolution_and_norm(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "relu", tf.nn.softplus)  # no kinks
    numbers = settings(0.1, 2)
    model = Conv4((6, 6, 1), 3, 2, "stride", norm)
    of = program(classification((6, 6, 1)), model, MetaSGD(0.1, 1), bound=2)
    check_meta_gradient(of, point(of, numbers), numbers)


def test_rates_start_at_the_trials_own_and_have_slashes() -> None:
    of = program(regression(), MLP((2,), 2, (3,)), MetaSGD(0.1, 1))
    arrays = of.layout.named(started(of, settings(0.25)).theta)
    rates = {name: array for name, array in arrays.items() if name.startswith("rate/")}
    assert list(rates) == [f"rate/{parameter.name}" for parameter in of.problem.model.parameters]
    for name, rate in rates.items():
        np.testing.assert_array_equal(rate, np.full_like(arrays[name.removeprefix("rate/")], 0.25))


def test_weight_decay_leaves_rates_alone() -> None:
    """AdamW with frozen rates moves the weights alone."""
    of = program(regression(), MLP((2,), 2, (3,)), MetaSGD(0.1, 1, learn_rates=False))
    run = started(of, settings(0.25, kind="adamw", weight_decay=0.1))
    before = of.layout.named(run.theta.copy())
    train(of, [run], 2)
    for name, array in of.layout.named(run.theta).items():
        assert np.array_equal(array, before[name]) == name.startswith("rate/")


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"inner_lr": -1.0}, "algorithm.inner_lr=-1"),
        ({"inner_lr": math.inf}, "algorithm.inner_lr=inf"),
        ({"inner_steps": 0}, "algorithm.inner_steps=0"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], setting: str) -> None:
    with pytest.raises(InputError, match=setting):
        MetaSGD(**({"inner_lr": 0.1, "inner_steps": 1} | arguments))
