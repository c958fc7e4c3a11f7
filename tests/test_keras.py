"""Keras models over lanes: the same outputs as Keras's own, each lane alone, what is refused."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import keras_models
import numpy as np
import pytest
from composing import ROOT
from numerics import GivenClassification, program, relative, settings, started, train

from maml_sweep import streams
from maml_sweep.algorithms import MAML, Problem, ProtoNet
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import Keras
from maml_sweep.models.base import draw
from maml_sweep.training.layout import Layout

SHAPES: dict[str, tuple[int, ...]] = {
    "mlp": (2, 3),
    "conv4": (9, 7, 2),
    "own_layer": (3,),
    "lstm": (3, 2),
    "attention": (3, 4),
    "graph": (3,),
    "pictures": (6, 5, 2),
    "words": (4,),
    "headless": (3,),
    "normed": (3,),
    "starts": (30,),
}
CONV4 = {"filters": 3}


@cache
def model_of(name: str, outputs: int = 2, **arguments: Any) -> Keras:
    """Built once for all tests."""
    given = {"categories": (5,)} if name == "words" else {}
    target = f"keras_models.{name}"
    return Keras(SHAPES.get(name, (3,)), outputs, target, arguments, **given)


def drawn(model: Keras, lanes: int, dtype: Any = None) -> list[Any]:
    """First weights, then moved a little so that no bias is zero."""
    keys = np.stack([streams.key("weights", lane) for lane in range(lanes)])
    first = model.init(tf.constant(keys), dtype or tf.float64)
    return [value + 0.1 * tf.sin(tf.cumsum(tf.ones_like(value))) for value in first]


def examples(model: Keras, lanes: int, count: int = 4, dtype: Any = None) -> Any:
    shape = (lanes, count, *model.input_shape)
    rng = np.random.default_rng(7)
    x = rng.integers(0, 5, shape) if model.categories else rng.normal(size=shape)
    return tf.constant(x, dtype or tf.float64)


def by_keras(model: Keras, weights: list[Any], x: Any, training: bool) -> Any:
    """The user's own model, with the weights of one lane put into it in their order."""
    build = getattr(keras_models, model.target.partition(".")[2])
    extra = {"categories": model.categories} if model.categories else {}
    own = build(model.input_shape, model.outputs, **model.arguments, **extra)
    own.build((None, *model.input_shape))
    for variable, value in zip(own.trainable_variables, weights, strict=True):
        variable.assign(value)
    return own(x, training=training)


CASES = [
    ("mlp", {}, False),
    ("conv4", CONV4, True),
    ("lstm", {}, False),
    ("attention", {}, False),
    ("graph", {}, False),
    ("words", {}, False),
    ("words", {"mask": True}, False),
    ("headless", {}, False),
]


@pytest.mark.parametrize(("name", "arguments", "training"), CASES)
def test_outputs_are_those_of_keras(name: str, arguments: dict[str, Any], training: bool) -> None:
    """In float32, of three lanes with weights of their own; dropout is off, norms in training."""
    model = model_of(name, **arguments)
    weights, x = drawn(model, 3, tf.float32), examples(model, 3, dtype=tf.float32)
    found, _ = model.apply(weights, x)
    assert found.shape == (3, 4, 2)
    for lane in range(3):
        wanted = by_keras(model, [value[lane] for value in weights], x[lane], training)
        np.testing.assert_allclose(found[lane], wanted, rtol=1e-5, atol=1e-6)


def test_a_lane_is_alone() -> None:
    """A lane's outputs are those it has by itself, in float64."""
    model = model_of("pictures")
    weights, x = drawn(model, 2), examples(model, 2)
    together, _ = model.apply(weights, x)
    alone, _ = model.apply([value[1:] for value in weights], x[1:])
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-10)
    assert relative(together[0], together[1]) > 1e-2


def test_ways() -> None:
    """Which layers of `pictures` run over lanes, in one batch, in either layout, lane by lane."""
    net = model_of("pictures")._net(tf.float32)
    ways = {"mixed_way": "channels", "folded_way": "batch", "lane_way": "alone"}
    found = [ways.get(way.__qualname__.partition(".")[0], "lanes") for way in net.ways]
    named = [
        (type(call.operation).__name__, way)
        for call, way in zip(net.graph.calls, found, strict=True)
    ]
    assert named == [
        ("ZeroPadding2D", "channels"),
        ("Conv2D", "lanes"),
        ("GroupNormalization", "lanes"),
        ("SpatialDropout2D", "channels"),
        ("Conv2D", "alone"),  # of two groups
        ("Concatenate", "batch"),
        ("PReLU", "alone"),
        ("AveragePooling2D", "channels"),
        ("SeparableConv2D", "alone"),
        ("Dense", "lanes"),
        ("Multiply", "channels"),
        ("Conv2D", "batch"),  # frozen
        ("BatchNormalization", "lanes"),
        ("GlobalMaxPooling2D", "channels"),
    ]


def test_parameters_in_the_order_of_the_model() -> None:
    """Named as in a fresh process, however many models were built before; the head is last."""
    model = model_of("conv4", **CONV4)
    names = [parameter.name for parameter in model.parameters]
    assert names[:4] == [
        "conv2d/kernel",
        "batch_normalization/gamma",
        "batch_normalization/beta",
        "conv2d_1/kernel",
    ]
    assert [parameter.name for parameter in model.head] == ["dense/kernel", "dense/bias"]
    assert [parameter.name for parameter in model.body] == names[:-2]
    assert [parameter.role for parameter in model.parameters][:3] == ["weight", "norm", "norm"]
    assert model.width == 3 and model.known


def test_laws_of_first_weights() -> None:
    """He: √(2/30) truncated; seeded weights and constants the same in every trial."""
    model = model_of("starts", outputs=7)
    laws = {each.name: each.law for each in model.parameters if each.deviation}
    assert laws == {
        "dense/kernel": "truncated_normal",
        "dense_1/kernel": "normal",
        "dense_2/kernel": "uniform",
        "dense_3/kernel": "orthogonal",
        "own/kernel": "truncated_normal",
    }
    names = [parameter.name for parameter in model.parameters]
    values = dict(zip(names, model.init(_keys(50), tf.float64), strict=True))
    for name, mean, deviation in (
        ("dense/kernel", 0.0, np.sqrt(2 / 30)),
        ("dense_1/kernel", 0.5, 0.1),
        ("dense_2/kernel", 0.1, 0.2 / np.sqrt(12)),
        ("own/kernel", 0.3, 0.2),
    ):
        assert np.mean(values[name]) == pytest.approx(mean, abs=0.02)
        assert np.std(values[name]) == pytest.approx(deviation, rel=0.06)
    square = values["dense_3/kernel"][0]  # 40 rows, 20 columns, gain 2
    np.testing.assert_allclose(tf.transpose(square) @ square, 4 * np.eye(20), atol=1e-9)
    np.testing.assert_array_equal(values["dense/bias"], 1.0)
    np.testing.assert_array_equal(values["dense_4/kernel"][0], values["dense_4/kernel"][1])


def _keys(count: int) -> Any:
    return tf.constant(np.stack([streams.key("start", seed) for seed in range(count)]))


def test_statistics_of_batch_norms_are_told_and_taken() -> None:
    model = model_of("conv4", **CONV4)
    weights, x = drawn(model, 2), examples(model, 2, 6)
    outputs, statistics = model.apply(weights, x)
    assert [mean.shape for mean, _ in statistics] == [(2, 3)] * 4
    again, _ = model.apply(weights, x[:, :2], statistics)
    np.testing.assert_allclose(again, outputs[:, :2], rtol=1e-9)
    fresh, _ = model.apply(weights, x[:, :2])
    assert relative(fresh, again) > 1e-2


@pytest.mark.usefixtures("eager")
def test_trained_weights_go_back_into_the_model() -> None:
    """Two iterations; the parameters by name, in their order, into the user's own model."""
    model = model_of("normed", norm="batch")
    task = episodes(model)
    learnt = program(task, model, precision="float32")
    numbers = settings(0.01, 1, kind="adam", meta_lr=0.01, rungs=(2,))
    (run,) = train(learnt, [started(learnt, numbers)], 2)
    arrays = learnt.layout.named(run.theta)
    assert list(arrays) == [parameter.name for parameter in model.parameters]
    x = tf.constant(task.arrays[0][:1], tf.float32)
    found, _ = model.apply([value[np.newaxis] for value in arrays.values()], x)
    wanted = by_keras(model, list(arrays.values()), x[0], training=True)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-5)


def episodes(model: Keras, tasks: int = 2, count: int = 4) -> GivenClassification:
    """The same few tasks again and again, their labels by turns."""
    rng = np.random.default_rng(3)
    shape = (tasks, count, *model.input_shape)
    y = np.tile(np.arange(count) % model.outputs, (tasks, 1))
    examples = rng.normal(size=shape) + y.reshape(*y.shape, *[1] * (len(shape) - 2)), y
    return GivenClassification(examples, examples, model.outputs)


# -- what a model cannot be asked ------------------------------------------------------------------


def test_a_model_without_a_head() -> None:
    model = model_of("headless")
    assert len(model.parameters) == 2
    problem = Problem(model, episodes(model).loss, "classification")
    message = "does not end in a linear Dense layer.*such as maml"
    for algorithm in (ProtoNet(), MAML(0.1, 1, adapts="body")):
        with pytest.raises(InputError, match=message):
            algorithm.check(problem)
    for ask in (lambda: model.width, lambda: model.features(drawn(model, 1), examples(model, 1))):
        with pytest.raises(InputError, match=message):
            ask()


def test_protonet_wants_a_bias() -> None:
    """It is put off until the model is known."""
    model = Keras((3,), 2, "keras_models.graph")
    problem = Problem(model, episodes(model).loss, "classification")
    assert not model.known
    ProtoNet().check(problem)
    model.load()
    with pytest.raises(InputError, match="bias in its last layer"):
        ProtoNet().check(problem)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "expected it to return a Keras model, but got dict"),
        ("raising", r"it raised KeyError: 'width' \(keras_models.py:\d+\)"),
        ("subclassed", "Own is no functional or Sequential model; return keras.Model"),
        ("two_inputs", "expected one input and one output, but the model has 2 and 1"),
        ("softmax", "ends in a softmax"),
        (
            "mixed",
            "layer dense works in float16 .policy mixed_float16., but .*precision is float32",
        ),
        ("idle", "weight idle/unused has no say in the output"),
        ("noisy", "layer noise draws random numbers"),
        ("NUMBER", "expected a function that builds a Keras model, but it is a int"),
    ],
)
def test_refused_models(name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^model.target=keras_models.{name}: .*{message}") as told:
        model_of(name).load()
    assert "\n" not in str(told.value)


def test_refused_shapes_and_types() -> None:
    with pytest.raises(InputError, match=r"outputs of shape \[3\] .* the model's are \[None, 2\]"):
        Keras((3,), 3, "keras_models.graph", {"outputs": 2}).load()
    with pytest.raises(InputError, match="it raised TypeError: .*argument 'wide'"):
        Keras((3,), 3, "keras_models.mlp", {"wide": 2}).load()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("", "model.target=: expected the name of a function"),
        ("build", "model.target=build: expected the name of a function"),
        ("no_such.build", "there is no module no_such where Python looks"),
        ("keras_models.none", "keras_models.py has no none$"),
    ],
)
def test_targets_are_looked_for_at_once(target: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Keras((3,), 2, target)


def test_a_constructor_imports_nothing() -> None:
    program = (
        "import sys; from maml_sweep.models import Keras; Keras((3,), 2, 'keras_models.mlp');"
        "sys.exit(bool({'tensorflow', 'keras', 'keras_models'} & set(sys.modules)))"
    )
    path = {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    assert subprocess.run([sys.executable, "-c", program], env=path, check=False).returncode == 0


def test_first_weights_may_be_arrays() -> None:
    """The mean of a parameter with an array is that array, whatever the key."""
    model = model_of("lstm")
    bias = next(each for each in model.parameters if each.name == "lstm/lstm_cell/bias")
    np.testing.assert_array_equal(bias.mean, [0, 0, 1, 1, 0, 0, 0, 0])  # forget gates open
    (value,) = draw([bias], _keys(2), tf.float32)
    np.testing.assert_array_equal(value, [bias.mean] * 2)
    assert Layout(model.parameters).size == 2 * 8 + 2 * 8 + 8 + 2 * 2 + 2
