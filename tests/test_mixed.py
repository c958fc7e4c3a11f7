"""Mixed precision: products in bfloat16, everything else in float32."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from family import CASES, config_of
from numerics import Patterns, meta_gradient, program, relative, settings, started

from maml_sweep import build
from maml_sweep.algorithms import MAML
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, Keras, Model, Traced, lanes
from maml_sweep.models.lanes import Tracing
from maml_sweep.tasks import Sinusoid, Task
from maml_sweep.training.settings import PRECISIONS

HALF = 2.0**-9  # the most that rounding to bfloat16's 8 bits changes a number by, relatively
BFLOAT16 = Tracing(products="bfloat16")
BETWEEN = 1 + HALF  # rounds to 1, the even one of its neighbours


@pytest.fixture
def float16(monkeypatch: pytest.MonkeyPatch) -> str:
    """A precision whose products have three bits more than bfloat16's."""
    monkeypatch.setitem(PRECISIONS, "mixed_float16", ("float32", "float16"))
    return "mixed_float16"


def filled(value: float, *shape: int) -> Any:
    return tf.fill(shape, tf.constant(value, tf.float32))


# -- products ------------------------------------------------------------------------------------


def test_a_product_by_hand() -> None:
    """(1 + 2⁻⁹) · 1: both are rounded to 1; the bias is added in float32."""
    x, weight, bias = filled(BETWEEN, 1, 1, 1), filled(1.0, 1, 1, 1), filled(2.0**-12, 1, 1)
    with lanes.traced_for(BFLOAT16):
        rounded = lanes.dense(x, weight, bias)
    assert rounded.dtype == tf.float32
    assert float(rounded[0, 0, 0]) == 1 + 2.0**-12
    assert float(lanes.dense(x, weight, bias)[0, 0, 0]) == BETWEEN + 2.0**-12


def test_the_type_is_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), lanes.traced_for(BFLOAT16):
        raise ZeroDivisionError
    assert float(lanes.dense(filled(BETWEEN, 1, 1, 1), filled(1.0, 1, 1, 1))[0, 0, 0]) == BETWEEN


@pytest.fixture(params=["grouped", "patches"])
def _convolutions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one grouped convolution where this machine can, and as it is where it cannot."""
    if request.param == "patches":
        monkeypatch.setattr(lanes, "_half_groups_work", lambda: False)


@pytest.mark.usefixtures("_convolutions")
def test_a_convolution_by_hand() -> None:
    """Nine pixels of 1 + 2⁻⁹ under a kernel of ones: 9, where float32 has 9 + 9 · 2⁻⁹."""
    x, kernel = filled(BETWEEN, 1, 3, 3, 2), filled(1.0, 2, 3, 3, 1, 1)
    with lanes.traced_for(BFLOAT16):
        rounded = lanes.convolution(x, kernel, 1, "VALID")
    assert rounded.dtype == tf.float32
    np.testing.assert_array_equal(rounded, np.full((1, 1, 1, 2), 9.0))
    exact = lanes.convolution(x, kernel, 1, "VALID")
    np.testing.assert_allclose(exact, np.full((1, 1, 1, 2), 9 * BETWEEN), rtol=1e-6)


def test_machines_without_grouped_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes._half_groups_work.cache_clear()

    def missing(*given: Any, **options: Any) -> Any:
        raise tf.errors.UnimplementedError(None, None, "grouped convolution")

    monkeypatch.setattr(tf.nn, "conv2d", missing)
    assert not lanes.grouped_convolution_works(tf.bfloat16)
    lanes._half_groups_work.cache_clear()
    monkeypatch.undo()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert not lanes.grouped_convolution_works(tf.bfloat16)
    assert not lanes.grouped_convolution_works(tf.float32)


# -- meta-gradients of the second order ------------------------------------------------------------


def gradients(task: Task, model: Model, rate: float, *precisions: str) -> Iterator[Any]:
    """The meta-gradient of one inner step in each precision, all at the same parameters."""
    numbers = settings(rate, batch=8)
    theta = started(program(task, model, precision="float32"), numbers).theta
    for precision in precisions:
        of = program(task, model, MAML(rate, 1), precision=precision)
        assert of.dtype == tf.float32
        assert of.init(np.ones((1, 2), np.uint32)).dtype == np.float32
        yield meta_gradient(of, theta, numbers)


@pytest.mark.usefixtures("eager")
def test_an_mlp_is_right_to_eight_bits(float16: str) -> None:
    """18 products lie behind one another: three layers, forward and back, thrice.

    (Support, query, and the derivative of the support's gradient.) Each rounds two factors and its
    result by up to 2⁻⁹, so 18 · 3 · 2⁻⁹ = 0.11 bounds the sum; at random they make √54 · 2⁻⁹. Types
    of three bits more are eight times as exact.
    """
    model = MLP((1,), 1, (40, 40), "tanh")
    precisions = ("float32", "mixed_bfloat16", float16)
    exact, mixed, finer = gradients(Sinusoid(10, 10), model, 0.01, *precisions)
    assert HALF / 4 < relative(mixed, exact) < 54 * HALF
    assert relative(finer, exact) < relative(mixed, exact) / 3


@pytest.mark.usefixtures("eager")
def test_a_convolutional_network_points_the_same_way(float16: str) -> None:
    """Its norms divide by small variances, which makes more of a rounding than an MLP does.

    So there is no bound by counting: the direction agrees, and three more bits bring it closer.
    """
    model = Conv4((6, 6, 1), 3, 8)
    precisions = ("float32", "mixed_bfloat16", float16)
    exact, mixed, finer = gradients(Patterns(3, 4), model, 0.01, *precisions)
    assert np.isfinite(mixed).all()
    cosine = mixed @ exact / np.linalg.norm(mixed) / np.linalg.norm(exact)
    assert cosine > 0.8
    assert relative(finer, exact) < relative(mixed, exact) / 2


def test_a_keras_model_takes_part() -> None:
    """Its Dense layers are ours over lanes, so their products are rounded, too."""
    model = Keras((3,), 2, "keras_models.mlp")
    assert not model.known
    mixed = Traced(model, BFLOAT16)
    mixed.load()
    assert mixed.known
    assert [p.name for p in mixed.parameters] == [p.name for p in model.parameters]
    keys = tf.constant([[1, 2]], tf.uint32)
    params, x = mixed.init(keys, tf.float32), tf.constant([[[0.3, -0.2, 0.7]]])
    exact, rounded = (np.asarray(each.apply(params, x)[0]) for each in (model, mixed))
    assert 0 < relative(rounded, exact) < 6 * HALF


# -- the setting -----------------------------------------------------------------------------------


def test_precisions_share_no_pack() -> None:
    found = []
    for precision in PRECISIONS:
        composed = config_of(CASES[0])
        composed.training.precision = precision
        found.append(build.structure(build.components(composed), composed, 1))
    assert len(set(found)) == 3


def test_other_precisions_are_refused() -> None:
    composed = config_of(CASES[0])
    composed.training.precision = "bfloat16"
    with pytest.raises(InputError) as caught:
        build.components(composed)
    assert str(caught.value) == (
        "training.precision=bfloat16: expected one of float32, float64, mixed_bfloat16"
    )
