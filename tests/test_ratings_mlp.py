"""The network of ratings: its columns, its derivatives, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenRegression,
    check_meta_gradient,
    program,
    relative,
    run_at,
    settings,
    train,
)
from test_models import initial, normal

from maml_sweep.algorithms import MAML
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import RatingsMLP
from maml_sweep.tasks import Ratings

COLUMNS = (4, 0, 3)  # an item, a real number, a user's group


UNFIT = (
    "model=ratings_mlp: expected columns with a number of categories each, but the task's examples "
    "have shape [3] and categories {}; choose task=ratings, or model=mlp"
)


def model(**changes: Any) -> RatingsMLP:
    settings: dict[str, Any] = {"width": 2, "widths": (3,)} | changes
    return RatingsMLP((3,), 1, COLUMNS, **settings)


def x(lanes: int, examples: int = 5) -> np.ndarray:
    rng = np.random.default_rng(1)
    shape = (lanes, examples)
    columns = (rng.integers(0, 4, shape), rng.normal(size=shape), rng.integers(0, 3, shape))
    return np.stack(columns, axis=2)


def test_a_rating_by_hand() -> None:
    """Item 1 is (1, 2), group 0 is (-1, 3), the number 0.5 comes last: (1, 2, -1, 3, 0.5).

    One hidden unit of weights (1, 0, 1, 1, 2) and bias -1 is 1 - 1 + 3 + 1 - 1 = 3. The output's
    weights (1, 1, 1, 1, 2) on the inputs and 0.5 on the hidden unit give 5 + 1 + 1.5, and its bias
    -3: 4.5. Of item 0, (0, -2), and the number -2 the hidden unit is 0 - 1 + 3 - 4 - 1 < 0, which
    counts nothing, and the rest is 0 - 2 - 1 + 3 - 4 - 3 = -7.
    """
    network = RatingsMLP((3,), 1, (2, 0, 1), width=2, widths=(1,))
    tables = [[[0, -2], [1, 2]]], [[[-1, 3]]]
    hidden = [[[1], [0], [1], [1], [2]]], [[-1]]
    output = [[[1], [1], [1], [1], [2], [0.5]]], [[-3]]
    params = [tf.constant(value, tf.float64) for value in (*tables, *hidden, *output)]
    asked = tf.constant([[[1, 0.5, 0], [0, -2, 0]]], tf.float64)
    outputs, _ = network.apply(params, asked)
    np.testing.assert_allclose(outputs, [[[4.5], [-7.0]]])


@pytest.mark.parametrize(
    ("shortcut", "widths", "width"), [(True, (3,), 8), (False, (3,), 3), (True, (), 5)]
)
def test_what_the_output_layer_reads(shortcut: bool, widths: Any, width: int) -> None:
    """Two embeddings of 2 and a number are 5 inputs; without hidden layers there are only they."""
    network = model(shortcut=shortcut, widths=widths)
    params = initial(network, 2)
    features, statistics = network.features(params[: len(network.body)], tf.constant(x(2)))
    assert network.width == width and features.shape == (2, 5, width) and statistics == ()
    wanted = features.numpy() @ params[-2].numpy() + params[-1].numpy()[:, np.newaxis]
    np.testing.assert_allclose(network.apply(params, tf.constant(x(2)))[0], wanted, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lane_is_alone(dtype: str) -> None:
    params = initial(model(), 3, tf.as_dtype(dtype))
    asked = tf.constant(x(3), dtype)
    together, _ = model().apply(params, asked)
    alone, _ = model().apply([value[1:2] for value in params], asked[1:2])
    np.testing.assert_allclose(together[1], alone[0], atol=1e-12 if dtype == "float64" else 1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_what_it_starts_from() -> None:
    """Rows of a length of about one, Glorot's weights, and ratings around the offset."""
    network = RatingsMLP((1,), 1, (400,), width=16, offset=2.0)
    table, *_, weight, bias = initial(network, 20)
    assert table.shape == (20, 400, 16)
    assert np.mean(np.sum(table.numpy() ** 2, axis=2)) == pytest.approx(1, rel=0.02)
    assert np.std(weight) == pytest.approx(np.sqrt(2 / (16 + 32 + 1)), rel=0.1)
    np.testing.assert_array_equal(bias, np.full((20, 1), 2.0))
    names = [parameter.name for parameter in network.parameters]
    assert names[0] == "column0/embedding" and len(set(names)) == len(names) == 5


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("adapts", ["all", "head"])
@pytest.mark.parametrize("steps", [1, 3])
def test_meta_gradient(adapts: str, steps: int) -> None:
    """Against central differences, through rows that several examples share."""
    support, query = ((x(2, count), 3.5 + normal(2, count, 1, seed=count)) for count in (4, 3))
    algorithm = MAML(0.1, 1, adapts=adapts)
    of = program(GivenRegression(support, query), model(activation="tanh"), algorithm, bound=steps)
    theta = of.init(np.array([[1, 2]], np.uint32))[0]
    check_meta_gradient(of, theta, settings(0.1, steps))


@pytest.mark.usefixtures("eager")
def test_a_pack_of_two_is_each_alone() -> None:
    of = program(Ratings(3, 2, items=8), RatingsMLP((1,), 1, (8,), 3, (4,)), bound=2)
    theta = of.init(np.array([[1, 2], [3, 4]], np.uint32))
    numbers = [settings(0.1, 2, kind="adam", meta_lr=0.01), settings(0.2, 1, meta_lr=0.02)]
    pairs = list(zip(theta, numbers, (5, 6), strict=True))
    together = train(of, [run_at(*each) for each in pairs], 5)
    for each, run in zip(pairs, together, strict=True):
        (alone,) = train(of, [run_at(*each)], 5)
        assert relative(run.theta, alone.theta) < 1e-10


def test_an_item_that_nobody_rates_stays_where_it_was() -> None:
    """Only rows that examples look up have a gradient."""
    network = model()
    params = initial(network, 1)
    asked = x(1)
    asked[..., 0] = np.minimum(asked[..., 0], 2)  # never item 3
    with tf.GradientTape() as tape:
        tape.watch(params)
        loss = tf.reduce_sum(network.apply(params, tf.constant(asked))[0])
    table = tf.convert_to_tensor(tape.gradient(loss, params[0])).numpy()[0]
    assert not table[3].any() and table[:3].any(axis=1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": ()}, UNFIT.format([])),
        ({"categories": (7,)}, UNFIT.format([7])),
        ({"width": 0}, "model.width=0: expected an integer of at least 1"),
        ({"widths": (4, 0)}, "model.widths=0: expected an integer of at least 1"),
        ({"offset": float("nan")}, "model.offset=nan: expected a finite number"),
    ],
)
def test_bad_settings_are_named(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"input_shape": (3,), "outputs": 1, "categories": COLUMNS} | change
    with pytest.raises(InputError) as raised:
        RatingsMLP(**settings)
    assert str(raised.value) == message


def test_activations_are_named() -> None:
    with pytest.raises(InputError, match="model.activation=swich: expected one of relu"):
        model(activation="swich")
