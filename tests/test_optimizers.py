"""Meta-optimizers against their papers' algorithms written out, and against sums by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numerics import optimizer
from omegaconf import OmegaConf

from maml_sweep import config
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.training import optimizers
from maml_sweep.training.optimizers import Coefficients, Optimizer, State

STEPS, SIZE = 6, 5
START = np.linspace(-1, 1, SIZE)
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, SIZE))


def descend(
    chosen: Sequence[Optimizer], gradients: np.ndarray = GRADIENTS, horizon: int = STEPS
) -> np.ndarray:
    """theta after every step, each optimizer a place of one pack: [step, place, parameter]."""
    columns = {
        name: np.array([[getattr(each, name)] for each in chosen])
        for name in Coefficients._fields[:-1]
    }
    use = Coefficients(**columns, iterations=np.full((len(chosen), 1), float(horizon)))
    start = np.tile(START[: gradients.shape[1]], (len(chosen), 1))
    state, path = State(tf.constant(start), 0 * start, 0 * start), []
    for iteration, gradient in enumerate(gradients):
        age = tf.fill([len(chosen), 1], tf.constant(float(iteration), tf.float64))
        state = optimizers.update(state, tf.constant(np.tile(gradient, (len(chosen), 1))), use, age)
        path.append(state.theta.numpy())
    return np.array(path)


def adam(
    gradients: np.ndarray,
    rate: Callable[[int], float],
    b1: float = 0.9,
    b2: float = 0.999,
    epsilon: float = 1e-8,
    decay: float = 0.0,
) -> np.ndarray:
    """Kingma & Ba 2015, algorithm 1; `decay` as in Loshchilov & Hutter 2019, algorithm 2."""
    theta, m, v, path = START.copy(), np.zeros(SIZE), np.zeros(SIZE), []
    for t, g in enumerate(gradients, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        step = rate(t - 1)
        theta = theta - step * m_hat / (np.sqrt(v_hat) + epsilon) - step * decay * theta
        path.append(theta)
    return np.array(path)


def sgd(
    gradients: np.ndarray, rate: Callable[[int], float], momentum: float = 0.0, look: bool = False
) -> np.ndarray:
    """v = μv + g and θ -= β v; looking ahead θ -= β (g + μv)."""
    theta, v, path = START.copy(), np.zeros(SIZE), []
    for t, g in enumerate(gradients):
        v = momentum * v + g
        theta = theta - rate(t) * (g + momentum * v if look else v)
        path.append(theta)
    return np.array(path)


def constant(_: int) -> float:
    return 0.3


def cosine(t: int) -> float:
    return 0.3 * 0.5 * (1 + math.cos(math.pi * t / STEPS))


CASES: dict[str, tuple[Optimizer, Callable[[np.ndarray], np.ndarray]]] = {
    "adam": (optimizer("adam", meta_lr=0.3), lambda g: adam(g, constant)),
    "adam with other decays": (
        optimizer("adam", meta_lr=0.3, beta1=0.5, beta2=0.8, epsilon=0.1),
        lambda g: adam(g, constant, 0.5, 0.8, 0.1),
    ),
    "adam without decays": (
        optimizer("adam", meta_lr=0.3, beta1=0.0, beta2=0.0),
        lambda g: adam(g, constant, 0.0, 0.0),
    ),
    "adam cosine": (optimizer("adam", meta_lr=0.3, schedule="cosine"), lambda g: adam(g, cosine)),
    "adamw": (
        optimizer("adamw", meta_lr=0.3, weight_decay=0.2),
        lambda g: adam(g, constant, decay=0.2),
    ),
    "adamw cosine": (
        optimizer("adamw", meta_lr=0.3, weight_decay=0.2, schedule="cosine"),
        lambda g: adam(g, cosine, decay=0.2),
    ),
    "sgd": (optimizer("sgd", meta_lr=0.3), lambda g: sgd(g, constant)),
    "momentum": (optimizer("sgd", meta_lr=0.3, momentum=0.9), lambda g: sgd(g, constant, 0.9)),
    "nesterov": (
        optimizer("sgd", meta_lr=0.3, momentum=0.9, nesterov=True),
        lambda g: sgd(g, constant, 0.9, look=True),
    ),
    "nesterov cosine": (
        optimizer("sgd", meta_lr=0.3, momentum=0.9, nesterov=True, schedule="cosine"),
        lambda g: sgd(g, cosine, 0.9, look=True),
    ),
    "clipped": (
        optimizer("sgd", meta_lr=0.3, clip=1.5),
        lambda g: sgd(g * np.minimum(1, 1.5 / np.linalg.norm(g, axis=1))[:, None], constant),
    ),
    "adam clipped": (
        optimizer("adam", meta_lr=0.3, clip=1.5),
        lambda g: adam(g * np.minimum(1, 1.5 / np.linalg.norm(g, axis=1))[:, None], constant),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_against_its_algorithm(name: str) -> None:
    chosen, reference = CASES[name]
    np.testing.assert_allclose(descend([chosen])[:, 0], reference(GRADIENTS), rtol=1e-11)


def test_a_pack_of_different_optimizers() -> None:
    """Each place goes its own way, to the last bit."""
    together = descend([chosen for chosen, _ in CASES.values()])
    for place, (chosen, _) in enumerate(CASES.values()):
        np.testing.assert_array_equal(together[:, place], descend([chosen])[:, 0])


def test_the_clipping_cases_clip_some_gradients() -> None:
    norms = np.linalg.norm(GRADIENTS, axis=1)
    assert norms.min() < 1.5 < norms.max()


def ones(steps: int) -> np.ndarray:
    return np.ones((steps, 1))


def moved(chosen: Optimizer, gradients: np.ndarray, horizon: int = STEPS) -> list[float]:
    """How far theta has gone down after each step, by one parameter."""
    return list(START[0] - descend([chosen], gradients, horizon)[:, 0, 0])


def test_momentum_by_hand() -> None:
    """Gradient 1, β = 1, μ = ½: v = 1, 1.5, 1.75; looking ahead g + μv = 1.5, 1.75, 1.875."""
    plain = optimizer("sgd", meta_lr=1.0, momentum=0.5)
    ahead = optimizer("sgd", meta_lr=1.0, momentum=0.5, nesterov=True)
    assert moved(plain, ones(3)) == pytest.approx([1, 2.5, 4.25])
    assert moved(ahead, ones(3)) == pytest.approx([1.5, 3.25, 5.125])


def test_adam_by_hand() -> None:
    """A constant gradient g gives m̂ = g and v̂ = g² at every age: steps of βg / (|g| + ε).

    And after one 1 then one 0 with β₁ = β₂ = ½: m = ¼, m̂ = ⅓; v = ¼, v̂ = ⅓: a step of 1/√3.
    """
    chosen = optimizer("adam", meta_lr=0.1, epsilon=1.0)
    assert moved(chosen, 4 * ones(3)) == pytest.approx([0.08, 0.16, 0.24])
    chosen = optimizer("adam", meta_lr=1.0, beta1=0.5, beta2=0.5, epsilon=1e-12)
    assert moved(chosen, np.array([[1.0], [0.0]])) == pytest.approx([1, 1 + 1 / math.sqrt(3)])


def test_weight_decay_by_hand() -> None:
    """Without a gradient θ shrinks by 1 - βλ a step, Adam's moments staying out of it."""
    path = descend([optimizer("adamw", meta_lr=0.1, weight_decay=0.5)], 0 * ones(3))
    np.testing.assert_allclose(path[:, 0, 0], START[0] * 0.95 ** np.arange(1, 4), rtol=1e-12)


def test_cosine_by_hand() -> None:
    """Over four iterations the rate is β times 1, ½ + ½√½, ½, ½ - ½√½: in all 2.5 β."""
    chosen = optimizer("sgd", meta_lr=2.0, schedule="cosine")
    turn = math.sqrt(0.5)
    assert moved(chosen, ones(4), 4) == pytest.approx([2, 3 + turn, 4 + turn, 5])


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("adam", {"meta_lr": -1.0}, "optimizer.meta_lr=-1"),
        ("adam", {"meta_lr": math.inf}, "optimizer.meta_lr=inf"),
        ("adam", {"beta1": 1.0}, "optimizer.beta1=1.*below 1"),
        ("adam", {"beta2": -0.1}, "optimizer.beta2=-0.1"),
        ("adam", {"epsilon": 0.0}, "optimizer.epsilon=0"),
        ("adam", {"schedule": "linear"}, "optimizer.schedule=linear.*cosine"),
        ("adam", {"clip": 0.0}, "optimizer.clip=0"),
        ("adamw", {"weight_decay": -1.0}, "optimizer.weight_decay=-1"),
        ("sgd", {"momentum": 1.0}, "optimizer.momentum=1"),
        ("sgd", {"momentum": math.nan}, "optimizer.momentum=nan"),
    ],
)
def test_bad_settings_are_named(kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        optimizer(kind, **changes)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(InputError, match="optimizer.kind=adma.*adam, adamw, sgd"):
        optimizers.build(OmegaConf.structured(config.Adam(kind="adma")))


def stepped(kind: str, gradient: np.ndarray, masks: dict[str, Any], **changes: Any) -> np.ndarray:
    """theta after one step from START."""
    chosen = optimizer(kind, **changes)
    use = Coefficients(
        **{name: np.array([[getattr(chosen, name)]]) for name in Coefficients._fields[:-1]},
        iterations=np.ones((1, 1)),
    )
    state = State(tf.constant(START[np.newaxis]), np.zeros((1, SIZE)), np.zeros((1, SIZE)))
    age = tf.zeros([1, 1], tf.float64)
    found = optimizers.update(state, tf.constant(gradient[np.newaxis]), use, age, **masks)
    return np.array(found.theta[0])


def test_what_is_not_decayed_stays_without_a_gradient() -> None:
    """AdamW takes 0.1 * 0.5 of each decayed number, and nothing of the others."""
    decayed = np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    found = stepped("adamw", 0 * START, {"decayed": decayed}, meta_lr=0.1, weight_decay=0.5)
    np.testing.assert_allclose(found, START * (1 - 0.05 * decayed), rtol=1e-12)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_averages_move_by_their_share_alone(kind: str) -> None:
    """0.25 of the way to 10, whatever the optimizer; its clip does not see that difference."""
    shares = np.array([0.0, 0.25, 0.0, 0.0, 0.0])
    gradient = np.where(shares > 0, START - 10.0, 0.01)
    found = stepped(kind, gradient, {"shares": shares}, meta_lr=0.1, clip=1.0)
    wanted = stepped(kind, np.where(shares > 0, 0.0, 0.01), {}, meta_lr=0.1, clip=1.0)
    assert found[1] == pytest.approx(0.75 * START[1] + 2.5)
    np.testing.assert_array_equal(np.delete(found, 1), np.delete(wanted, 1))
