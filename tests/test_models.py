"""Layers over lanes against plain NumPy and against each other, and the networks made of them."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from numerics import Patterns, meta_gradient, program, relative, settings

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import MLP, Conv4, Linear, blocks, lanes
from maml_sweep.models.base import Model


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def keys(count: int) -> np.ndarray:
    return np.stack([streams.key("weights", seed) for seed in range(count)])


def initial(model: Model, count: int, dtype: Any = None) -> list[Any]:
    return model.init(tf.constant(keys(count)), dtype or tf.float64)


# -- layers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("inputs", [1, 3])
def test_dense(inputs: int) -> None:
    """One input goes another way through TensorFlow."""
    x, weight, bias = normal(4, 5, inputs), normal(4, inputs, 2), normal(4, 2)
    wanted = np.einsum("lei,lio->leo", x, weight) + bias[:, np.newaxis]
    np.testing.assert_allclose(lanes.dense(x, tf.constant(weight), bias), wanted, rtol=1e-12)


def test_folding_lanes() -> None:
    x = normal(3, 5, 4, 2, 6)
    folded = lanes.fold_lanes(tf.constant(x))
    assert folded.shape == (5, 4, 2, 18)
    np.testing.assert_array_equal(folded[..., 6:12], x[1])  # the second lane's channels
    np.testing.assert_array_equal(lanes.unfold_lanes(folded, 6), x)


def convolution_by_hand(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """x [example, height, width, in], kernel [3, 3, in, out], padded as 'SAME' does."""
    size = x.shape[1]
    out = -(-size // stride)
    total = max((out - 1) * stride + 3 - size, 0)
    before = total // 2  # 'SAME' pads the odd one after
    padded = np.pad(x, [(0, 0), (before, total - before), (before, total - before), (0, 0)])
    result = np.zeros((len(x), out, out, kernel.shape[3]))
    for row in range(out):
        for column in range(out):
            patch = padded[:, row * stride : row * stride + 3, column * stride :][:, :, :3]
            result[:, row, column] = np.einsum("ehwi,hwio->eo", patch, kernel)
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [5, 6])
def test_convolution(size: int, stride: int, dtype: str) -> None:
    """float32 goes by groups, float64 by patches."""
    x, kernel = normal(3, 2, size, size, 2), normal(3, 3, 3, 2, 4, seed=1)
    folded = lanes.fold_lanes(tf.constant(x, dtype))
    found = lanes.unfold_lanes(lanes.convolution(folded, tf.constant(kernel, dtype), stride), 4)
    wanted = [convolution_by_hand(a, b, stride) for a, b in zip(x, kernel, strict=True)]
    np.testing.assert_allclose(found, np.stack(wanted), atol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_grouped_convolution_is_the_patch_form(stride: int) -> None:
    """Values, gradients, and a gradient's gradient, all in float32."""
    x = lanes.fold_lanes(tf.constant(normal(3, 2, 6, 6, 2), tf.float32))
    kernel = tf.constant(normal(3, 3, 3, 2, 4, seed=1), tf.float32)

    def derivatives(convolution: Any) -> list[Any]:
        with tf.GradientTape() as outer:
            outer.watch([x, kernel])
            with tf.GradientTape() as inner:
                inner.watch([x, kernel])
                y = convolution(x, kernel, stride)
                loss = tf.reduce_sum(tf.sin(y))
            first = inner.gradient(loss, [x, kernel])
            size = sum(tf.reduce_sum(tf.square(g)) for g in first)
        return [y, *first, *outer.gradient(size, [x, kernel])]

    assert lanes.grouped_convolution_works(x.dtype)
    pairs = zip(derivatives(lanes.convolution), derivatives(lanes._patch_convolution), strict=True)
    for found, wanted in pairs:
        assert relative(found, wanted) < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_norm_in_a_kernel(stride: int, channels: int) -> None:
    """A first layer is a convolution and a norm of what it gives, by statistics of its patches."""
    x, kernel = 1 + normal(2, 4, 6, 7, channels), normal(2, 3, 3, channels, 5, seed=1)
    scale, offset = normal(2, 5, seed=2), normal(2, 5, seed=3)
    params = [tf.constant(each) for each in (kernel, scale, offset)]
    y, shift, (mean, variance) = blocks.normed_images(tf.constant(x), params, None, stride=stride)
    folded = lanes.fold_lanes(tf.constant(x))
    plain, own = blocks.normed(folded, params, None, stride=stride, fused=False)
    wanted = lanes.unfold_lanes(plain, 5)
    np.testing.assert_allclose(y + shift[:, None, None, None], wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mean, own[0], rtol=1e-9)
    np.testing.assert_allclose(variance, own[1], rtol=1e-9)
    given = (mean + 1, 4 * variance)
    y, shift, _ = blocks.normed_images(tf.constant(x), params, given, stride=stride)
    plain, _ = blocks.normed(folded, params, given, stride=stride, fused=False)
    wanted = lanes.unfold_lanes(plain, 5)
    np.testing.assert_allclose(y + shift[:, None, None, None], wanted, rtol=1e-9, atol=1e-9)


def test_grouped_convolution_needs_single_precision_and_onednn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not lanes.grouped_convolution_works(tf.float64)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert not lanes.grouped_convolution_works(tf.float32)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("downsample", ["stride", "max_pool"])
def test_meta_gradient_in_single_precision(
    downsample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups and the fused norm, against patches and the written-out norm, float32 and float64."""
    model = Conv4((6, 6, 1), 3, 4, downsample)
    single = program(Patterns(), model, precision="float32")
    theta = single.init(keys(1))[0]
    grouped = meta_gradient(single, theta, settings(0.1, 1))
    monkeypatch.setattr(lanes, "grouped_convolution_works", lambda dtype: False)
    patched = meta_gradient(single, theta, settings(0.1, 1))
    exact = meta_gradient(program(Patterns(), model), theta.astype(np.float64), settings(0.1, 1))
    assert relative(grouped, patched) < 1e-4
    assert relative(grouped, exact) < 1e-4


def folded_norm(x: np.ndarray, **options: Any) -> tuple[Any, tuple[Any, Any]]:
    channels = x.shape[-1]
    scale, offset = normal(len(x), channels, seed=1), normal(len(x), channels, seed=2)
    folded = lanes.fold_lanes(tf.constant(x))
    y, statistics = lanes.batch_norm(folded, tf.constant(scale), tf.constant(offset), **options)
    return lanes.unfold_lanes(y, channels), statistics


def normalised(x: np.ndarray, of: np.ndarray) -> np.ndarray:
    """By the definition: each lane's and channel's own mean and biased variance, those of `of`."""
    mean, variance = (f(of, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.var))
    scale, offset = normal(len(x), x.shape[-1], seed=1), normal(len(x), x.shape[-1], seed=2)
    y = (x - mean) / np.sqrt(variance + 1e-3)
    result: np.ndarray = y * scale[:, None, None, None] + offset[:, None, None, None]
    return result


def test_batch_norm() -> None:
    x = 3 + 2 * normal(3, 4, 5, 5, 2)
    y, (mean, variance) = folded_norm(x)
    np.testing.assert_allclose(y, normalised(x, x), rtol=1e-10)
    np.testing.assert_allclose(mean, x.mean(axis=(1, 2, 3)).ravel(), rtol=1e-12)
    np.testing.assert_allclose(variance, x.var(axis=(1, 2, 3)).ravel(), rtol=1e-12)


def test_batch_norm_with_given_statistics() -> None:
    support, query = normal(3, 4, 5, 5, 2), 1 + normal(3, 6, 5, 5, 2, seed=5)
    _, statistics = folded_norm(support)
    y, _ = folded_norm(query, statistics=statistics)
    np.testing.assert_allclose(y, normalised(query, support), rtol=1e-10)


def test_fused_batch_norm() -> None:
    """The same values, first and second derivatives as the written-out norm, in float32."""
    x = lanes.fold_lanes(tf.constant(normal(3, 4, 5, 5, 2), tf.float32))
    scale, offset = (tf.constant(normal(3, 2, seed=s), tf.float32) for s in (1, 2))
    weight = tf.constant(normal(*x.shape, seed=3), tf.float32)

    def derivatives(*, fused: bool) -> list[Any]:
        with tf.GradientTape() as outer:
            outer.watch([x, scale])
            with tf.GradientTape() as inner:
                inner.watch([x, scale, offset])
                y, _ = lanes.batch_norm(x, scale, offset, fused=fused)
                loss = tf.reduce_sum(tf.sin(y) * weight)
            first = inner.gradient(loss, [x, scale, offset])
            size = sum(tf.reduce_sum(tf.square(g)) for g in first)
        return [y, *first, *outer.gradient(size, [x, scale])]

    for found, wanted in zip(derivatives(fused=True), derivatives(fused=False), strict=True):
        assert relative(found, wanted) < 1e-5


# -- networks ------------------------------------------------------------------------------------

NETWORKS: dict[str, MLP | Conv4] = {
    "mlp": MLP((3,), 2, (4, 5)),
    "linear": MLP((3,), 2, ()),
    "image mlp": MLP((4, 4, 2), 3, (5,), "elu"),
    "stride": Conv4((9, 9, 1), 5, 3, "stride"),
    "max_pool": Conv4((9, 7, 2), 5, 3, "max_pool"),
    "support": Conv4((20, 20, 1), 5, 3, "max_pool", "support"),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lane_is_alone(name: str, dtype: str) -> None:
    """A lane's outputs are those of its own parameters and examples, whoever sits beside it."""
    model = NETWORKS[name]
    params = initial(model, 3, tf.as_dtype(dtype))
    shape = model.input_shape if isinstance(model, Conv4) else (model.inputs,)
    x = tf.constant(normal(3, 6, *shape), dtype)
    together, statistics = model.apply(params, x)
    assert together.shape == (3, 6, model.outputs)
    assert len(statistics) == (4 if isinstance(model, Conv4) else 0)
    alone, _ = model.apply([value[1:2] for value in params], x[1:2])
    scale = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(together[1], alone[0], atol=scale)
    assert np.abs(together[0] - together[1]).max() > 100 * scale


def test_mlp_by_hand() -> None:
    """Two inputs, one hidden ReLU unit of weights (1, -1) and bias 1, output 2h + 3."""
    model = MLP((2,), 1, (1,))
    params = [tf.constant(v, tf.float64) for v in ([[[1], [-1]]], [[1]], [[[2]]], [[3]])]
    outputs, _ = model.apply(params, tf.constant([[[2.0, 1.0], [0.0, 4.0]]], tf.float64))
    np.testing.assert_allclose(outputs, [[[7.0], [3.0]]])


def test_linear_by_hand() -> None:
    """Each row times (2, -1), no bias: its weights are all it has."""
    model = Linear((2,), 1, 0.5)
    params = [tf.constant([[[2.0], [-1.0]]], tf.float64)]
    outputs, _ = model.apply(params, tf.constant([[[3.0, 1.0], [0.0, 4.0]]], tf.float64))
    np.testing.assert_allclose(outputs, [[[5.0], [-4.0]]])
    assert [each.shape for each in model.parameters] == [(2, 1)]
    assert np.std(initial(model, 400)[0]) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_is_its_body_and_its_head(name: str) -> None:
    model = NETWORKS[name]
    shape = model.input_shape if isinstance(model, Conv4) else (model.inputs,)
    params, x = initial(model, 2), tf.constant(normal(2, 3, *shape))
    depth = len(model.body)
    features, _ = model.features(params[:depth], x)
    assert features.shape == (2, 3, model.width)
    weight, bias = params[depth:]
    wanted = features.numpy() @ weight.numpy() + bias.numpy()[:, np.newaxis]
    np.testing.assert_allclose(model.apply(params, x)[0], wanted, rtol=1e-9, atol=1e-12)


def test_support_statistics_are_used() -> None:
    model = NETWORKS["support"]
    params, x = initial(model, 1), tf.constant(normal(1, 6, 20, 20, 1))
    _, statistics = model.apply(params, x)
    again, _ = model.apply(params, x, statistics)
    np.testing.assert_allclose(again, model.apply(params, x)[0], rtol=1e-10)
    one_by_one = [model.apply(params, x[:, i : i + 1], statistics)[0] for i in range(6)]
    np.testing.assert_allclose(tf.concat(one_by_one, 1), again, rtol=1e-10)


def test_initial_values() -> None:
    """Glorot's deviation √(2/(in + out)), zero biases, scales of one."""
    model = Conv4((28, 28, 1), 5, 16)
    params = initial(model, 40)
    for parameter, values in zip(model.parameters, params, strict=True):
        assert values.shape == (40, *parameter.shape)
        kind = parameter.name.split("/")[1]
        if kind in ("bias", "offset", "scale"):
            np.testing.assert_array_equal(values, float(kind == "scale"))
    for index, fans in ((0, 9 + 144), (3, 288), (-2, 16 + 5)):
        assert np.std(params[index]) == pytest.approx(math.sqrt(2 / fans), rel=0.05)
    assert len({tuple(np.ravel(lane)) for lane in params[-2].numpy()}) == 40


def test_initial_values_hang_on_the_key_alone() -> None:
    together = initial(NETWORKS["mlp"], 5)
    alone = NETWORKS["mlp"].init(tf.constant(keys(5)[3:4]), tf.float64)
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a[3:4], b)


@pytest.mark.parametrize("downsample", ["stride", "max_pool"])
@pytest.mark.parametrize("size", [1, 2, 3, 15, 16, 17, 28, 84])
def test_conv4_fits_images_of_any_size(size: int, downsample: str) -> None:
    """28 pixels halve to 14, 7, 3, 1 by pooling and to 14, 7, 4, 2 by strides."""
    model = Conv4((size, size, 1), 2, 1, downsample)
    outputs, _ = model.apply(initial(model, 1), tf.zeros([1, 2, size, size, 1], tf.float64))
    assert outputs.shape == (1, 2, 2)
    if size == 28:
        assert model.width == (4 if downsample == "stride" else 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MLP((1,), 1, (4, 0)), "model.widths=0"),
        (lambda: MLP((1,), 1, (4,), "swich"), "model.activation=swich.*relu"),
        (lambda: Conv4((1,), 1), r"model=conv4.*\[1\].*model=mlp"),
        (lambda: Conv4((8, 8, 1), 1, 0), "model.filters=0"),
        (lambda: Conv4((8, 8, 1), 1, downsample="pool"), "model.downsample=pool.*max_pool"),
        (lambda: Conv4((8, 8, 1), 1, norm="layer"), "model.norm=layer.*transductive"),
    ],
)
def test_bad_settings_are_named(build: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def pooled_curvature(x: Any, values: Any, *, compiled: bool) -> tuple[Any, Any]:
    """A weighted sum of 2x2 maxima: its gradient, and how the weights move a sum of that."""
    positions = tf.reshape(tf.range(tf.size(x)), x.shape)
    with lanes.traced_for(lanes.Tracing(compiled=compiled)), tf.GradientTape() as outer:
        outer.watch(values)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.reduce_sum(lanes.max_pool(x, 2, 2) * values)
        gradient = inner.gradient(loss, x)
        total = tf.reduce_sum(gradient * tf.cast(positions, x.dtype))
    return gradient, outer.gradient(total, values)


def test_maxima_for_xla_are_those_of_the_kernel() -> None:
    """Windows of a 5x4 image, the last row in none: equal values, and two that are nearly so.

    1 and 1 + 2⁻¹² are the same in bfloat16, in which XLA compares them where it differentiates the
    kernel twice.
    """
    rows = [[1, 1, 0, 0], [1, 1, 0, 2], [1, 0, 5, 5], [0, 1 + 2**-12, 0, 0], [9, 9, 9, 9]]
    x = tf.constant(rows, tf.float32)[tf.newaxis, :, :, tf.newaxis]
    values = tf.constant([[1, 2], [3, 1.001]], tf.float32)[tf.newaxis, :, :, tf.newaxis]
    gradient, curvature = pooled_curvature(x, values, compiled=False)
    np.testing.assert_array_equal(np.ravel(curvature), [0, 7, 13, 10])  # where each maximum is
    traced = partial(pooled_curvature, compiled=True)
    compiled = tf.function(traced, autograph=False, jit_compile=True)
    for found, wanted in zip(compiled(x, values), (gradient, curvature), strict=True):
        np.testing.assert_array_equal(found, wanted)
