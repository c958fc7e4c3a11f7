"""The convolutional network of sentences: by hand, lane by lane, and its meta-gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numerics import check_meta_gradient, program, run_at, settings, train

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import TextCNN
from maml_sweep.tasks import Sentiment


def initial(model: TextCNN, lanes: int, dtype: Any = tf.float64) -> list[Any]:
    keys = np.stack([streams.key("weights", lane) for lane in range(lanes)])
    return model.init(tf.constant(keys), dtype)


def test_text_cnn_by_hand() -> None:
    """Words 1, 2, 3 stand for 1, 2 and -4; one filter of three words (1, 2, 3) with bias 1.

    Of the text 2 1 3 the windows are (0 2 1), (2 1 -4), (1 -4 0), which give 0·1 + 2·2 + 1·3 = 7,
    2 + 2 - 12 = -8 and 1 - 8 = -7; with the bias and ReLU the greatest is 8. Of the text 3 there
    is (0 -4 0), -8, so 0. The head takes it times 2 and adds 3: 19 and 3.
    """
    model = TextCNN((4,), 1, 1, 1, (3,), (4,))
    values: list[Any] = [[[9], [1], [2], [-4]], [[[1]], [[2]], [[3]]], [1], [[2]], [3]]
    params = [tf.constant([value], tf.float64) for value in values]
    x = tf.constant([[[2, 1, 3, 0], [3, 0, 0, 0]]], tf.float64)
    np.testing.assert_allclose(model.apply(params, x)[0], [[[19], [3]]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_padding_has_no_say(dtype: str) -> None:
    """The same texts padded further give the same features, and the vector of padding none."""
    short, long = (TextCNN((length,), 2, 3, 4, (1, 2, 5), (7,)) for length in (4, 9))
    params = initial(short, 2, tf.as_dtype(dtype))
    x = np.array([[[3, 1, 2, 0], [6, 0, 0, 0]], [[1, 5, 5, 5], [0, 0, 0, 0]]], dtype)
    wanted, _ = short.apply(params, tf.constant(x))
    padded = tf.constant(np.pad(x, [(0, 0), (0, 0), (0, 5)]))
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(long.apply(params, padded)[0], wanted, atol=tolerance)
    params[0] += tf.reshape(tf.one_hot(0, 7, 100.0, dtype=dtype), [1, 7, 1])
    np.testing.assert_allclose(long.apply(params, padded)[0], wanted, atol=tolerance)


def test_words_are_told_from_each_other_and_their_order_counts() -> None:
    model = TextCNN((3,), 2, 3, 4, (2,), (5,))
    texts = [[1, 2, 3], [3, 2, 1], [1, 2, 4]]
    outputs, _ = model.apply(initial(model, 1), tf.constant([texts], tf.float64))
    assert len({row.tobytes() for row in outputs[0].numpy()}) == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lane_is_alone(dtype: str) -> None:
    model = TextCNN((5,), 2, 3, 4, (2, 3), (6,))
    params = initial(model, 3, tf.as_dtype(dtype))
    x = tf.constant(np.random.default_rng(0).integers(0, 6, (3, 7, 5)), dtype)
    together, statistics = model.apply(params, x)
    alone, _ = model.apply([value[1:2] for value in params], x[1:2])
    assert together.shape == (3, 7, 2) and statistics == ()
    np.testing.assert_allclose(together[1], alone[0], atol=1e-5 if dtype == "float32" else 1e-12)
    assert [parameter.shape for parameter in model.parameters] == [
        *[(6, 3), (2, 3, 4), (4,), (3, 3, 4), (4,)],
        *[(8, 2), (2,)],
    ]


def tiny() -> TextCNN:
    """One number a word, of 202 words; two filters over one word and two over two."""
    task = Sentiment(1, 1, features="tokens")
    return TextCNN(task.input_shape, 2, 1, 2, (1, 2), task.categories)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("steps", [1, 2])
def test_meta_gradient(steps: int) -> None:
    """Against central differences in float64, the words' vectors included."""
    task = Sentiment(1, 1, features="tokens")
    own = program(task, tiny(), bound=steps)
    theta = own.init(streams.key("theta")[np.newaxis])[0]
    numbers = settings(0.5, steps, batch=2)
    check_meta_gradient(own, theta, numbers)


@pytest.mark.usefixtures("eager")
def test_a_pack_trains_each_trial_as_if_alone() -> None:
    own = program(Sentiment(2, 2, features="tokens"), tiny())
    thetas = own.init(np.stack([streams.key("theta", seed) for seed in range(2)]))
    numbers = [settings(0.3, 1, batch=2), settings(0.1, 1, batch=3)]

    def runs() -> list[Any]:
        return [run_at(theta, own) for theta, own in zip(thetas, numbers, strict=True)]

    pack = train(own, runs(), 2)
    for together, start in zip(pack, runs(), strict=True):
        before = start.theta.copy()
        (alone,) = train(own, [start], 2)
        np.testing.assert_allclose(together.theta, alone.theta, atol=1e-12)
        assert np.abs(alone.theta - before).max() > 1e-3


def build(input_shape: tuple[int, ...] = (4,), outputs: int = 2, **settings: Any) -> TextCNN:
    return TextCNN(input_shape, outputs, **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "model=text_cnn: expected texts as numbers of words .* task.features=tokens .*"),
        ({"categories": (5, 4)}, "model=text_cnn: expected texts as numbers of words.*"),
        ({"input_shape": (4, 2), "categories": (5,)}, "model=text_cnn: expected texts.*"),
        ({"categories": (5,), "width": 0}, "model.width=0: expected an integer of at least 1"),
        ({"categories": (5,), "filters": -1}, "model.filters=-1: expected .*"),
        ({"categories": (5,), "windows": (3, 0)}, "model.windows=0: expected .*"),
        ({"categories": (5,), "windows": ()}, "model.windows=.*: expected at least one width.*"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        build(**arguments)
