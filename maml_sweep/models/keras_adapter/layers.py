"""Keras's own layers over lanes: those worth writing out, each with exactly the same numbers.

A handler takes (layer, run, value) and returns the layer's value. Beside it in `HANDLERS` stands
which layers of the class it can do; the others go the general way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.models import lanes
from maml_sweep.models.keras_adapter.graph import Pass
from maml_sweep.models.keras_adapter.library import keras
from maml_sweep.models.keras_adapter.values import Value, sizes

# Activations of single numbers, so that it does not matter in which layout they lie.
POINTWISE = (
    "linear",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "sigmoid",
    "hard_sigmoid",
    "log_sigmoid",
    "tanh",
    "hard_tanh",
    "tanh_shrink",
    "softplus",
    "softsign",
    "exponential",
    "mish",
    "hard_silu",
)
FUSED_LEAST = 1.001e-5  # the fused kernel takes no smaller epsilon


def is_pointwise(activation: Any) -> bool:
    """Whether an activation is one of `POINTWISE`."""
    return any(activation is keras.activations.get(name) for name in POINTWISE)


def plain(layer: Any) -> bool:
    """Whether all of a layer's weights are learnt, and none is quantised or LoRA's."""
    weights = layer.weights
    names = {variable.name for variable in weights}
    usual = {"kernel", "bias", "gamma", "beta", "embeddings"}
    return names <= usual and all(variable.trainable for variable in weights)


# -- products ------------------------------------------------------------------------------------


def dense(layer: Any, run: Pass, value: Value) -> Value:
    """[lane, example, ..., in] -> [lane, example, ..., out]."""
    x = value.apart
    lane_count, *between, width = sizes(x)
    rows = tf.reshape(x, [lane_count, math.prod(between), width])
    y = lanes.dense(rows, run.of(layer.kernel), run.of(layer.bias))
    return Value(layer.activation(tf.reshape(y, [lane_count, *between, layer.units])))


def _dense_fits(layer: Any) -> bool:
    known = layer.activation in (keras.activations.softmax, keras.activations.log_softmax)
    return plain(layer) and (known or is_pointwise(layer.activation))


def convolution(layer: Any, run: Pass, value: Value) -> Value:
    """Conv2D, and Conv1D as pictures of one row: grouped convolutions, the lanes as groups."""
    x, kernel, flat = value.mixed, run.of(layer.kernel), value.rank == 3
    if layer.padding == "causal":
        x = tf.pad(x, [[0, 0], [layer.kernel_size[0] - 1, 0], [0, 0]])
    if flat:
        x, kernel = x[:, tf.newaxis], kernel[:, tf.newaxis]
    padding = "SAME" if layer.padding == "same" else "VALID"
    y = lanes.convolution(x, kernel, layer.strides[0], padding)
    y = y[:, 0] if flat else y
    if layer.use_bias:
        y += tf.reshape(run.of(layer.bias), [-1])
    return Value(mixed=layer.activation(y), channels=layer.filters)


def _convolution_fits(layer: Any) -> bool:
    simple = set(layer.dilation_rate) == {1} and layer.groups == 1 and len(set(layer.strides)) == 1
    last = layer.data_format == "channels_last"
    return simple and last and plain(layer) and is_pointwise(layer.activation)


def embedding(layer: Any, run: Pass, value: Value) -> Value:
    """Rows of each lane's own table: whole numbers [lane, example, ...]."""
    words = value.apart
    lane_count, *between = sizes(words)
    flat = tf.cast(tf.reshape(words, [lane_count, math.prod(between)]), tf.int32)
    rows = tf.gather(run.of(layer.embeddings), flat, axis=1, batch_dims=1)
    return Value(tf.reshape(rows, [lane_count, *between, layer.output_dim]))


# -- norms ---------------------------------------------------------------------------------------


def batch_norm(layer: Any, run: Pass, value: Value) -> Value:
    """By the lane's own batch, or by the statistics given; moving averages are not used."""
    x = value.mixed
    examples, *between, depth = sizes(x)
    pixels = tf.reshape(x, [examples, math.prod(between), 1, depth])
    ones = tf.ones([depth // value.channels, value.channels], x.dtype)
    scale = run.of(layer.gamma) if layer.scale else ones
    offset = run.of(layer.beta) if layer.center else tf.zeros_like(ones)
    given = [tf.reshape(each, [-1]) for each in run.given.get(id(layer), ())] or None
    fused = layer.epsilon >= FUSED_LEAST
    y, own = lanes.batch_norm(pixels, scale, offset, given, fused=fused, epsilon=layer.epsilon)
    run.found[id(layer)] = tuple(tf.reshape(each, [-1, value.channels]) for each in own)
    return Value(mixed=tf.reshape(y, [examples, *between, depth]), channels=value.channels)


def _batch_norm_fits(layer: Any) -> bool:
    last = layer.axis in (-1, layer.input_spec.ndim - 1)
    return last and layer.trainable and not layer.renorm


def layer_norm(layer: Any, run: Pass, value: Value) -> Value:
    """Over the last axis."""
    x = value.apart
    return Value(_affine(_centred(x, [-1], layer.epsilon), layer, run))


def _layer_norm_fits(layer: Any) -> bool:
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    return axes == [-1] and not layer.rms_scaling and plain(layer)


def group_norm(layer: Any, run: Pass, value: Value) -> Value:
    """Over each example's pixels and the channels of a group."""
    x = value.apart
    *outer, channels = sizes(x)
    groups = channels if layer.groups == -1 else layer.groups
    parted = tf.reshape(x, [*outer, groups, channels // groups])
    axes = [*range(2, len(outer)), len(outer) + 1]
    normal = tf.reshape(_centred(parted, axes, layer.epsilon), sizes(x))
    return Value(_affine(normal, layer, run))


def _group_norm_fits(layer: Any) -> bool:
    return layer.axis == -1 and plain(layer)


def _centred(x: Any, axes: list[int], epsilon: float) -> Any:
    """(x - mean) / √(variance + ε), with exact derivatives of every order."""
    centred = x - tf.reduce_mean(x, axis=axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=axes, keepdims=True)
    return centred * tf.math.rsqrt(variance + epsilon)


def _affine(x: Any, layer: Any, run: Pass) -> Any:
    """Times the lane's scale, plus its offset, where the layer has them."""
    between = [1] * (len(x.shape) - 2)
    if layer.scale:
        x *= tf.reshape(run.of(layer.gamma), [-1, *between, x.shape[-1]])
    if layer.center:
        x += tf.reshape(run.of(layer.beta), [-1, *between, x.shape[-1]])
    return x


Handler = Callable[[Any, Pass, Value], Value]

HANDLERS: dict[str, tuple[Handler, Callable[[Any], bool]]] = {
    "Dense": (dense, _dense_fits),
    "Conv1D": (convolution, _convolution_fits),
    "Conv2D": (convolution, _convolution_fits),
    "Embedding": (embedding, plain),
    "BatchNormalization": (batch_norm, _batch_norm_fits),
    "LayerNormalization": (layer_norm, _layer_norm_fits),
    "GroupNormalization": (group_norm, _group_norm_fits),
}
