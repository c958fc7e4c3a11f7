"""What convolutional networks over lanes are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models import lanes
from maml_sweep.models.base import Parameter


def image(model: str, shape: Sequence[int]) -> None:
    """Refuses examples that are no images [height, width, channels].

    Raises:
      InputError: they are not.
    """
    if len(shape) != 3:
        raise InputError(
            f"model={model}: expected images [height, width, channels], but the task's examples "
            f"have shape {list(shape)}; choose model=mlp"
        )


def normed_parameters(
    name: str, size: int, inputs: int, outputs: int, deviation: float
) -> list[Parameter]:
    """kernel, scale and offset of a convolution and its norm.

    Args:
      name: before the slash.
      size: rows and columns of the kernel.
      inputs: channels.
      outputs: channels.
      deviation: of the kernel's first values.
    """
    return [
        Parameter(f"{name}/kernel", (size, size, inputs, outputs), deviation),
        Parameter(f"{name}/scale", (outputs,), mean=1.0, role="norm"),
        Parameter(f"{name}/offset", (outputs,), role="norm"),
    ]


def normed(
    x: Any,
    params: Sequence[Any],
    given: Sequence[Any] | None,
    *,
    stride: int = 1,
    fused: bool,
) -> tuple[Any, tuple[Any, Any]]:
    """A 'SAME' convolution of folded lanes and its batch norm.

    Args:
      x: [example, height, width, lane * in].
      params: kernel [lane, size, size, in, out], scale and offset [lane, out].
      given: (mean, variance) to normalise with, each [lane, out]; None: those of the batch.
      stride: of the convolution.
      fused: see `lanes.batch_norm`.

    Returns:
      [example, high, wide, lane * out], and the batch's (mean, variance), each [lane, out].
    """
    kernel, scale, offset = params
    x = lanes.convolution(x, kernel, stride)
    flat = [tf.reshape(value, [-1]) for value in given] if given else None
    x, (mean, variance) = lanes.batch_norm(x, scale, offset, flat, fused=fused)
    shape = [-1, kernel.shape[-1]]
    return x, (tf.reshape(mean, shape), tf.reshape(variance, shape))


def normed_images(
    x: Any, params: Sequence[Any], given: Sequence[Any] | None, *, stride: int = 1
) -> tuple[Any, Any, tuple[Any, Any]]:
    """`normed` for a network's first layer, where few channels come in and many go out.

    The statistics are those of small patches, so the norm can go into the kernel, and its shift may
    wait until pooling has left fewer pixels: nothing is done to each pixel besides the product.

    Args:
      x: [lane, example, height, width, in].
      params: kernel [lane, size, size, in, out], scale and offset [lane, out].
      given: (mean, variance) to normalise with, each [lane, out]; None: those of the batch.
      stride: of the convolution.

    Returns:
      [lane, example, high, wide, out] short of a shift; the shift [lane, out]; and the batch's
      (mean, variance), each [lane, out].
    """
    kernel, scale, offset = params
    _, rows, columns, _, outputs = kernel.shape
    patches = lanes.patches(x, rows, columns, stride)
    statistics = patches.statistics(kernel)
    mean, variance = given or statistics
    slope = scale * tf.math.rsqrt(variance + lanes.EPSILON)
    y = patches.convolved(kernel * tf.reshape(slope, [-1, 1, 1, 1, outputs]))
    return y, offset - mean * slope, statistics


def halved(x: Any) -> Any:
    """2x2 max-pooling that rounds down; an axis of one pixel stays as it is."""
    window = [min(2, extent) for extent in x.shape[1:3]]
    return x if window == [1, 1] else lanes.max_pool(x, *window)
