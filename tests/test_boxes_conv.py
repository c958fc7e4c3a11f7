"""The detector: what attention gives by hand, its meta-gradient, and lanes by themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenRegression,
    check_meta_gradient,
    meta_gradient,
    program,
    relative,
    run_at,
    settings,
    train,
)

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import BoxesConv, lanes
from maml_sweep.models.boxes_conv import _places
from maml_sweep.training.program import Program

SHAPE = (8, 12, 1)  # two rows and three columns of positions


def small(**changes: Any) -> BoxesConv:
    return BoxesConv(SHAPE, 4, **{"filters": 3, **changes})


def keys(count: int) -> np.ndarray:
    return np.stack([streams.key("weights", seed) for seed in range(count)])


def initial(model: BoxesConv, count: int, dtype: str = "float64") -> list[Any]:
    return model.init(tf.constant(keys(count)), tf.as_dtype(dtype))


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*shape, *SHAPE))


def boxes(tasks: int = 2) -> GivenRegression:
    """Random images and boxes: two to learn from, two to be asked."""
    rng = np.random.default_rng(1)
    support, query = (
        (images(tasks, 2, seed=seed), rng.uniform(size=(tasks, 2, 4))) for seed in (2, 3)
    )
    return GivenRegression(support, query, 4)


def test_places_by_hand() -> None:
    """Two rows in the middle of halves, three columns in the middle of thirds, row after row."""
    x, y = [1 / 6, 1 / 2, 5 / 6] * 2, [1 / 4] * 3 + [3 / 4] * 3
    wanted = np.stack([x, y, np.square(x), np.square(y)], axis=-1)
    np.testing.assert_allclose(_places(2, 3), wanted)


def test_attention_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors (1, 0, 0) at two positions, (0, 1, 0) elsewhere; a query (0.2, 0, 0), ln 2 sharp.

    e^ln 2 = 2 at the two, 1 at the other four: 2/8 each, and 1/8. The two are at (1/6, 1/4) and
    (5/6, 3/4): the mean place is (1/2, 1/2), as that of the other four, and the mean square is
    2/8 (1/36 + 25/36) + 1/8 (1/4 + 1/4 + 1/36 + 25/36) for x, (1/4)² and (3/4)² for y as often.
    """
    model = small(sharpness=math.log(2), blocks=1)
    vectors = np.zeros((1, 1, 2, 3, 3))
    vectors[..., 1] = 1
    vectors[:, :, [0, 1], [0, 2]] = [1, 0, 0]
    monkeypatch.setattr(model, "_vectors", lambda *_: (tf.constant(vectors), ()))
    query = tf.constant([[[0.2], [0.0], [0.0]]], tf.float64)
    features, _ = model.features([query], tf.zeros([1, 1, *SHAPE], tf.float64))
    square_x, square_y = 26 / 36 / 4 + (1 / 2 + 26 / 36) / 8, (1 / 16 + 9 / 16) / 2
    spread = np.sqrt(np.array([square_x, square_y]) - 1 / 4 + 1e-3)
    np.testing.assert_allclose(features[0, 0], [1 / 2, 1 / 2, *spread, 1 / 2, 1 / 2, 0], atol=1e-5)


def test_it_starts_from_the_box_around_the_attention() -> None:
    """Edges are place ∓ spread but for weights of deviation 0.01 on six numbers below one."""
    model = small()
    params, x = initial(model, 4), tf.constant(images(4, 3))
    features, _ = model.features(params[: len(model.body)], x)
    outputs, _ = model.apply(params, x)
    place, spread = features[..., :2], features[..., 2:4]
    wanted = np.concatenate([place - spread, place + spread], axis=-1)
    np.testing.assert_allclose(outputs, wanted, atol=0.1)
    assert wanted[..., 0].min() + 0.3 > 0 and wanted[..., 2].max() < 1.3


def test_a_vector_is_shorter_than_one_and_the_query_counts_by_its_direction() -> None:
    model = small()
    params, x = initial(model, 2), tf.constant(images(2, 3))
    depth = len(model.body)
    vectors, _ = model._vectors(params[:depth], 9 * x, None)
    assert np.linalg.norm(vectors, axis=-1).max() < 1
    longer = [*params[: depth - 1], 5 * params[depth - 1]]
    a, b = (model.features(some, x)[0] for some in (params[:depth], longer))
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert np.std(initial(small(filters=9), 500)[depth - 1]) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lane_is_alone(dtype: str) -> None:
    model = small(blocks=2)
    params, x = initial(model, 3, dtype), tf.constant(images(3, 4), dtype)
    together, statistics = model.apply(params, x)
    assert together.shape == (3, 4, 4) and len(statistics) == 3
    alone, _ = model.apply([value[1:2] for value in params], x[1:2])
    scale = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(together[1], alone[0], atol=scale)
    assert np.abs(together[0] - together[1]).max() > 100 * scale


def test_statistics_that_are_given_are_used() -> None:
    model = small()
    params, x = initial(model, 2), tf.constant(images(2, 4))
    whole, statistics = model.apply(params, x)
    again, _ = model.apply(params, x[:, :1], statistics)
    np.testing.assert_allclose(again, whole[:, :1], rtol=1e-9)
    assert np.abs(again - model.apply(params, x[:, :1])[0]).max() > 1e-3


@pytest.fixture(scope="module")
def two_steps() -> Program:
    """A program of few parameters."""
    return program(boxes(), small(filters=2), bound=2, eval_bound=2)


def test_meta_gradient_against_central_differences(two_steps: Program) -> None:
    check_meta_gradient(two_steps, two_steps.init(keys(1))[0], settings(0.3, 2))


@pytest.mark.usefixtures("eager")
def test_meta_gradient_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grouped convolutions and the fused norm, against patches and the written-out norm."""
    single = program(boxes(), small(), precision="float32")
    theta = single.init(keys(1))[0]
    grouped = meta_gradient(single, theta, settings(0.3, 1))
    monkeypatch.setattr(lanes, "grouped_convolution_works", lambda dtype: False)
    exact = meta_gradient(program(boxes(), small()), theta.astype(np.float64), settings(0.3, 1))
    assert relative(grouped, exact) < 1e-4


def test_a_pack_of_two_is_each_alone(two_steps: Program) -> None:
    pairs = [
        (theta, settings(rate, steps))
        for theta, rate, steps in zip(two_steps.init(keys(2)), (0.1, 0.5), (1, 2), strict=True)
    ]
    together = train(two_steps, [run_at(*pair) for pair in pairs])
    for run, pair in zip(together, pairs, strict=True):
        (alone,) = train(two_steps, [run_at(*pair)])
        np.testing.assert_allclose(run.theta, alone.theta, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [1, 8, 48, 84])
def test_it_fits_images_of_any_size(size: int) -> None:
    model = BoxesConv((size, size, 3), 4, filters=2)
    outputs, _ = model.apply(initial(model, 1), tf.zeros([1, 2, size, size, 3], tf.float64))
    assert outputs.shape == (1, 2, 4) and np.isfinite(outputs).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: small(filters=0), "model.filters=0"),
        (lambda: small(blocks=0), "model.blocks=0"),
        (lambda: small(sharpness=0), "model.sharpness=0"),
        (lambda: small(query=-1), "model.query=-1"),
        (lambda: BoxesConv((5,), 4), r"model=boxes_conv: .* shape \[5\] and 4 outputs; choose"),
        (lambda: BoxesConv(SHAPE, 5), r"model=boxes_conv: .* shape \[8, 12, 1\] and 5 outputs;"),
    ],
)
def test_bad_settings_are_named(build: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()
