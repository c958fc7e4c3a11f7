"""Layers with a leading lane axis: each lane has its own weights.

All are differentiable twice, exactly. `tf.nn.moments` is not (it stops the gradient of the mean
inside the variance, which leaves first derivatives right and Hessians wrong), so the norms here
write their variance out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial, reduce
from typing import Any, NamedTuple

from maml_sweep.backend import tf
from maml_sweep.models import gradients

EPSILON = 1e-3  # added to variances, as in the batch norm of the MAML paper's code


class Tracing(NamedTuple):
    """What layers must know of the program that they are traced for.

    Attributes:
      products: the float type that products are computed in; None: that of their factors.
      compiled: whether XLA compiles it.
    """

    products: str | None = None
    compiled: bool = False


PLAIN = Tracing()
# While a program is traced; so every model that is built of these layers has mixed precision
# without knowing of it.
_TRACING: ContextVar[Tracing] = ContextVar("tracing", default=PLAIN)


@contextmanager
def traced_for(program: Tracing) -> Iterator[None]:
    """Has layers heed a program.

    Where products have a type of their own, the factors of `dense` and `convolution`, and of their
    gradients, are rounded to it and results turned back, so everything around them keeps its own.
    """
    token = _TRACING.set(program)
    try:
        yield
    finally:
        _TRACING.reset(token)


def _product(multiply: Callable[[Any, Any], Any], x: Any, weight: Any) -> Any:
    """`multiply(x, weight)` in the type of products; the result is of the type of `x`."""
    kind = _TRACING.get().products
    if kind is None:
        return multiply(x, weight)
    return tf.cast(multiply(tf.cast(x, kind), tf.cast(weight, kind)), x.dtype)


def dense(x: Any, weight: Any, bias: Any = None) -> Any:
    """Computes x W + b in each lane.

    Args:
      x: [lane, example, in].
      weight: [lane, in, out].
      bias: [lane, out]; None: no bias.

    Returns:
      [lane, example, out].
    """
    product = _product(_multiply, x, weight)
    return product if bias is None else gradients.biased(product, bias)


def _multiply(x: Any, weight: Any) -> Any:
    """The product in each lane; a single column lies as a row, which is read twice as fast."""
    _, inputs, outputs = weight.shape
    if inputs == 1:
        row = tf.reshape(x, [tf.shape(x)[0], 1, tf.shape(x)[1]])
        return gradients.product(row, weight, transpose_a=True)
    if outputs == 1:
        row = gradients.product(tf.reshape(weight, [-1, 1, inputs]), x, transpose_b=True)
        return tf.reshape(row, [tf.shape(x)[0], tf.shape(x)[1], 1])
    return gradients.product(x, weight)


def fold_lanes(x: Any) -> Any:
    """[lane, example, height, width, channel] -> [example, height, width, lane * channel]."""
    _, _, height, width, channels = x.shape
    x = tf.transpose(x, [1, 2, 3, 0, 4])
    lanes, examples = tf.shape(x)[3], tf.shape(x)[0]
    return tf.reshape(x, [examples, height, width, lanes * channels])


def unfold_lanes(x: Any, channels: int) -> Any:
    """The inverse of `fold_lanes`: -> [lane, example, height, width, channel]."""
    _, height, width, _ = x.shape
    shape = tf.shape(x)
    x = tf.reshape(x, [shape[0], height, width, shape[3] // channels, channels])
    return tf.transpose(x, [3, 0, 1, 2, 4])


def grouped_convolution_works(dtype: Any) -> bool:
    """Whether gradients of grouped convolutions run on the CPU: through oneDNN only.

    It has float32 on every processor, and bfloat16 on some.
    """
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return False
    return dtype == tf.float32 or (dtype == tf.bfloat16 and _half_groups_work())


@cache
def _half_groups_work() -> bool:
    """Whether this machine computes the gradients of a grouped convolution of bfloat16."""
    with tf.init_scope():
        x, kernel = tf.ones([1, 2, 2, 4], tf.bfloat16), tf.ones([1, 1, 2, 4], tf.bfloat16)
        try:
            with tf.GradientTape() as tape:
                tape.watch([x, kernel])
                y = tf.nn.conv2d(x, kernel, 1, "SAME")
            tape.gradient(y, [x, kernel])
        except tf.errors.OpError:
            return False
    return True


def convolution(x: Any, kernel: Any, stride: int, padding: str = "SAME") -> Any:
    """A convolution of folded lanes, each lane by its own kernel.

    In float32 the lanes are the groups of one grouped convolution, and in bfloat16 where the
    machine can. Elsewhere it is a product of patches and kernels (about four times slower).

    Args:
      x: [example, height, width, lane * in].
      kernel: [lane, rows, columns, in, out].
      stride: of both axes.
      padding: "SAME" or "VALID".

    Returns:
      [example, ceil(height / stride), ceil(width / stride), lane * out]; where `VALID`, of the
      pixels that see no border alone.
    """
    kind = _TRACING.get().products
    if not grouped_convolution_works(tf.as_dtype(kind) if kind else x.dtype):
        return _patch_convolution(x, kernel, stride, padding)
    _, rows, columns, inputs, outputs = kernel.shape
    filters = tf.transpose(kernel, [1, 2, 3, 0, 4])
    filters = tf.reshape(filters, [rows, columns, inputs, tf.shape(kernel)[0] * outputs])
    return _product(lambda x, filters: tf.nn.conv2d(x, filters, stride, padding), x, filters)


def _patch_convolution(x: Any, kernel: Any, stride: int, padding: str = "SAME") -> Any:
    """`convolution` as a matrix product of patches: any float type, any device."""
    _, rows, columns, inputs, _ = kernel.shape
    seen = patches(unfold_lanes(x, inputs), rows, columns, stride, padding)
    return fold_lanes(seen.convolved(kernel))


class Patches(NamedTuple):
    """What each output pixel of a convolution sees, a column a pixel."""

    columns: Any  # [lane, rows * columns * channel, example * high * wide]
    shape: tuple[Any, int, int]  # example, high, wide

    def convolved(self, kernel: Any) -> Any:
        """The convolution by [lane, rows, columns, in, out]: [lane, example, high, wide, out]."""
        weight = self._weight(kernel)
        product = _product(partial(gradients.product, transpose_a=True), self.columns, weight)
        return tf.reshape(product, [-1, *self.shape, kernel.shape[-1]])

    def statistics(self, kernel: Any) -> tuple[Any, Any]:
        """Mean and variance over the pixels of each channel of `convolved`: [lane, out] each.

        Of the patches' own mean and covariance, which is far less work where patches are small:
        no output pixel is looked at.
        """
        weight = self._weight(kernel)
        centre = tf.reduce_mean(self.columns, axis=2, keepdims=True)
        apart = self.columns - centre
        count = tf.cast(tf.shape(apart)[2], apart.dtype)
        covariance = gradients.product(apart, apart, transpose_b=True) / count
        mean = tf.reduce_sum(centre * weight, axis=1)
        return mean, tf.reduce_sum(weight * gradients.product(covariance, weight), axis=1)

    def _weight(self, kernel: Any) -> Any:
        """The kernel as a matrix: [lane, rows * columns * in, out]."""
        return tf.reshape(kernel, [-1, self.columns.shape[1], kernel.shape[-1]])


def patches(x: Any, rows: int, columns: int, stride: int, padding: str = "SAME") -> Patches:
    """Takes images apart for a convolution.

    By shifted views: `tf.image.extract_patches` gives the same, but its gradient takes seconds to
    trace.

    Args:
      x: [lane, example, height, width, channel].
      rows: of the kernel.
      columns: of the kernel.
      stride: of both axes.
      padding: "SAME" or "VALID".
    """
    _, _, height, width, channels = x.shape
    lost = (0, 0) if padding == "SAME" else (rows - 1, columns - 1)
    high, wide = -(-(height - lost[0]) // stride), -(-(width - lost[1]) // stride)
    spare_rows = max((high - 1) * stride + rows - height, 0)
    spare_columns = max((wide - 1) * stride + columns - width, 0)
    above, left = spare_rows // 2, spare_columns // 2
    x = tf.transpose(x, [0, 4, 1, 2, 3])  # so that a view is copied by rows of pixels
    x = tf.pad(x, [*[[0, 0]] * 3, [above, spare_rows - above], [left, spare_columns - left]])
    bottom, right = (high - 1) * stride + 1, (wide - 1) * stride + 1
    views = [
        x[..., row : row + bottom : stride, column : column + right : stride]
        for row in range(rows)
        for column in range(columns)
    ]
    examples = tf.shape(x)[2]
    pixels = [-1, rows * columns * channels, examples * high * wide]
    return Patches(tf.reshape(tf.stack(views, axis=1), pixels), (examples, high, wide))


def max_pool(x: Any, rows: int, columns: int) -> Any:
    """The largest of each window, windows side by side; what fills none is left out.

    XLA computes the second derivative of TensorFlow's kernel with values rounded to bfloat16, which
    changes a meta-gradient by up to some per cent; so for XLA it is written as comparisons. Of
    equal values both let the gradient through to the first.

    Args:
      x: [example, height, width, channel].
      rows: of a window.
      columns: of a window.
    """
    if not _TRACING.get().compiled:
        return tf.nn.max_pool2d(x, [rows, columns], [rows, columns], "VALID")
    _, height, width, _ = x.shape
    bottom, right = height // rows * rows, width // columns * columns
    views = [
        x[:, row:bottom:rows, column:right:columns]
        for row in range(rows)
        for column in range(columns)
    ]
    return reduce(tf.maximum, views)


def batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    statistics: Sequence[Any] | None = None,
    *,
    fused: bool = False,
    epsilon: float = EPSILON,
) -> tuple[Any, tuple[Any, Any]]:
    """Normalises each lane's channels over its examples and pixels.

    Args:
      x: [example, height, width, lane * channel].
      scale: [lane, channel].
      offset: [lane, channel].
      statistics: (mean, variance) to normalise with, each [lane * channel]; None: those of `x`.
      fused: use TensorFlow's fused kernel for `x`'s own statistics where it can (float32). Its
        double gradient is right and it is a tenth to a quarter faster, but no gradient flows
        through the statistics it returns.
      epsilon: added to variances.

    Returns:
      The normalised [example, height, width, lane * channel], and the statistics of `x`.
    """
    scale, offset = tf.reshape(scale, [-1]), tf.reshape(offset, [-1])
    if fused and statistics is None and x.dtype == tf.float32:
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, scale, offset, epsilon=epsilon)
        return y, (mean, variance * _biased(x))
    mean = tf.reduce_mean(x, axis=[0, 1, 2])
    variance = tf.reduce_mean(tf.square(x - mean), axis=[0, 1, 2])
    used_mean, used_variance = statistics or (mean, variance)
    y = (x - used_mean) * (scale * tf.math.rsqrt(used_variance + epsilon)) + offset
    return y, (mean, variance)


def _biased(x: Any) -> Any:
    """(n - 1)/n: undoes Bessel's correction, which the fused kernel puts on its variance."""
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), x.dtype)
    return (count - 1) / count
