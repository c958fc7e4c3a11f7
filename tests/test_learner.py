"""Saved weights in use: adaptation by hand, Keras's layouts, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from composing import ROOT

import maml_sweep
from maml_sweep import config, streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.learner import Learner
from maml_sweep.models import MLP, Conv4, Parameter
from maml_sweep.models.base import Model
from maml_sweep.tasks import Task
from maml_sweep.training import given, weights
from maml_sweep.training.layout import Layout
from maml_sweep.training.weights import Meta

SINUSOID = {"_target_": "maml_sweep.tasks.Sinusoid", "shots": 5, "queries": 7}
GLYPHS = {"_target_": "maml_sweep.tasks.Glyphs", "ways": 3, "shots": 1, "queries": 2}
LINE = {"_target_": "maml_sweep.models.MLP", "widths": []}
SMALL = {"_target_": "maml_sweep.models.MLP", "widths": [6, 4], "activation": "tanh"}
CONV = {"_target_": "maml_sweep.models.Conv4", "filters": 3}


def meta(task: dict[str, Any], model: dict[str, Any], steps: int = 1, **training: Any) -> Meta:
    """What the file of a winner would say, its inner rate 0.1."""
    numbers = {name: getattr(config.Training(), name) for name in config.Training.__annotations__}
    parts = {
        "task": task,
        "model": model,
        "algorithm": {
            "_target_": "maml_sweep.algorithms.MAML",
            "inner_lr": 0.1,
            "inner_steps": steps,
        },
        "optimizer": vars(config.Adam()),
        "training": numbers | training,
    }
    test = {"seed": 0, "tasks": 40, "steps": steps, "mean": 1.0}
    return Meta("s", 3, 0, 5, 100, "mse", "minimize", parts, test)


def initial(model: Model, dtype: str = "float32") -> dict[str, np.ndarray]:
    """A model's first weights, from seed 5; biases and offsets are not left at zero."""
    layout = Layout(model.parameters)
    theta = np.array(layout.join(model.init(streams.key("weights", 5)[np.newaxis], dtype))[0])
    return layout.named(theta + 0.01 * np.arange(len(theta), dtype=dtype) / len(theta))


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """y = 1 x + 0."""
    arrays = {"output/weight": np.ones((1, 1)), "output/bias": np.zeros(1)}
    path = tmp_path / "3-0.npz"
    weights.write(path, arrays, meta(SINUSOID, LINE, precision="float64"))
    return path


@pytest.fixture(scope="module")
def sines() -> Learner:
    """A small network on sine waves, three steps."""
    return Learner(initial(MLP((1,), 1, (6, 4))), meta(SINUSOID, SMALL, steps=3))


@pytest.fixture(scope="module")
def letters() -> Learner:
    """A small convolutional network on glyphs, one step."""
    return Learner(initial(Conv4((28, 28, 1), 3, 3)), meta(GLYPHS, CONV))


# -- adaptation -------------------------------------------------------------------------------


def test_two_steps_by_hand(line: Path) -> None:
    """The loss is the mean of (w x + b - y)² with y = 0, the rate 0.1.

    From w = 1, b = 0 at x = 1, 2 the residuals are 1, 2: ∂w = (2·1·1 + 2·2·2) / 2 = 5 and
    ∂b = (2·1 + 2·2) / 2 = 3, so w = 0.5, b = -0.3. There they are 0.2, 0.7: ∂w = 1.6, ∂b = 0.9,
    so w = 0.34, b = -0.39.
    """
    learner = maml_sweep.load(line)
    x, y, query = [[1], [2]], [[0], [0]], [[2.0], [-1.0]]
    np.testing.assert_allclose(learner.adapt(x, y, steps=0)(query), [[2.0], [-1.0]])
    predict = learner.adapt(x, y)
    np.testing.assert_allclose(predict.weights["output/weight"], [[0.5]])
    np.testing.assert_allclose(predict.weights["output/bias"], [-0.3])
    np.testing.assert_allclose(predict(query), [[0.7], [-0.8]])
    np.testing.assert_allclose(learner.adapt(x, y, steps=2)(query), [[0.29], [-0.73]])
    np.testing.assert_allclose(learner.weights["output/weight"], [[1.0]])  # as they were


def test_a_task_of_its_own_scores_as_in_the_evaluation(sines: Learner, letters: Learner) -> None:
    for learner in (sines, letters):
        scores = learner.evaluate("test", 12)
        assert scores.shape == (12,) and scores.std() > 0
        keys = streams.fold_in(
            np.tile(streams.key("evaluation", "test", 0), (12, 1)), np.arange(12)
        )
        support, query, _ = learner.task.episodes("test", tf.constant(keys), tf.float32)
        for task in range(12):
            predict = learner.adapt(support.x[task], support.y[task])
            outputs = predict(query.x[task])[np.newaxis]
            score = learner.task.score(tf.constant(outputs), query.y[task][np.newaxis])
            np.testing.assert_allclose(scores[task], score[0], rtol=1e-5)


def test_classes_are_the_largest_outputs(sines: Learner, letters: Learner) -> None:
    x = np.random.default_rng(0).random((6, 28, 28, 1))
    predict = letters.adapt(x[:3], [0, 1, 2])
    assert predict.classes(x).tolist() == predict(x).argmax(axis=1).tolist()
    with pytest.raises(InputError, match="classes: the task has values"):
        sines.adapt([[0.0]], [[1.0]]).classes([[0.0]])


def test_a_shape_is_traced_once(sines: Learner) -> None:
    """Eight adaptations to two sizes of support sets, and a question to each."""
    fresh = Learner(sines.weights, sines.meta)
    for steps in (0, 1, 7, None):
        for count in (2, 5):
            fresh.adapt(np.ones((count, 1)), np.ones((count, 1)), steps)(np.ones((4, 1)))
    assert fresh._adapt.experimental_get_tracing_count() == 2
    assert fresh._outputs.experimental_get_tracing_count() == 2


def test_support_statistics_make_answers_independent() -> None:
    """With the support set's statistics a query's answer does not hang on the others."""
    x = np.random.default_rng(1).random((5, 28, 28, 1))
    alone = {}
    for norm in ("support", "transductive"):
        of = Learner(initial(Conv4((28, 28, 1), 3, 3)), meta(GLYPHS, {**CONV, "norm": norm}))
        predict = of.adapt(x[:3], [0, 1, 2])
        alone[norm] = np.abs(predict(x)[:1] - predict(x[:1])).max()
    assert alone["support"] < 1e-5
    assert alone["transductive"] > 1e-3


# -- layouts ----------------------------------------------------------------------------------


def test_keras_takes_the_dense_layers(sines: Learner) -> None:
    keras = tf.keras
    model = keras.Sequential([keras.Input((1,))])
    for units, activation in ((6, "tanh"), (4, "tanh"), (1, None)):
        model.add(keras.layers.Dense(units, activation))
    model.set_weights(list(sines.weights.values()))
    x = np.linspace(-2, 2, 9, dtype=np.float32)[:, np.newaxis]
    ours = sines.adapt([[0.0]], [[0.0]], steps=0)(x)
    np.testing.assert_allclose(model(x), ours, rtol=1e-5, atol=1e-6)


def test_keras_takes_the_convolutions(letters: Learner) -> None:
    """Conv2D without a bias, BatchNormalization on its batch's statistics, ReLU, halving."""
    layers = tf.keras.layers
    x = np.random.default_rng(2).random((4, 28, 28, 1)).astype(np.float32)
    hidden: Any = x
    for block in range(4):
        kernel, scale, offset = (
            letters.weights[f"block{block}/{part}"] for part in ("kernel", "scale", "offset")
        )
        convolution = layers.Conv2D(3, 3, padding="same", use_bias=False)
        norm = layers.BatchNormalization(epsilon=1e-3)
        convolution.build(hidden.shape)
        convolution.set_weights([kernel])
        hidden = convolution(hidden)
        norm.build(hidden.shape)
        norm.set_weights([scale, offset, np.zeros(3), np.ones(3)])
        hidden = tf.nn.max_pool2d(tf.nn.relu(norm(hidden, training=True)), 2, 2, "VALID")
    output = layers.Dense(3)
    output.build((4, 3))
    output.set_weights([letters.weights["output/weight"], letters.weights["output/bias"]])
    ours = letters.adapt(x[:1], [0], steps=0)(x)
    np.testing.assert_allclose(output(tf.reshape(hidden, (4, 3))), ours, rtol=1e-4, atol=1e-5)


def test_numpy_reads_the_file_by_itself(line: Path) -> None:
    with np.load(line) as file:
        assert sorted(file.files) == ["meta", "output/bias", "output/weight"]
        stored = json.loads(str(file["meta"]))
    assert (stored["format"], stored["study"], stored["slot"]) == (1, "s", 3)
    assert stored["config"]["task"] == SINUSOID


def test_a_layout_is_undone_by_its_inverse() -> None:
    layout = Layout(Conv4((8, 8, 2), 5, 3).parameters)
    theta = np.arange(layout.size, dtype=np.float32)
    named = layout.named(theta)
    assert named["block1/kernel"].shape == (3, 3, 3, 3)
    np.testing.assert_array_equal(layout.row(named), theta)
    split = layout.split(tf.constant(theta[np.newaxis]))
    assert all(np.array_equal(a[0], b) for a, b in zip(split, named.values(), strict=True))
    np.testing.assert_array_equal(layout.join(split)[0], theta)


def test_a_trial_keeps_the_sets_of_its_own_steps() -> None:
    """In a program of three steps a trial of two has a set too many, which is left out."""

    def layout(steps: int) -> Layout:
        rates = Parameter("rate/step", (steps, 2), mean=0.1, role="rate", per_step=True)
        return Layout([Parameter("output/weight", (3,)), rates])

    theta = np.arange(9.0)
    np.testing.assert_array_equal(layout(3).decayed, [1, 1, 1, 0, 0, 0, 0, 0, 0])
    named = layout(3).named(theta, 2)
    assert named["rate/step"].tolist() == [[3, 4], [5, 6]]
    np.testing.assert_array_equal(layout(2).row(named), theta[:7])


def test_the_same_numbers_in_a_fresh_process(sines: Learner, tmp_path: Path) -> None:
    weights.write(tmp_path / "w.npz", sines.weights, sines.meta)
    code = (
        "import sys, maml_sweep\n"
        "assert 'numpy' not in sys.modules and 'tensorflow' not in sys.modules\n"
        "of = maml_sweep.load('w.npz')\n"
        "predict = of.adapt([[0.5], [1.0]], [[1.0], [2.0]])\n"
        "print([*of.evaluate(tasks=9).tolist(), *predict([[0.1], [2.0]]).ravel().tolist()])\n"
        "assert 'tensorflow' in sys.modules and 'keras' not in sys.modules\n"
        "sys.modules['tensorflow'].keras.optimizers.Adam"  # it is there when it is wanted
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    predict = sines.adapt([[0.5], [1.0]], [[1.0], [2.0]])
    ours = [*sines.evaluate(tasks=9), *predict([[0.1], [2.0]]).ravel()]
    np.testing.assert_allclose(json.loads(done.stdout), ours, rtol=1e-5)


# -- what is refused --------------------------------------------------------------------------

IMAGES = np.zeros((2, 28, 28, 1))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            [0.0, 1.0],
            [[0.0], [1.0]],
            "x_support: expected shape [example, 1], got float64 of shape [2]",
        ),
        (np.zeros((2, 3)), [[0.0], [1.0]], "shape [example, 1], got float64 of shape [2, 3]"),
        (np.zeros((0, 1)), np.zeros((0, 1)), "x_support: expected at least one example"),
        ([["a"], ["b"]], [[0.0], [1.0]], "x_support: expected numbers, got type <U1"),
        (
            [[1.0], [1.0, 2.0]],
            [[0.0], [1.0]],
            "x_support: expected an array of numbers, got ragged",
        ),
        ([[0.0], [1.0]], [0.0, 1.0], "y_support: expected shape [2, 1] to go with x_support, got"),
        ([[0.0], [1.0]], [[0.0]], "shape [2, 1] to go with x_support, got float64 of shape [1, 1]"),
    ],
)
def test_wrong_values(sines: Learner, x: Any, y: Any, message: str) -> None:
    refused(sines, x, y, message)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, 3], "y_support: expected integers from 0 to 2, got 3"),
        ([-1, 0], "y_support: expected integers from 0 to 2, got -1"),
        ([0.0, 1.5], "y_support: expected integers from 0 to 2, got 1.5"),
        ([0.0, 1.0], "y_support: expected integers from 0 to 2, got type float64"),
        (
            [[0], [1]],
            "y_support: expected shape [2] to go with x_support, got int64 of shape [2, 1]",
        ),
    ],
)
def test_wrong_labels(letters: Learner, y: Any, message: str) -> None:
    refused(letters, IMAGES, y, message)


def refused(learner: Learner, x: Any, y: Any, message: str) -> None:
    """Asserts that the support set is refused in one line."""
    with pytest.raises(InputError) as error:
        learner.adapt(x, y)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_wrong_numbers(sines: Learner) -> None:
    for steps in (-1, 1.5, True):
        with pytest.raises(InputError, match=r"steps=.*: expected an integer of at least 0"):
            sines.adapt([[0.0]], [[0.0]], steps)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="x_query: expected shape"):
        sines.adapt([[0.0]], [[0.0]])([0.0])
    with pytest.raises(InputError, match="split=tests: expected one of"):
        sines.evaluate("tests")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tasks=0: expected an integer"):
        sines.evaluate(tasks=0)


class Ranking(Task):
    """Neither values nor classes; only its shapes are asked for."""

    metric, direction = "rank", "minimize"
    input_shape, outputs = (2,), 1

    def episodes(self, split: Any, keys: Any, dtype: Any) -> Any: ...
    def loss(self, outputs: Any, y: Any) -> Any: ...
    def score(self, outputs: Any, y: Any) -> Any: ...


def test_targets_of_another_kind_of_task_are_its_own_affair() -> None:
    assert given.targets("y", [[1, 2, 3]], 1, Ranking(), np.float32).dtype == np.int64
    assert given.targets("y", [0.5, 1.5], 2, Ranking(), np.float32).dtype == np.float32
    with pytest.raises(InputError, match=r"y: expected shape \[2\]"):
        given.targets("y", [1], 2, Ranking(), np.float32)


def rewritten(path: Path, **changes: Any) -> Path:
    """The file with other arrays; None leaves one out."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def altered(path: Path, **changes: Any) -> Path:
    """The file with another meta text."""
    with np.load(path) as file:
        stored = json.loads(str(file["meta"]))
    return rewritten(path, meta=np.array(json.dumps(stored | changes)))


def test_files_that_cannot_be_used(line: Path) -> None:
    whole = line.read_bytes()
    with pytest.raises(InputError, match=r"no such file; `maml-sweep train STUDY` writes"):
        maml_sweep.load(line.with_name("4-0.npz"))
    for torn in (b"", whole[:200], b"text"):
        line.write_bytes(torn)
        with pytest.raises(InputError, match=r"no weights of maml_sweep, or damaged \("):
            maml_sweep.load(line)
    line.write_bytes(whole)
    with pytest.raises(InputError, match=r"newer maml_sweep \(format 2, this one reads 1\)"):
        maml_sweep.load(altered(line, format=2))
    line.write_bytes(whole)
    with pytest.raises(InputError, match="no weights of maml_sweep"):
        maml_sweep.load(rewritten(line, meta=None))


@pytest.mark.parametrize(
    ("weight", "got"),
    [
        (np.ones((2, 1)), "float64 of shape [2, 1]"),
        (np.ones((1, 1), np.float32), "float32 of shape [1, 1]"),
        (None, "nothing"),
    ],
)
def test_arrays_of_another_model(line: Path, weight: np.ndarray | None, got: str) -> None:
    with pytest.raises(InputError) as error:
        maml_sweep.load(rewritten(line, **{"output/weight": weight}))
    assert f"output/weight: expected float64 of shape [1, 1], got {got}; " in str(error.value)


def test_a_model_that_is_not_here(line: Path) -> None:
    parts = meta(SINUSOID, {"_target_": "nowhere.Model"}).config
    with pytest.raises(InputError, match=r"model: cannot build nowhere\.Model"):
        maml_sweep.load(altered(line, config=parts))
