"""ResNet-12 by its definition, its size by hand, and its meta-gradient by central differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numerics import Patterns, check_meta_gradient, meta_gradient, program, relative, settings

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import Linear, ResNet12, blocks
from maml_sweep.models.base import Model


def keys(count: int) -> Any:
    return tf.constant(np.stack([streams.key("weights", seed) for seed in range(count)]))


def images(*shape: int, seed: int = 0) -> Any:
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


def perturbed(model: Model, count: int, dtype: Any = tf.float64) -> list[Any]:
    """Parameters whose norms are not all alike."""
    generator = np.random.default_rng(1)
    drawn = model.init(keys(count), dtype)
    return [p + tf.constant(0.1 * generator.normal(size=p.shape), dtype) for p in drawn]


# -- the definition ------------------------------------------------------------------------------


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """x [example, height, width, in] by kernel [size, size, in, out], zeros round the image."""
    edge = kernel.shape[0] // 2
    padded = np.pad(x, [(0, 0), (edge, edge), (edge, edge), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
    found: np.ndarray = np.einsum("ehwirc,rcio->ehwo", windows, kernel)
    return found


def by_hand(params: list[np.ndarray], x: np.ndarray, depth: int) -> np.ndarray:
    """One lane's features: a block at a time, from the description in Lee et al. 2019."""
    layers = iter(np.split(np.arange(12 * depth), 4 * depth))

    def normed(x: np.ndarray) -> np.ndarray:
        kernel, scale, offset = (params[index] for index in next(layers))
        y = convolved(x, kernel)
        y = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-3)
        normalised: np.ndarray = y * scale + offset
        return normalised

    def leaky(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, 0.1 * x)

    for _ in range(depth):
        residual = normed(leaky(normed(leaky(normed(x)))))
        x = leaky(residual + normed(x))
        high, wide = (extent // 2 for extent in x.shape[1:3])
        x = x[:, : 2 * high, : 2 * wide].reshape(len(x), high, 2, wide, 2, -1).max((2, 4))
    features: np.ndarray = x.mean((1, 2))
    return features


def test_features_are_those_of_the_definition() -> None:
    """Two lanes, 9x7 pixels: pooling drops the last row and column, twice."""
    model = ResNet12((9, 7, 2), 3, (3, 4))
    params, x = perturbed(model, 2), images(2, 5, 9, 7, 2)
    found, statistics = model.features(params[: len(model.body)], x)
    for lane in range(2):
        wanted = by_hand([p[lane].numpy() for p in params], x[lane].numpy(), 2)
        np.testing.assert_allclose(found[lane], wanted, atol=1e-12)
    assert len(statistics) == 8 and model.width == 4


def test_size_by_hand() -> None:
    """A block from i to o channels: kernels 9 (i o + 2 o²) + i o, and four norms of 2 o.

    With three colours: 76,160 + 564,480 + 2,357,760 + 9,425,920 = 12,424,320, and a head of
    640 * 5 + 5 = 3,205.
    """
    model = ResNet12((84, 84, 3), 5)
    sizes = [math.prod(each.shape) for each in model.parameters]
    blocks_of = np.split(np.array(sizes[:-2]), 4)
    assert [int(some.sum()) for some in blocks_of] == [76_160, 564_480, 2_357_760, 9_425_920]
    assert sum(sizes) == 12_424_320 + 3_205
    assert len({each.name for each in model.parameters}) == len(sizes)


def test_initial_values() -> None:
    """Kernels of deviation √(2 / (9 o)), shortcuts √(2 / o); scales of one, offsets of zero."""
    model = ResNet12((8, 8, 8), 5, (16,))
    values_of = model.init(keys(40), tf.float64)[:-2]
    for parameter, values in zip(model.body, values_of, strict=True):
        layer, kind = parameter.name.split("/")[1:]
        if kind == "kernel":
            wanted = math.sqrt(2 / 16) / (1 if layer == "shortcut" else 3)
            assert np.std(values) == pytest.approx(wanted, rel=0.05)
        else:
            np.testing.assert_array_equal(values, float(kind == "scale"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_a_lane_is_alone(norm: str, dtype: str) -> None:
    model = ResNet12((6, 6, 1), 2, (2, 3), norm)
    params, x = perturbed(model, 3, tf.as_dtype(dtype)), tf.cast(images(3, 4, 6, 6, 1), dtype)
    together, _ = model.apply(params, x)
    alone, _ = model.apply([value[1:2] for value in params], x[1:2])
    scale = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(together[1], alone[0], atol=scale)
    assert np.abs(together[0] - together[1]).max() > 100 * scale


def test_a_query_may_be_normalised_by_the_support_set() -> None:
    """Then each is by itself what it is among others; and the support set stays what it was."""
    model = ResNet12((6, 6, 1), 2, (2, 3), "support")
    assert model.support_statistics and not ResNet12((6, 6, 1), 2).support_statistics
    params, x = perturbed(model, 2), images(2, 4, 6, 6, 1)
    wanted, statistics = model.apply(params, x)
    one_by_one = [model.apply(params, x[:, i : i + 1], statistics)[0] for i in range(4)]
    np.testing.assert_allclose(tf.concat(one_by_one, 1), wanted, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 84])
def test_it_fits_images_of_any_size(size: int) -> None:
    model = ResNet12((size, size, 1), 2, (1, 1, 1, 1))
    outputs, _ = model.apply(perturbed(model, 1), images(1, 2, size, size, 1))
    assert outputs.shape == (1, 2, 2) and np.isfinite(outputs).all()


def test_halving() -> None:
    """2x2 maxima, the odd row dropped; an axis of one stays."""
    x = tf.constant([[[1.0], [5.0]], [[2.0], [3.0]], [[9.0], [9.0]]])[tf.newaxis]
    np.testing.assert_array_equal(blocks.halved(x), [[[[5.0]]]])
    np.testing.assert_array_equal(blocks.halved(x[:, :1]), [[[[5.0]]]])
    assert blocks.halved(x[:, :1, :1]).shape == (1, 1, 1, 1)


# -- derivatives ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_meta_gradient(norm: str) -> None:
    of = program(Patterns(2, 2), ResNet12((6, 6, 1), 2, (1,), norm))
    theta = of.init(keys(1).numpy())[0]
    theta = theta + 0.1 * np.random.default_rng(0).normal(size=theta.shape)
    check_meta_gradient(of, theta, settings(0.1, 1))


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("norm", ["transductive", "support"])
def test_meta_gradient_in_single_precision(norm: str) -> None:
    """Groups and, where it serves, the fused norm, against patches and float64."""
    model = ResNet12((6, 6, 1), 3, (2,), norm)
    single = program(Patterns(), model, precision="float32")
    theta = single.init(keys(1).numpy())[0]
    exact = meta_gradient(program(Patterns(), model), theta.astype(np.float64), settings(0.1, 1))
    assert relative(meta_gradient(single, theta, settings(0.1, 1)), exact) < 1e-3


# -- linear models with a bias -------------------------------------------------------------------


def test_logistic_by_hand() -> None:
    """Each row times (2, -1), plus 3."""
    model = Linear((2,), 1, bias=True)
    params = [tf.constant([[[2.0], [-1.0]]]), tf.constant([[3.0]])]
    outputs, _ = model.apply(params, tf.constant([[[3.0, 1.0], [0.0, 4.0]]]))
    np.testing.assert_allclose(outputs, [[[8.0], [-1.0]]])
    weight, bias = model.init(keys(500), tf.float64)
    assert np.std(weight) == pytest.approx(0.01, rel=0.1)
    np.testing.assert_array_equal(bias, np.zeros((500, 1)))


@pytest.mark.usefixtures("eager")
def test_meta_gradient_of_logistic_regression() -> None:
    of = program(Patterns(), Linear((6, 6, 1), 3, 0.1, bias=True))
    check_meta_gradient(of, of.init(keys(1).numpy())[0], settings(0.3, 1))


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: ResNet12((5,), 2),
            (
                "model=resnet12: expected images [height, width, channels], but the task's "
                "examples have shape [5]; choose model=mlp"
            ),
        ),
        (
            lambda: ResNet12((8, 8, 1), 2, ()),
            "model.widths=[]: expected the channels of one block or more",
        ),
        (
            lambda: ResNet12((8, 8, 1), 2, (4, 0)),
            "model.widths=0: expected an integer of at least 1",
        ),
        (
            lambda: ResNet12((8, 8, 1), 2, norm="layer"),
            "model.norm=layer: expected one of transductive, support",
        ),
        (
            lambda: Linear((2,), 1, -1.0, bias=True),
            "model.deviation=-1.0: expected a finite number of at least 0",
        ),
    ],
)
def test_wrong_settings_are_named(build: Any, message: str) -> None:
    with pytest.raises(InputError) as raised:
        build()
    assert str(raised.value) == message
